"""Checks of a submission's form: format, coordinates, variables, dates. No field is read.

Most of what is looked for here passes through OceanBench 0.6.1 in silence and makes scores wrong,
or stops it with a message that does not name the cause.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import xarray as xr

from hybridom.evaluation.oceanbench.conventions import (
    DEPTHS,
    LATTICES,
    LEADS,
    STANDARD_NAME,
    TOLERANCE,
    official_grid,
    official_starts,
)
from hybridom.evaluation.oceanbench.definitions import nearest_levels
from hybridom.evaluation.oceanbench.findings import Finding, error, warning
from hybridom.evaluation.oceanbench.forecasts import LEAD, NAMED_BY_DAY, START
from hybridom.variables import UNIT_SPELLINGS, VARIABLES

COORDINATE_UNITS = {
    "depth": UNIT_SPELLINGS["m"],
    "latitude": frozenset({"degrees_north", "degree_north", "degrees_N"}),
    "longitude": frozenset({"degrees_east", "degree_east", "degrees_E"}),
}
LEVEL_TOLERANCE = 1e-3  # m; the levels of GLO12 and GLORYS12 differ by less
SPACING_TOLERANCE = 0.1  # relative, as OceanBench's own
CHUNK = 64 * 2**20  # bytes


def check_format(path: Path) -> Iterator[Finding]:
    """Zarr format and consolidated metadata of a store."""
    if path.suffix == ".nc":
        yield warning("format", "NetCDF", "a Zarr v2 store", "use it for tests only")
    elif (path / "zarr.json").exists():
        yield error(
            "format",
            "Zarr v3",
            "Zarr v2",
            "write it with zarr_format=2: OceanBench pins zarr 2.18, which reads no v3",
        )
    elif not (path / ".zmetadata").exists():
        yield error(
            "consolidated metadata",
            "no .zmetadata",
            "consolidated metadata",
            "run zarr.consolidate_metadata on the store",
        )


def find(data: xr.Dataset, standard: str) -> list[str]:
    """Variables that OceanBench takes for a standard name: by attribute, or by the name itself."""
    return [
        str(name)
        for name in data.variables
        if data[name].attrs.get("standard_name", name) == standard
    ]


def check_coordinates(data: xr.Dataset) -> Iterator[Finding]:
    """Depth, latitude and longitude: present, named, in units, ascending, on the official grid."""
    axes: dict[str, np.ndarray] = {}
    for axis in COORDINATE_UNITS:
        names = find(data, axis)
        if len(names) != 1 or data[names[0]].ndim != 1:
            yield _no_coordinate(data, axis, names)
            continue
        yield from _coordinate_attributes(data[names[0]], axis)
        values = np.asarray(data[names[0]].values, np.float64)
        if values.size > 1 and not (np.diff(values) > 0).all():
            yield error(
                axis,
                f"{values[0]:g}, {values[1]:g}, ... {values[-1]:g}",
                "ascending values",
                f"sort by {axis}; the first level is taken for the surface"
                if axis == "depth"
                else f"sort by {axis}",
            )
        else:
            axes[axis] = values
    if "depth" in axes:
        yield from _check_depth(axes["depth"])
    if "latitude" in axes and "longitude" in axes:
        yield from _check_grid(axes["latitude"], axes["longitude"])


def _no_coordinate(data: xr.Dataset, axis: str, names: list[str]) -> Finding:
    if len(names) > 1:
        found = f"{' and '.join(names)} with standard_name {axis}"
        return error(axis, found, "one of them", "take the attribute from the others")
    if axis in data.variables:
        found = f"standard_name {data[axis].attrs.get('standard_name')!r}"
        return error(axis, found, repr(axis), "mend the attribute standard_name")
    values = "metres, positive downwards" if axis == "depth" else "degrees"
    return error(axis, "no coordinate", "a coordinate along its dimension", f"add it, in {values}")


def _coordinate_attributes(coordinate: xr.DataArray, axis: str) -> Iterator[Finding]:
    if "standard_name" not in coordinate.attrs:
        yield warning(axis, "no standard_name", repr(axis), "set the attribute")
    units = coordinate.attrs.get("units")
    if units is None:
        yield warning(axis, "no units", repr(min(COORDINATE_UNITS[axis])), "set the attribute")
    elif units not in COORDINATE_UNITS[axis]:
        yield error(axis, f"units {units!r}", repr(min(COORDINATE_UNITS[axis])), "convert it")


def _check_depth(depth: np.ndarray) -> Iterator[Finding]:
    for label, wanted in DEPTHS.items():
        nearest = depth[np.abs(depth - wanted).argmin()]
        if abs(nearest - wanted) > LEVEL_TOLERANCE:
            yield error(
                f"depth of {label}",
                f"{nearest:g} m as the nearest level",
                f"{wanted:g} m",
                "export that level: the nearest one is scored in its place, however far",
            )


def _check_grid(lat: np.ndarray, lon: np.ndarray) -> Iterator[Finding]:
    if lon.max() > 180.0:
        yield error(
            "longitude",
            f"{lon[0]:g} to {lon[-1]:g}",
            "-180 to 180",
            "subtract 360 from those above 180 and sort by longitude",
        )
        return
    if min(lat.size, lon.size) < 2:
        yield error("grid", f"{lat.size} x {lon.size} points", "two or more each", "export more")
        return
    first = lat[1] - lat[0], lon[1] - lon[0]
    spacing = next(
        (s for s in LATTICES if all(abs(x - s) <= SPACING_TOLERANCE * s for x in first)), None
    )
    if spacing is None:
        yield error(
            "spacing",
            f"{first[0]:g} by {first[1]:g} degrees",
            "1/12, 1/4 or 1 degree",
            "export onto an official grid: hybridom oceanbench export --resolution 0.25",
        )
        return
    even = True
    for axis, values in (("latitude", lat), ("longitude", lon)):
        away = np.abs(np.diff(values) - spacing)
        if away.max() > 2 * TOLERANCE:
            even, worst = False, int(away.argmax())
            yield error(
                f"spacing of {axis}",
                f"{values[worst + 1] - values[worst]:g} degrees at {values[worst]:g}",
                f"{spacing:g} throughout",
                "export onto an official grid; OceanBench looks at the first two values only",
            )
    if even:
        yield from _check_lattice(lat, lon, spacing)


def _check_lattice(lat: np.ndarray, lon: np.ndarray, spacing: float) -> Iterator[Finding]:
    """Whether points are those of the reference."""
    fine = spacing < 0.2
    if fine:
        official = -80.0 + spacing * np.arange(2041), -180.0 + spacing * np.arange(4320)
    else:
        grid = official_grid(spacing)
        official = grid.lat, grid.lon
    whole = True
    for axis, values, wanted in zip(("latitude", "longitude"), (lat, lon), official, strict=True):
        nearest = nearest_levels(wanted, values)
        away = np.abs(values - wanted[nearest])
        whole &= values.size == wanted.size
        if away.max() > TOLERANCE:
            first = int((away > TOLERANCE).argmax())
            yield error(
                axis,
                f"{values[first]:.7g} ({int((away > TOLERANCE).sum())} of {values.size} values)",
                f"{wanted[nearest[first]]:.7g} within {TOLERANCE:g}",
                "write the official coordinates, in double precision",
            )
    if not whole:
        yield warning(
            "grid",
            f"{lat.size} x {lon.size} points",
            f"{official[0].size} x {official[1].size}",
            "score it by region, or export the whole grid",
        )


def check_variables(data: xr.Dataset) -> Iterator[Finding]:
    """Variables by standard name, their units, dimensions, type and chunks."""
    for short, standard in STANDARD_NAME.items():
        names = find(data, standard)
        if len(names) > 1:
            found = f"{' and '.join(names)} with standard_name {standard}"
            yield error(short, found, "one of them", "take the attribute from the others")
        elif not names and short in data.variables:
            found = f"standard_name {data[short].attrs.get('standard_name')!r}"
            yield error(short, found, repr(standard), "set the attribute standard_name")
        elif not names:
            yield error(short, "no variable", f"standard_name {standard!r}", "export it too")
        else:
            yield from _check_variable(data[names[0]], short)


def _check_variable(variable: xr.DataArray, short: str) -> Iterator[Finding]:
    expected = VARIABLES[short].units
    units = variable.attrs.get("units")
    if units not in UNIT_SPELLINGS[expected]:
        found = f"units {units!r}" if units is not None else "no units"
        action = (
            "convert it; OceanBench does not look" if units is not None else "set the attribute"
        )
        yield error(short, found, repr(expected), action)
    depth = ["depth"] if VARIABLES[short].has_depth else []
    # By name or standard name: a coordinate's own fault is told with the coordinate.
    axes = [{axis, variable[axis].attrs.get("standard_name", axis)} for axis in variable.dims]
    wanted = [*depth, "latitude", "longitude"]
    days = [names for names in axes if names & {START, LEAD, "time"}]
    lacking = [axis for axis in wanted if not any(axis in names for names in axes)]
    if lacking or len(axes) != len(wanted) + len(days):
        yield error(
            short,
            f"dimensions {', '.join(map(str, variable.dims))}",
            ", ".join(["time", *depth, "latitude", "longitude"]),
            "write it with these dimensions",
        )
    dtype = variable.encoding.get("dtype", variable.dtype)
    if np.dtype(dtype) != np.float32:
        yield warning(short, f"type {np.dtype(dtype)}", "float32", "write it in single precision")
    chunks = variable.encoding.get("chunks")
    if chunks:
        sizes = dict(zip(variable.dims, chunks, strict=False))
        several = [f"{n} along {axis}" for axis, n in sizes.items() if n > 1 and _is_outer(axis)]
        if several or np.prod(chunks) * 4 > CHUNK:
            yield warning(
                short,
                f"chunks of {' x '.join(map(str, chunks))}",
                "one day and one level a chunk",
                "write smaller chunks, such as 1 x 1 x 672 x 1440",
            )


def _is_outer(axis: object) -> bool:
    return axis in (START, LEAD, "time", "depth", "lev", "level", "z")


def check_leads(data: xr.Dataset, path: Path) -> Iterator[Finding]:
    """Leads of a store, and the convention that its date is the first forecast day."""
    axis = LEAD if LEAD in data.dims else "time"
    if axis not in data.dims:
        yield error(LEAD, "no dimension", f"{LEAD}, or time", "add the leads")
        return
    number = data.sizes[axis]
    if number != LEADS:
        report = error if number > LEADS else warning
        yield report(LEAD, f"{number} leads", f"{LEADS}, the days 0 to {LEADS - 1}", "export ten")
    first: np.datetime64 | None = None
    if axis == LEAD and LEAD in data.coords:
        values = np.asarray(data[LEAD].values)
        days = values.astype("timedelta64[D]").astype(int) if values.dtype.kind == "m" else values
        if not np.array_equal(days, np.arange(number)):
            yield error(
                LEAD,
                f"{days[0]} to {days[-1]}",
                f"0 to {number - 1}",
                "count from 0, the first forecast day; not from the analysis",
            )
    elif axis == "time" and "time" in data.coords:
        times = data["time"].values
        if times.dtype.kind != "M":
            yield error("time", f"type {times.dtype}", "dates", "write CF times")
            return
        first = times[0].astype("datetime64[D]")
        if not (np.diff(times.astype("datetime64[D]")).astype(int) == 1).all():
            yield error("time", "steps other than a day", "daily means", "export every day")
        named = dt.datetime.strptime(path.name[:8], "%Y%m%d").date() if _is_dated(path) else None
        if named is not None and first != np.datetime64(named):
            yield error(
                "time",
                f"{first} as the first day",
                f"{named}, as the store is named",
                "name the store by the first forecast day, not by the analysis",
            )
    yield from _check_reference_time(data, first)


def _check_reference_time(data: xr.Dataset, first: np.datetime64 | None) -> Iterator[Finding]:
    """Whether the first day is one of forecast, where the time of the analysis is told."""
    told = data.variables.get("forecast_reference_time", None)
    value = data.attrs.get("forecast_reference_time") if told is None else told.values
    if value is None:
        return
    times = np.atleast_1d(np.asarray(value, "datetime64[D]"))
    firsts = data[START].values.astype("datetime64[D]") if START in data.coords else first
    if firsts is not None and (times >= np.asarray(firsts)).any():
        yield error(
            START,
            f"{np.atleast_1d(firsts)[0]}, the day of the analysis",
            "the first forecast day, the day after",
            "leave the analysis out",
        )


def _is_dated(path: Path) -> bool:
    return NAMED_BY_DAY.fullmatch(path.name) is not None


def check_starts(starts: list[dt.date]) -> Iterator[Finding]:
    """Whether the starts are those of the official evaluation."""
    official = official_starts()
    if doubled := sorted({day for day in starts if starts.count(day) > 1}):
        yield error(START, f"{doubled[0]} twice", "each once", "leave one out")
    if others := sorted(set(starts) - set(official)):
        eve = {day + dt.timedelta(1) for day in others} <= set(official)
        yield warning(
            START,
            f"{others[0]}" + (f" and {len(others) - 1} more" if len(others) > 1 else ""),
            "Wednesdays from 2024-01-03 to 2024-12-25",
            "these look like days of analysis: give the first forecast day"
            if eve
            else "there is no official reference for them",
        )
    if lacking := sorted(set(official) - set(starts)):
        yield warning(
            START,
            f"{len(official) - len(lacking)} of the {len(official)} official starts",
            "all of them",
            f"the first that is missing is {lacking[0]}",
        )

"""Tables of observations: read, checked, and cut to what can be used."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from hybridom.errors import UserError
from hybridom.variables import PROGNOSTIC, UNIT_SPELLINGS, VARIABLES

SLA = "sla"
GOOD = (1, 2)  # of the scale of Argo and the Copernicus in situ centres: good and probably good
REQUIRED = ("time", "latitude", "longitude", "variable", "value")
OPTIONAL = ("depth", "platform", "quality")
ALIASES = {"lat": "latitude", "lon": "longitude", "quality_flag": "quality", "qc": "quality"}
STANDARD_NAMES = {VARIABLES[name].standard_name: name for name in PROGNOSTIC} | {
    "sea_surface_height_above_sea_level": SLA
}
RANGES = {name: (VARIABLES[name].valid_min, VARIABLES[name].valid_max) for name in PROGNOSTIC} | {
    SLA: (-6.0, 6.0)
}
# More values of a variable outside its plausible range than this share are another unit.
SPIKES = 0.01

log = logging.getLogger(__name__)


def read_observations(paths: Sequence[Path]) -> pd.DataFrame:
    """Read tables of observations.

    A table (Parquet, CSV or NetCDF of one dimension) has a row an observation and the columns
    time, latitude, longitude, variable (thetao, so, uo, vo, zos, sla, or a CF standard name),
    value (in our units), and if wanted depth (m, positive down; missing is the surface), platform
    and quality. A NetCDF file with variables that carry our CF standard names (profiles by levels,
    say) is read as one such table; flags are taken from `<variable>_qc`. Rows whose quality is
    other than 1 or 2, that lack a number, or that lie outside the plausible range of their variable
    are left out and counted in the log.

    Args:
        paths: Files.

    Returns:
        Columns observation (number of the row over all files), time, latitude, longitude (in
        -180...180), depth, variable, platform (where any file has it) and observed, by time.

    Raises:
        UserError: A file cannot be read, lacks a column, has impossible positions or other units.
    """
    tables, first = [], 0
    for path in paths:
        table = _read(path)
        table.insert(0, "observation", np.arange(first, first + len(table)))
        first += len(table)
        tables.append(_checked(table, path))
    table = pd.concat(tables, ignore_index=True)
    if table.empty:
        raise UserError(
            f"{', '.join(map(str, paths))}: no observation can be used; expected rows of "
            f"{', '.join((*PROGNOSTIC, SLA))} with values, see the log"
        )
    return table.sort_values(["time", "observation"], ignore_index=True)


def _read(path: Path) -> pd.DataFrame:
    """One file as a table, its columns named as ours."""
    if not path.is_file():
        raise UserError(f"{path}: no such file of observations; correct the path")
    try:
        if path.suffix in (".parquet", ".pq"):
            table = pd.read_parquet(path)
        elif path.suffix in (".nc", ".nc4"):
            with xr.open_dataset(path, decode_timedelta=False) as data:
                table = _from_netcdf(data.load(), path)
        else:
            table = pd.read_csv(path)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"{path}: cannot be read ({reason}); expected a table as Parquet, CSV or NetCDF"
        ) from None
    table = table.rename(columns={old: ALIASES.get(str(old).lower(), old) for old in table})
    missing = [name for name in REQUIRED if name not in table]
    if missing:
        raise UserError(
            f"{path}: column {missing[0]} is missing (found: {', '.join(map(str, table))}); "
            f"expected {', '.join(REQUIRED)}, and if wanted {', '.join(OPTIONAL)}"
        )
    return table[[name for name in (*REQUIRED, *OPTIONAL) if name in table]].reset_index(drop=True)


def _from_netcdf(data: xr.Dataset, path: Path) -> pd.DataFrame:
    """A long table, or variables beside one another."""
    if {"variable", "value"} <= set(data.variables):
        return data.to_dataframe().reset_index()
    wide = {
        str(key): STANDARD_NAMES[x.attrs["standard_name"]]
        for key, x in data.data_vars.items()
        if x.attrs.get("standard_name") in STANDARD_NAMES
    }
    if not wide:
        raise UserError(
            f"{path}: neither the columns variable and value nor a variable with the standard_name "
            f"{', '.join(STANDARD_NAMES)}; in-situ temperature is no potential temperature, "
            "convert it first"
        )
    parts = []
    for key, name in wide.items():
        _check_units(data[key], name, path)
        axes = {
            axis: _axis(data, axis, path)
            for axis in ("time", "latitude", "longitude", *_depth(name))
        }
        flags = {"quality": data[f"{key}_qc"]} if f"{key}_qc" in data else {}
        together = xr.broadcast(data[key].drop_vars(data.coords), *axes.values(), *flags.values())
        columns = dict(zip(("value", *axes, *flags), together, strict=True))
        part = pd.DataFrame({column: x.values.ravel() for column, x in columns.items()})
        parts.append(part.dropna(subset="value").assign(variable=name))
    return pd.concat(parts, ignore_index=True)


def _depth(name: str) -> tuple[str, ...]:
    return ("depth",) if name in VARIABLES and VARIABLES[name].has_depth else ()


def _axis(data: xr.Dataset, axis: str, path: Path) -> xr.DataArray:
    for key, x in data.variables.items():
        if x.attrs.get("standard_name") == axis or str(key).lower() == axis:
            found = data[key].astype(np.float64) if axis != "time" else data[key]
            return found.drop_vars(found.coords)
    hint = "; pressure is no depth, convert it first" if axis == "depth" else ""
    raise UserError(f"{path}: no {axis}; expected a variable with this standard_name{hint}")


def _check_units(x: xr.DataArray, name: str, path: Path) -> None:
    expected = VARIABLES[name].units if name in VARIABLES else "m"
    found = x.attrs.get("units")
    if found not in UNIT_SPELLINGS[expected]:
        hint = "; subtract 273.15" if found in UNIT_SPELLINGS["K"] else ""
        raise UserError(
            f"{path}: {x.name} is in units {found!r}; expected {expected!r}, convert the file{hint}"
        )


def _checked(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Usable rows of one file."""
    if pd.api.types.is_numeric_dtype(table["time"]):
        raise UserError(f"{path}: time is a number; expected dates such as 2024-01-03T12:00")
    try:
        time = pd.to_datetime(table["time"], utc=True, format="ISO8601").dt.tz_localize(None)
        numbers = {
            name: pd.to_numeric(table[name])
            for name in ("latitude", "longitude", "value", "depth")
            if name in table
        }
    except (ValueError, TypeError) as error:
        raise UserError(
            f"{path}: not a table of numbers and times ({str(error).splitlines()[0]}); expected "
            "times such as 2024-01-03T12:00 and plain numbers"
        ) from None
    table = table.assign(**numbers, time=time.astype("datetime64[ns]"))
    table["variable"] = table["variable"].astype(str).replace(STANDARD_NAMES)
    _check_positions(table, path)
    for reason, bad in _unusable(table).items():
        if bad.any():
            log.warning("%s: %d of %d rows left out: %s", path, bad.sum(), len(table), reason)
            table = table[~bad.reindex(table.index)]
    _check_ranges(table, path)
    spikes = _outside(table)
    if spikes.any():
        log.warning("%s: %d rows left out: outside the plausible range", path, spikes.sum())
        table = table[~spikes]
    depth = table["depth"].fillna(0.0) if "depth" in table else 0.0
    longitude = (table["longitude"] + 180.0) % 360.0 - 180.0
    table = table.assign(depth=depth, longitude=longitude).rename(columns={"value": "observed"})
    kept = ("observation", "time", "latitude", "longitude", "depth", "variable", "platform")
    return table[[*(name for name in kept if name in table), "observed"]]


def _check_positions(table: pd.DataFrame, path: Path) -> None:
    limits: Mapping[str, tuple[float, float]] = {
        "latitude": (-90.0, 90.0),
        "longitude": (-180.0, 360.0),
        "depth": (-1.0, 12_000.0),
    }
    for name, (low, high) in limits.items():
        if name not in table:
            continue
        bad = (table[name] < low) | (table[name] > high)
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            raise UserError(
                f"{path}: {name} {table[name].iloc[row]:g} in row {row}; expected {low:g} to "
                f"{high:g}" + (" m, positive down" if name == "depth" else " degrees")
            )


def _unusable(table: pd.DataFrame) -> dict[str, pd.Series]:
    known = table["variable"].isin(RANGES)
    others = ", ".join(sorted(map(str, table.loc[~known, "variable"].unique())))
    numbers = table[["latitude", "longitude", "value"]]
    found = {
        f"unknown variables {others}": ~known,
        "no time, position or value": known
        & (table["time"].isna() | ~np.isfinite(numbers).all(axis=1)),
    }
    if "quality" in table:
        good = pd.to_numeric(table["quality"], errors="coerce").isin(GOOD)
        rest = ~(found["no time, position or value"] | ~known)
        found["quality other than 1 or 2"] = rest & ~good
    return found


def _outside(table: pd.DataFrame) -> pd.Series:
    low, high = (
        table["variable"].map({name: ends[end] for name, ends in RANGES.items()}).astype(float)
        for end in (0, 1)
    )
    return (table["value"] < low) | (table["value"] > high)


def _check_ranges(table: pd.DataFrame, path: Path) -> None:
    for name, outside in _outside(table).groupby(table["variable"]):
        if outside.mean() > SPIKES:
            low, high = RANGES[str(name)]
            units = VARIABLES[name].units if name in VARIABLES else "m"
            hint = "; Kelvin less 273.15" if name == "thetao" else ""
            raise UserError(
                f"{path}: {100 * outside.mean():.3g} % of {name} lies outside {low:g} to {high:g} "
                f"{units}; expected this unit, convert the values{hint}"
            )

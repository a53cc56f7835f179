"""Stages of preparation where the source is the published files: look, and note what is there.

No field is copied. The climatology and the statistics of the model are fitted to the full fields,
like those of any other source; the published climatology only turns anomalies into full fields.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hybridom import __version__
from hybridom.config import config_hash, narrow
from hybridom.data.plans import AnyConfig, grid_attributes
from hybridom.data.published.layout import Box, FileAxes, find_year
from hybridom.data.published.reading import (
    Climatology,
    Entry,
    Mask,
    file_stamp,
    load_array,
    open_arrays,
    year_days,
)
from hybridom.errors import UserError
from hybridom.files import write_json
from hybridom.grid import Grid, read_grid, write_grid
from hybridom.layout import Layout
from hybridom.progress import track
from hybridom.variables import FLUXES8, ICE, PROGNOSTIC, VARIABLES

log = logging.getLogger(__name__)

Kind = Literal["state", "forcing"]

SHOWN = 10  # problems printed; the rest is counted
# Extremes of a training period are passed in other years, but not by far.
NORMALISED_RANGE = (-1.0, 2.0)


def prepare_grid_published(config: AnyConfig, layout: Layout) -> None:
    """Write grid.nc: the configured grid with the mask of `source.mask`.

    Args:
        config: With the sections of stage `grid`.
        layout: Paths.

    Raises:
        UserError: The mask or the first year's file is missing or unfit, the grid is none of its
            cells, or no cell is wet.
    """
    grid = _target(config)
    year = config.periods.years[0]
    _, axes, box = _locate(config, grid, "state", year)
    wet = _wet(config, axes, box)
    if not wet[0].any():
        raise UserError(
            f"{config.source.mask}: no cell of the grid is wet; expected ocean in grid.lat, "
            "grid.lon: correct the box or source.mask"
        )
    attrs = grid_attributes(config, Path(str(config.source.mask)).name)
    write_grid(layout.grid_file, grid, wet, wet.astype(np.float64), attrs)
    log.info("%s: %d of %d surface cells are wet", layout.grid_file, wet[0].sum(), wet[0].size)


def check_year_published(config: AnyConfig, layout: Layout, year: int) -> None:
    """Check the published files of a year before any long work, and write a report.

    Looked at: that the files are there, their keys, shapes, lengths of the year, and that mask and
    climatology fit them. Values are looked at by `prepare_year_published`, which reads them all.

    Args:
        config: With the sections of stage `check`.
        layout: Paths.
        year: Calendar year.

    Raises:
        UserError: One line a problem.
    """
    days = config.periods.days(year)
    if not days:
        raise UserError(
            f"year {year}: no day of it lies in periods; expected {config.periods.years}"
        )
    problems: list[str] = []
    files: list[Path] = []
    grid = _target(config)
    for kind in ("state", "forcing"):
        try:
            path, axes, box = _locate(config, grid, kind, year)
            files.append(path)
            if kind == "state":
                _wet(config, axes, box)
                Climatology(Path(str(config.source.climatology)), axes, box)
        except UserError as e:
            problems.append(str(e))
    if problems:
        raise UserError("\n".join(dict.fromkeys(problems)))
    report = {
        "year": year,
        "days": len(days),
        "first_day": str(days[0]),
        "last_day": str(days[-1]),
        "files": len(set(files)),
        "published": [str(path) for path in dict.fromkeys(files)],
        "version": __version__,
    }
    write_json(layout.check_report(year), report)
    log.info("year %d: %s can be read", year, ", ".join(path.name for path in set(files)))


def prepare_year_published(config: AnyConfig, layout: Layout, year: int, kind: Kind) -> None:
    """Look through a year's values and write the manifest that makes readers use the file.

    Every wet cell of every configured day must hold a plausible value (fluxes of forcing files:
    one near [0, 1]). Where `source.gaps` is `record`, days without any are listed instead.

    Args:
        config: With the sections of stage `state`.
        layout: Paths.
        year: Calendar year.
        kind: Which manifest to write.

    Raises:
        UserError: A file is missing or unfit, or values are missing or implausible.
    """
    grid, wet = read_grid(layout.grid_file)
    if grid.hash != _target(config).hash:
        raise UserError(
            f"{layout.grid_file}: not the grid of the configuration (section grid); expected hash "
            f"{_target(config).hash}, found {grid.hash}: run `hybridom prepare grid`"
        )
    path, axes, _ = _locate(config, grid, kind, year)
    names = config.forcing_names
    if kind == "state":
        names = (*PROGNOSTIC, *(ICE if config.source.sea_ice else ()))
    inputs = [path, *([Path(str(config.source.climatology))] if kind == "state" else [])]
    entry: dict[str, Any] = {
        "kind": kind,
        "year": year,
        "file": str(path),
        "variables": list(names),
        "climatology": config.source.climatology if kind == "state" else None,
        "grid": str(layout.grid_file),
        "grid_hash": grid.hash,
        "gaps": [],
        "stamps": {str(p): file_stamp(p) for p in inputs},
    }
    ranges, gaps = _survey(config, entry, wet, year)
    entry["gaps"] = [str(day) for day in gaps]
    manifest = layout.state_manifest(year) if kind == "state" else layout.forcing_manifest(year)
    write_json(manifest, _manifest(config, entry, ranges, axes))
    log.info("%s: %d days are fit for use, %d are missing", path, len(year_days(year)), len(gaps))


def _target(config: AnyConfig) -> Grid:
    g = config.grid
    return Grid.regular(g.resolution, g.lat, g.lon, g.depths)


def _locate(config: AnyConfig, grid: Grid, kind: str, year: int) -> tuple[Path, FileAxes, Box]:
    """The file of a year that holds a kind, its axes, and the grid's place in it."""
    separate = kind == "forcing" and config.forcing_names == FLUXES8
    folder = Path(str(config.source.forcing_dir if separate else config.source.ocean_dir))
    held = "forcing" if separate else "state"
    path = find_year(folder, held, config.grid.resolution, not grid.periodic, year)
    axes = FileAxes.read(path, len(year_days(year)))
    return path, axes, Box.find(grid, axes, path)


def _wet(config: AnyConfig, axes: FileAxes, box: Box) -> Mask:
    """Wet cells (nz, ny, nx) of the model grid."""
    path = Path(str(config.source.mask))
    mask = load_array(path, "mask")
    expected = (axes.depth.size, axes.lat.size, axes.lon.size)
    if mask.shape != expected:
        raise UserError(
            f"{path}: shape {mask.shape}, expected {expected} (levels, rows, columns) like the "
            "files of source.ocean_dir: correct source.mask"
        )
    return np.asarray(box.cut(mask[box.levels]) >= 0.5)


def _survey(
    config: AnyConfig, entry: Entry, wet: Mask, year: int
) -> tuple[dict[str, list[float]], list[dt.date]]:
    """Ranges of all variables, and the days without any value."""
    arrays = open_arrays(entry, entry["variables"])
    ranges: dict[str, list[float]] = {}
    problems: list[str] = []
    gaps: list[dt.date] = []
    days = config.periods.days(year)
    first = dt.date(year, 1, 1)
    record = config.source.gaps == "record"
    for day in track(days, label=f"looking through {entry['kind']} {year}"):
        fields = {name: array[(day - first).days] for name, array in arrays.items()}
        if record and not any(np.isfinite(x).any() for x in fields.values()):
            gaps.append(day)
            continue
        problems += _problems(fields, wet, day, entry, ranges)
    if problems:
        more = [f"and {len(problems) - SHOWN} more problems in {year}"]
        raise UserError("\n".join(problems[:SHOWN] + (more if len(problems) > SHOWN else [])))
    return ranges, gaps


def _problems(
    fields: dict[str, NDArray],
    wet: Mask,
    day: dt.date,
    entry: Entry,
    ranges: dict[str, list[float]],
) -> Iterator[str]:
    """What is wrong with a day, a line a variable; widens the ranges on the way."""
    for name, values in fields.items():
        variable = VARIABLES[name]
        sea = wet if variable.has_depth else wet[0]
        held = values.ravel() if variable.role == "forcing" else values[sea]
        gaps = int(np.count_nonzero(~np.isfinite(held)))
        if gaps:
            yield (
                f"{entry['file']}: variable {name} on {day} holds no value (NaN) in {gaps} of "
                f"{held.size} cells; expected one wherever source.mask is 1: use the mask that "
                "belongs to the files, or fetch the file again"
            )
            continue
        low, high = float(held.min()), float(held.max())
        least, most = variable.valid_min, variable.valid_max
        if name in FLUXES8:
            least, most = NORMALISED_RANGE
        if low < least or high > most:
            full = " (with the climatology added)" if entry["climatology"] else ""
            yield (
                f"{entry['file']}: variable {name} on {day} runs from {low:g} to {high:g}{full}; "
                f"expected {least:g} to {most:g}: the file or source.climatology holds "
                "something else, correct the paths"
            )
        old = ranges.get(name, [low, high])
        ranges[name] = [min(old[0], low), max(old[1], high)]


def _manifest(
    config: AnyConfig, entry: Entry, ranges: dict[str, list[float]], axes: FileAxes
) -> dict[str, Any]:
    """What the manifest of a store holds, and the entry `published`.

    The checksum covers names, sizes and times of change: to read 40 GB a year again for one of the
    contents would take longer than everything else here.
    """
    days = year_days(entry["year"])
    shapes = {name: list(a.shape) for name, a in open_arrays(entry, entry["variables"]).items()}
    stamps: Sequence[Any] = sorted(entry["stamps"].items())
    digest = hashlib.sha256(json.dumps(stamps).encode()).hexdigest()
    return {
        "store": Path(entry["file"]).name,
        "variables": entry["variables"],
        "shapes": shapes,
        "time_range": [str(days[0]), str(days[-1])],
        "days": len(days),
        "gaps": entry["gaps"],
        "ranges": ranges,
        "levels_in_file": axes.depth.tolist(),
        "checksum": f"stamps:{digest}",
        "version": __version__,
        "config_hash": config_hash(narrow(config, "state")),
        "grid_hash": entry["grid_hash"],
        "published": dict(entry),
    }

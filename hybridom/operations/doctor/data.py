"""Source files, stores, and what was left unfinished."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from hybridom.operations.cost_driver import driver_config, forecast_starts
from hybridom.operations.doctor.findings import Case, Checks, Finding, fail, ok, skip, spans

# What the workflow takes for raw files, see `raw_files` of workflow/rules/common.smk.
RAW = {".nc", ".h5", ".grib", ".grb", ".grib2"}
# The first days of names such as `..._mean_19930101_R19930106.nc`, but not when they were made.
YEAR = re.compile(r"(?<![\dRr])((?:19|20)\d\d)")
SHOWN = 5


def checks(case: Case) -> Checks:
    """The checks of this group."""
    own = ("source", source), ("stores", stores), ("unfinished", unfinished)
    return own if case.config.region is None else (*own, ("driver", driver))


def source(case: Case) -> Iterator[Finding]:
    """Whether the source has files of every year of the periods, by their names."""
    kind = case.config.source.kind
    if kind == "twin":
        yield skip("source", "the embedded ocean is simulated here; no files are needed")
    elif kind == "download":
        yield from _fetched(case)
    else:
        yield from _folders(case)
    yield from _single_files(case)


def _fetched(case: Case) -> Iterator[Finding]:
    months = case.config.periods.months()
    layout = case.layout
    for name, manifest in (("ocean", layout.ocean_download), ("forcing", layout.forcing_download)):
        done = sum(manifest(month).exists() for month in months)
        rest = "" if done == len(months) else "; the others will be fetched"
        yield ok("source", f"{name}: {done} of {len(months)} months fetched{rest}")


def _folders(case: Case) -> Iterator[Finding]:
    given = case.config.source
    needed = set(case.config.periods.years)
    for key in ("ocean_dir", "forcing_dir"):
        name, folder = f"source.{key}", getattr(given, key)
        if folder is None:  # the published ocean files hold the forcing too
            continue
        if not Path(folder).is_dir():
            remedy = "correct the path, or set source.kind: download to have it filled"
            yield fail(name, f"{folder} is no folder", remedy)
            continue
        years, files, zarr = coverage(Path(folder))
        missing = needed - years
        if not files and not zarr:
            kinds = ", ".join(sorted(RAW))
            yield fail(name, f"{folder} holds no file ({kinds}, .zarr)", "put the files there")
        elif not missing:
            yield ok(name, f"{folder}: {files} files, every year of {spans(needed)} in their names")
        elif zarr:
            yield skip(name, f"{folder}: {zarr} Zarr stores, whose days the names do not tell")
        else:
            yield fail(
                name,
                f"{folder}: {files} files, none named after {spans(missing)}",
                "add the files, name them with their dates, or shorten section periods",
            )


def coverage(folder: Path) -> tuple[set[int], int, int]:
    """Years in the names of the raw files below a folder, the number of files, and of Zarr stores.

    A name with two years, as of a file of several, stands for those between them too.
    """
    years: set[int] = set()
    files = zarr = 0
    folders = [folder]
    while folders:
        for path in folders.pop().iterdir():
            if path.suffix == ".zarr":
                zarr += 1
            elif path.suffix in RAW:
                files += 1
                found = [int(year) for year in YEAR.findall(path.name)]
                if found:
                    years.update(range(min(found), max(found) + 1))
            elif path.is_dir():
                folders.append(path)
    return years, files, zarr


def _single_files(case: Case) -> Iterator[Finding]:
    """Single files and folders that the configuration names."""
    given = case.config.source
    named = {f"source.{key}": getattr(given, key) for key in ("climatology", "mask", "land_mask")}
    if given.kind != "download":
        named["source.static_dir"] = given.static_dir
    named["training.start_from"] = case.config.training.start_from
    for name, path in named.items():
        if path is None:
            continue
        if Path(path).exists():
            yield ok(name, f"{path}")
        else:
            yield fail(name, f"{path} does not exist", "correct the path, or take the key out")


def stores(case: Case) -> Iterator[Finding]:
    """Which years are prepared."""
    layout, years = case.layout, case.config.periods.years
    for name, manifest in (("state", layout.state_manifest), ("forcing", layout.forcing_manifest)):
        missing = [year for year in years if not manifest(year).exists()]
        found = f"{name}: {len(years) - len(missing)} of {len(years)} years prepared"
        yield ok("stores", found + (f", to do: {spans(missing)}" if missing else ""))


def driver(case: Case) -> Iterator[Finding]:
    """Whether what drives a region is there, or can be made."""
    config, region = case.config, case.config.region
    assert region is not None
    made = driver_config(config, str(case.file))
    of, periods = case.layout.driver, config.periods
    years = sorted({*periods.train.years, *periods.validation.years})
    wanted = {
        "grid": [of.grid_file],
        "analyses": [of.state_manifest(year) for year in years],
        "forecasts": [of.forecast_manifest(start) for start in forecast_starts(config)],
    }
    for kind, files in wanted.items():
        missing = [file for file in files if not file.exists()]
        there = f"{kind}: {len(files) - len(missing)} of {len(files)} are there"
        if not missing:
            yield ok("driver", there)
        elif made is not None:
            yield ok("driver", f"{there}; the workflow makes what is missing")
        else:
            yield fail(
                "driver",
                f"{there}, {missing[0]} is not",
                "make them with the driver's configuration, name it in region.driver.file, or "
                "correct region.driver.experiment and region.driver.grid",
            )
    if made is not None:
        file = region.driver.file
        yield ok("driver", f"{file} fits; look at it with hybridom doctor --config {file}")


def unfinished(case: Case) -> Iterator[Finding]:
    """What a run that was interrupted left; the next one goes on with it."""
    layout = case.layout
    places = (
        layout.resources_dir,
        *(layout.resources_dir / kind for kind in ("state", "forcing")),
        layout.experiment_dir / "forecast",
        layout.experiment_dir / "scores",
    )
    left = [path for place in places if place.is_dir() for path in sorted(place.glob("*.partial"))]
    if layout.checkpoints_dir.is_dir() and not layout.checkpoint.exists():
        left += sorted(layout.checkpoints_dir.glob("step_*.pt"))[-1:]
    if not left:
        yield ok("unfinished", "nothing")
        return
    more = f" and {len(left) - SHOWN} more" if len(left) > SHOWN else ""
    shown = ", ".join(map(str, left[:SHOWN]))
    yield ok("unfinished", f"{shown}{more}; the next run goes on with it")

"""Simulate the embedded ocean, a year a job, and write its products.

A year is cut at the end of every month: when the month's files are complete, a full restart is
written, from which an interrupted run continues bit by bit. The manifest of a year is written last
and says what was made from what; a year whose manifest fits the configuration is not repeated.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hybridom import __version__
from hybridom.config import TwinConfig
from hybridom.errors import UserError
from hybridom.layout import Layout
from hybridom.progress import track
from hybridom.twin import product, weather_files
from hybridom.twin.atmosphere import Atmosphere
from hybridom.twin.geography import TwinGrid, levels
from hybridom.twin.plan import Start, YearPlan, plan_year, restart_dir

if TYPE_CHECKING:
    from hybridom.twin.ocean import TwinOcean

log = logging.getLogger(__name__)


def run_all(config: Any, layout: Layout) -> list[Path]:
    """Simulate all years of the configuration, one after another; returns their manifests."""
    return [run_year(config, layout, year) for year in config.twin.years]


def run_year(config: Any, layout: Layout, year: int) -> Path:
    """Simulate one calendar year, or what the configuration wants of it, and write its files.

    Args:
        config: `Config` or the `StageConfig` of the stage `twin`.
        layout: Where the files go.
        year: Calendar year.

    Returns:
        The manifest of the year.

    Raises:
        UserError: The source is not the twin, the year is not in its period, the year before is
            missing where it is needed, Veros is not installed, or the simulation diverged.
    """
    if config.source.kind != "twin":
        raise UserError(f"source.kind is {config.source.kind!r}: nothing to simulate; set 'twin'")
    plan = plan_year(config.twin, layout, year)
    manifest = layout.twin_manifest(year)
    if is_complete(manifest, plan):
        log.info("twin %d: %s is up to date", year, manifest)
        return manifest
    manifest.unlink(missing_ok=True)
    log.info("twin %d: starts from %s", year, plan.start.origin)
    if plan.start.warning:
        log.warning("twin %d: %s", year, plan.start.warning)
    simulate(config.twin, plan, restart_dir(layout), layout)
    write_manifest(manifest, config.twin, layout, plan)
    return manifest


def simulate(config: TwinConfig, plan: YearPlan, restarts: Path, layout: Layout | None) -> Path:
    """Simulate the days of a plan, or those that an interrupted call left.

    Args:
        config: Section `twin` of the configuration.
        plan: Days and start.
        restarts: Folder of the restarts.
        layout: Where products go; None writes none.

    Returns:
        The restart at the end.
    """
    start = resume(plan, restarts)
    if start is None:
        start = plan.start
        _discard_files(layout, plan)
    final = restarts / f"{plan.last + dt.timedelta(1):%Y%m%d}.h5"
    days = plan.days[(start.day - plan.start.day).days :]
    if not days:
        return final
    ocean_class, threadpool_limits = _ocean_class()
    restarts.mkdir(parents=True, exist_ok=True)
    grid = TwinGrid.of(config.degrees)
    atmosphere = Atmosphere(grid, config.seed, start.day, plan.last)
    writers = None if layout is None else _writers(config, layout, grid, atmosphere, plan)
    # the sums of the pressure solver depend on the number of threads
    with threadpool_limits(1):
        ocean = ocean_class(config, grid, levels(grid), atmosphere, start)
        for day in track(days, len(days), f"twin {days[0]:%Y}"):
            means, surfaces = ocean.advance_day()
            if writers:
                writers[0].write_day(day, means)
                writers[1].add_day(day, surfaces)
            if ocean.day.day == 1 or day == plan.last:
                if writers:
                    writers[1].write_month()
                ocean.write_restart(restarts / f"{ocean.day:%Y%m%d}.h5", plan.key)
                _drop_restarts(restarts, plan, ocean.day)
    return final


def _ocean_class() -> tuple[type[TwinOcean], Any]:
    """Import what needs the extra `twin`: the ocean and `threadpoolctl.threadpool_limits`.

    Raises:
        UserError: A package of the extra `twin` is not installed.
    """
    try:
        from threadpoolctl import threadpool_limits

        from hybridom.twin.ocean import TwinOcean
    except ImportError as e:
        raise UserError(
            f"the embedded ocean needs Veros ({e.name or e} is missing): "
            "pip install 'hybridom[twin]'"
        ) from None
    return TwinOcean, threadpool_limits


def resume(plan: YearPlan, restarts: Path) -> Start | None:
    """The last month's end that an interrupted run of the same plan has reached, if any."""
    import h5py

    for day in reversed(plan.days):
        tomorrow = day + dt.timedelta(1)
        path = restarts / f"{tomorrow:%Y%m%d}.h5"
        if path.exists():
            with h5py.File(path) as f:
                if f.attrs.get("key") == plan.key:
                    log.info("twin: continues from %s", path)
                    return replace(plan.start, day=tomorrow, state=None, restart=path)
    return None


def _drop_restarts(restarts: Path, plan: YearPlan, keep: dt.date) -> None:
    """Delete the restarts that this plan has left behind, but not the one it started from."""
    for day in plan.days[1:]:
        if day < keep:
            (restarts / f"{day:%Y%m%d}.h5").unlink(missing_ok=True)


def _discard_files(layout: Layout | None, plan: YearPlan) -> None:
    """Delete the year's files of an earlier configuration, also days that are not wanted now."""
    if layout is None:
        return
    year = plan.last.year
    for path in (
        *(layout.ocean_dir / str(year)).glob("mercatorglorys12v1_gl12_mean_*"),
        *layout.forcing_dir.glob(f"era5_daily_mean_{year}*"),
    ):
        path.unlink()


def _writers(
    config: TwinConfig, layout: Layout, grid: TwinGrid, atmosphere: Atmosphere, plan: YearPlan
) -> tuple[product.OceanProduct, weather_files.WeatherProduct]:
    origin = plan.start.origin
    ocean = product.OceanProduct(
        layout.ocean_dir, grid, levels(grid), config.product_degrees, origin
    )
    weather = weather_files.WeatherProduct(
        layout.forcing_dir, atmosphere, config.forcing_degrees, origin
    )
    ocean.write_static()
    return ocean, weather


def year_files(layout: Layout, plan: YearPlan) -> list[Path]:
    """All files of a year's products."""
    folder = layout.ocean_dir / str(plan.last.year)
    months = dict.fromkeys((day.year, day.month) for day in plan.days)
    return [
        *(folder / product.file_name(day) for day in plan.days),
        *(layout.forcing_dir / weather_files.file_name(*month) for month in months),
    ]


def is_complete(manifest: Path, plan: YearPlan) -> bool:
    """Whether a manifest is that of the plan and its files are there with their sizes."""
    try:
        record = json.loads(manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return record.get("key") == plan.key and all(
        (manifest.parent / name).exists() and (manifest.parent / name).stat().st_size == size
        for name, size in record["files"].items()
    )


def write_manifest(manifest: Path, config: TwinConfig, layout: Layout, plan: YearPlan) -> None:
    """Write what was made from what; `files` maps paths beside the manifest to bytes."""
    record = {
        "year": plan.last.year,
        "first_day": plan.start.day.isoformat(),
        "last_day": plan.last.isoformat(),
        "key": plan.key,
        "start": plan.start.origin,
        "rest_day": plan.start.rest_day.isoformat() if plan.start.rest_day else None,
        "version": __version__,
        "config": config.model_dump(mode="json"),
        "files": _sizes(year_files(layout, plan), manifest.parent),
    }
    partial = manifest.with_name(manifest.name + ".partial")
    partial.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    partial.replace(manifest)


def _sizes(paths: Iterable[Path], folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_size for path in paths}

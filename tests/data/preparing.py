"""Ten days at the end of a leap year, a file each, and what preparing them leaves on the disk."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from hybridom.data.prepare import prepare_forcing, prepare_grid, prepare_state
from hybridom.layout import Layout
from hybridom.variables import VARIABLES
from tests.data import raw

START, DAYS, YEAR = dt.date(2000, 12, 22), 10, 2000
EVERY = [START + dt.timedelta(number) for number in range(DAYS)]
TRAIN, VALIDATION = ("2000-12-22", "2000-12-26"), ("2000-12-27", "2000-12-27")
TEST = ("2000-12-28", "2000-12-31")
STAGES: dict[str, Callable[..., None]] = {"state": prepare_state, "forcing": prepare_forcing}


def write_forcing_days(folder: Path, days: Sequence[dt.date], **options: Any) -> None:
    """Write an atmosphere file for each day, in a folder each."""
    for day in days:
        raw.write_forcing_month(folder / str(day), day.year, day.month, days=[day.day], **options)


def write_short_year(root: Path) -> Path:
    """Write `root`/ocean and `root`/forcing."""
    raw.write_ocean_days(root / "ocean", START, DAYS)
    write_forcing_days(root / "forcing", EVERY)
    return root


def raw_file(root: Path, kind: str, day: dt.date) -> Path:
    """The raw file of a day, of kind `state` or `forcing`."""
    if kind == "state":
        return root / "ocean" / raw.ocean_name(day)
    (path,) = (root / "forcing" / str(day)).iterdir()
    return path


@contextmanager
def missing(root: Path, kind: str, days: Sequence[dt.date]) -> Iterator[None]:
    """Move the raw files of some days away, and back as they were."""
    away = root / "away"
    away.mkdir(exist_ok=True)
    paths = [raw_file(root, kind, day) for day in days]
    for number, path in enumerate(paths):
        path.rename(away / str(number))
    try:
        yield
    finally:
        for number, path in enumerate(paths):
            (away / str(number)).rename(path)


def short_config(root: Path, resources: Path, test: tuple[str, str] = TEST, **sections: Any) -> Any:
    """Configuration that reads `root` and writes to `resources`.

    Args:
        root: Folder of the raw files.
        resources: Folder of the stores.
        test: First and last day of the test period.
        sections: Sections; of `source`, keys beside the folders.
    """
    folders = {"ocean_dir": str(root / "ocean"), "forcing_dir": str(root / "forcing")}
    sections["source"] = {"kind": "files", **folders, **sections.get("source", {})}
    paths = {"resources": str(resources), "results": str(resources / "results")}
    return raw.raw_config(root, TRAIN, VALIDATION, test, **sections, paths=paths)


def short_world(root: Path, resources: Path, **sections: Any) -> SimpleNamespace:
    """As `short_config`, with paths and the grid prepared."""
    config = short_config(root, resources, **sections)
    layout = Layout(config)
    if not layout.grid_file.exists():
        prepare_grid(config, layout)
    return SimpleNamespace(root=root, config=config, layout=layout)


def prepared(world: SimpleNamespace, kind: str, **options: Any) -> dict[str, bytes]:
    """Run a stage; the bytes it leaves."""
    STAGES[kind](world.config, world.layout, YEAR, **options)
    return contents(world.layout.resources_dir / kind)


def contents(root: Path) -> dict[str, bytes]:
    """Relative path -> bytes of every file but locks, which hold process numbers."""
    files = sorted(p for p in root.rglob("*") if p.is_file() and p.suffix != ".lock")
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in files}


def chunk_times(store: Path) -> dict[tuple[str, int], tuple[int, int]]:
    """(Variable, slab) -> inode and time of change of its first chunk."""
    found = {}
    for folder in store.glob("*/c/*"):
        name = folder.relative_to(store).parts[0]
        paths = sorted(p for p in folder.rglob("*") if p.is_file())
        if name in VARIABLES and paths:
            status = paths[0].stat()
            found[name, int(folder.name)] = (status.st_ino, status.st_mtime_ns)
    return found

"""Reading ocean days block by block, as stored: GLORYS12V1 originals, subsets and Zarr stores.

Product: doi 10.48670/moi-00021. What is read here is always south to north, and west to east in
[-180, 180). A block is one layer of chunks: what must be decompressed together and no more.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybridom.data.raw.axes import Orientation, SourceAxes
from hybridom.data.raw.chunks import ChunkedVariable, DamagedChunk, index_chunks, layers
from hybridom.data.raw.folders import fingerprint
from hybridom.data.raw.netcdf import LIBRARY, SourceFile, damage
from hybridom.data.raw.ocean_files import OCEAN_FILE, OceanFiles, Record
from hybridom.data.raw.packed import PackedField
from hybridom.errors import UserError
from hybridom.variables import VARIABLES

__all__ = ["Block", "OceanFiles", "OceanReader", "Record"]

LEVELS_TOGETHER = 7  # in a block where the file has no chunks, as many as GLORYS12V1's chunks hold
KNOWN_FILES = 16  # headers kept; a day is at most in a few files


class Block(NamedTuple):
    """Some levels of one variable of one day, not yet read.

    Attributes:
        name: Variable.
        levels: Positions in grid.depths; slice(0, 1) for a variable without depth.
        load: Reads them, (n levels, nlat, nlon). Safe to call from any thread, and holds no lock
            while it decompresses. Raises `UserError` for damaged data.
    """

    name: str
    levels: slice
    load: Callable[[], PackedField]


@dataclass(frozen=True, eq=False)
class _Stored:
    """How a variable lies in a file.

    Attributes:
        deep: Whether it has a depth axis.
        layer: Levels that are best read together, as those in a chunk.
        chunked: Whether it is chunked.
        packing: Factor, offset, and stored values that stand for no value.
        chunks: Index of its chunks, or None where a library must read it.
        store: The open Zarr store, if it lies in one.
    """

    deep: bool
    layer: int
    chunked: bool
    packing: tuple[float, float, tuple[float, ...]]
    chunks: ChunkedVariable | None
    store: SourceFile | None


@dataclass(frozen=True, eq=False)
class _Known:
    """What is known of a file whose header has been read and is as expected."""

    days: list[dt.date]
    orientation: Orientation
    variables: dict[str, _Stored]


class OceanReader:
    """Reads days of ocean files, from several threads if need be.

    Args:
        axes: Axes that all files must have.
        levels: (nz,) ascending indices of grid.depths on their depth axis.
    """

    def __init__(self, axes: SourceAxes, levels: NDArray[np.intp]) -> None:
        self._axes = axes
        self._levels = np.asarray(levels, np.intp)
        self._known: OrderedDict[tuple[Path, tuple[int, int]], _Known] = OrderedDict()
        self._lock = threading.Lock()

    def blocks(self, record: Record, day: dt.date, names: Sequence[str]) -> list[Block]:
        """Blocks of a day, in order of name and depth. Reads headers, once a file.

        Args:
            record: Where the day lies.
            day: The day.
            names: Variables.

        Raises:
            UserError: A file cannot be opened, lacks a variable, or has other axes, units,
                dimensions or days than expected.
        """
        found = []
        for name in names:
            part = record.of(name, day)
            known = self._header(part, day, name)
            stored = known.variables[name]
            levels = self._levels if stored.deep else np.zeros(1, np.intp)
            for span in layers(levels, stored.layer):
                load = partial(_load, part, day, name, stored, levels[span], known.orientation)
                found.append(Block(name, span, load))
        return found

    def _header(self, record: Record, day: dt.date, name: str) -> _Known:
        """What is known of a file, `name` included; opens it only for what is not yet known."""
        with self._lock:
            try:
                key = record.path, fingerprint(record.path)
            except FileNotFoundError:
                raise UserError(
                    f"{record.path}: is gone, all its variables are unreadable on {day}; expected "
                    "the file that was found before: fetch or make it again"
                ) from None
            known = self._known.get(key)
            if known is None or name not in known.variables:
                known = self._open(record, day, name)
                self._known[key] = known
                while len(self._known) > KNOWN_FILES:
                    self._known.popitem(last=False)
        problem = _day_problem(record, day, known.days)
        if problem:
            raise UserError(problem)
        return known

    def _open(self, record: Record, day: dt.date, name: str) -> _Known:
        file = SourceFile(record.path, day)
        if file.is_store:  # it holds no file open, and opening it again for each block takes long
            return self._describe(file, record, day, name)
        with LIBRARY, file:
            return self._describe(file, record, day, name)

    def _describe(self, file: SourceFile, record: Record, day: dt.date, name: str) -> _Known:
        problem = file.axes_problem(self._axes)
        days = [] if problem else [time.date() for time in file.times]
        problem = problem or _day_problem(record, day, days) or file.header_problem(name, day)
        if problem:
            raise UserError(problem)
        fit = [n for n in sorted(record.names) if file.header_problem(n, day) is None]
        return _Known(days, file.orientation, _stored(file, fit))


def _day_problem(record: Record, day: dt.date, days: list[dt.date]) -> str | None:
    """Whether a file holds another day than its name or index says, in one line."""
    alone = OCEAN_FILE.fullmatch(record.path.name) is None or len(days) == 1
    if alone and days[record.step : record.step + 1] == [day]:
        return None
    return (
        f"{record.path}: the time axis of all variables holds "
        f"{', '.join(map(str, days)) or 'none'}; expected one daily mean of {day}: fetch or make "
        "the file again"
    )


def _packing(variable: Any) -> tuple[float, float, tuple[float, ...]]:
    """Factor, offset and the stored values that stand for no value, of a variable in a file."""
    scale, offset = getattr(variable, "scale_factor", 1.0), getattr(variable, "add_offset", 0.0)
    markers = [
        np.atleast_1d(getattr(variable, key)).astype(variable.dtype)
        for key in ("_FillValue", "missing_value")
        if hasattr(variable, key)
    ]
    values = sorted({float(m) for marker in markers for m in marker if not np.isnan(m)})
    return float(scale), float(offset), tuple(values)


def _stored(file: SourceFile, names: Sequence[str]) -> dict[str, _Stored]:
    """How variables, whose headers have no problem, lie in a file."""
    variables: dict[str, Any] = {name: file.variable(name) for name in names}
    in_file = [variable.name for variable in variables.values()]
    indices = index_chunks(file.path, in_file) if file.is_hdf5 else {}
    store = file if file.is_store else None
    found = {}
    for name, variable in variables.items():
        chunk = variable.chunking()  # a list, or for files without chunks a word or None
        chunked = isinstance(chunk, list)
        deep = VARIABLES[name].has_depth
        layer = (chunk[1] if chunked else LEVELS_TOGETHER) if deep else 1
        index = indices.get(variable.name)
        found[name] = _Stored(deep, int(layer), chunked, _packing(variable), index, store)
    return found


def _load(
    record: Record,
    day: dt.date,
    name: str,
    stored: _Stored,
    levels: NDArray[np.intp],
    orientation: Orientation,
) -> PackedField:
    """Read levels that lie in one layer of chunks."""
    if stored.chunks is not None:
        try:
            raw = stored.chunks.read(record.step, levels, orientation)
        except (DamagedChunk, OSError) as e:
            raise UserError(damage(record.path, name, day, e)) from None
        return PackedField(raw, *stored.packing)
    if stored.store is not None:
        raw = _by_library(stored.store, record, day, name, stored, levels)
    else:
        with SourceFile(record.path, day) as file:
            raw = _by_library(file, record, day, name, stored, levels)
    return _plain(PackedField(np.ascontiguousarray(raw), *stored.packing))


def _by_library(
    file: SourceFile,
    record: Record,
    day: dt.date,
    name: str,
    stored: _Stored,
    levels: NDArray[np.intp],
) -> NDArray:
    """Stored values (levels, nlat, nlon) of an open file."""
    if not stored.deep:
        return file.read_raw(name, day, (record.step,))[None]
    if stored.chunked:  # one range: level by level, every chunk would be decompressed repeatedly
        first, last = int(levels[0]), int(levels[-1])
        whole = file.read_raw(name, day, (record.step, slice(first, last + 1)))
        return whole if len(whole) == len(levels) else whole[levels - first]
    return np.stack([file.read_raw(name, day, (record.step, int(level))) for level in levels])


def _plain(field: PackedField) -> PackedField:
    """The same values as int16 or float32 in the machine's byte order."""
    kind, size = field.raw.dtype.kind, field.raw.dtype.itemsize
    if (kind, size) in {("i", 2), ("f", 4)}:
        return field._replace(raw=field.raw.astype(field.raw.dtype.newbyteorder("="), copy=False))
    if (kind, size) == ("i", 1):
        return field._replace(raw=field.raw.astype(np.int16))
    return PackedField(field.unpack().astype(np.float32))

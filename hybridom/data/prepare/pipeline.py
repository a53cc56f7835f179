"""From packed raw blocks to model fields, several blocks at a time.

Nearly all the time of preparation goes into decompression. A block (some levels of one variable of
one day) is decompressed, checked and averaged by one thread while others do the same with the next
blocks, of the next day too, so that all cores work while memory holds one block a thread.
"""

from __future__ import annotations

import datetime as dt
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybridom.data.problems import gap_problem, range_problem
from hybridom.data.raw.ocean import Block, OceanReader, Record
from hybridom.data.regrid import FusedRegridder, fill_from_sea
from hybridom.errors import UserError
from hybridom.variables import VARIABLES

Float32 = NDArray[np.float32]
Mask = NDArray[np.bool_]
Pending = list[tuple[Block, Future[Float32]]]  # a day that is being made

DAYS_AHEAD = 2  # days whose blocks wait for a free thread; only results wait in memory


class RawDay(NamedTuple):
    """A day and where it lies."""

    day: dt.date
    record: Record


@dataclass(frozen=True)
class OceanPipeline:
    """Turns raw days into fields on the model grid.

    Attributes:
        reader: Of the raw files.
        regrid: From their grid to the wet cells of the model's.
        wet: (nz, ny, nx) ocean cells of the model.
        coastal_fill: Cells by which values are continued onto land.
        periodic: Whether the model grid is a full circle.
    """

    reader: OceanReader
    regrid: FusedRegridder
    wet: Mask
    coastal_fill: int
    periodic: bool

    def fields(
        self, days: Sequence[RawDay], names: Sequence[str], threads: int
    ) -> Iterator[dict[str, Float32]]:
        """Fields of each day, in order: name -> ([nz,] ny, nx), NaN on land.

        Raises:
            UserError: A file is unfit; the days before it have been handed out.
        """
        waiting: deque[Pending] = deque()
        with ThreadPoolExecutor(threads, thread_name_prefix="regrid") as pool:
            try:
                for raw in days:
                    try:
                        blocks = self.reader.blocks(raw.record, raw.day, names)
                    except UserError:
                        yield from self._rest(waiting)
                        raise
                    waiting.append([(b, pool.submit(self._block, b, raw)) for b in blocks])
                    if len(waiting) > DAYS_AHEAD:
                        yield self._assemble(waiting.popleft())
                yield from self._rest(waiting)
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def _block(self, block: Block, raw: RawDay) -> Float32:
        absent = 0.0 if VARIABLES[block.name].role == "ice" else None
        found = self.regrid(block.load(), block.levels, absent)
        path = raw.record.of(block.name, raw.day).path
        problem = gap_problem(found.missing, block.name, raw.day, path) or range_problem(
            found.low, found.high, block.name, raw.day, path
        )
        if problem:
            raise UserError(problem)
        if not self.coastal_fill:
            return found.values
        wet = self.wet[block.levels]
        return fill_from_sea(found.values, wet, self.coastal_fill, self.periodic)

    def _rest(self, waiting: deque[Pending]) -> Iterator[dict[str, Float32]]:
        while waiting:
            yield self._assemble(waiting.popleft())

    def _assemble(self, parts: Pending) -> dict[str, Float32]:
        fields: dict[str, Float32] = {}
        for block, future in parts:
            values = future.result()
            if not VARIABLES[block.name].has_depth:
                fields[block.name] = values[0]
                continue
            whole = fields.setdefault(block.name, np.empty(self.wet.shape, np.float32))
            whole[block.levels] = values
        return fields

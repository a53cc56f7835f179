"""A day as a list of stages, forward and in reverse, and the sizes of the launches for them."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from hybridom.physics.fused.types import Settings

# Rows and columns of the tile of a program, and cells of a program that works down columns. One
# cell for a thread: neighbouring threads then read neighbouring cells, for any width of the grid.
TILE = (4, 64)
CELLS = 128
THREADS_PER_WARP = 32


class Stage(NamedTuple):
    """y_(s+1) = older y_(s-back) + newest y_s + tendency G(y_s) + former G(y_(s-1)).

    Attributes:
        newest, tendency: Factors of the fields at the start of the stage and their tendency (s).
        former: Factor of the tendency of the stage before, s; 0 where it does not enter.
        older: Factor of older fields; 0 where they do not enter.
        back: By how many stages they are older.
    """

    newest: float
    tendency: float
    former: float = 0.0
    older: float = 0.0
    back: int = 0


class ReverseStage(NamedTuple):
    """Factors of a stage in reverse, from the adjoints l of the fields after the next three stages.

    l_s = first l_(s+1) + second l_(s+2) + third l_(s+3) + G'(y_s)^T m, where the adjoint of the
    tendency is m = tendency l_(s+1) + former l_(s+2).
    """

    first: float
    second: float
    third: float
    tendency: float
    former: float


def stages(settings: Settings) -> list[Stage]:
    """The stages of a day; see `physics.time_integration`."""
    dt, offset = settings.dt, settings.ab2_offset
    if settings.scheme == "ab2":
        others = Stage(1.0, dt * (1.5 + offset), former=-dt * (0.5 + offset))
        return [Stage(1.0, dt), *[others] * (settings.substeps - 1)]
    substep = [
        Stage(1.0, dt),
        Stage(0.25, 0.25 * dt, older=0.75, back=1),
        Stage(2 / 3, dt * 2 / 3, older=1 / 3, back=2),
    ]
    return substep * settings.substeps


def reverse_stages(forward: list[Stage]) -> list[ReverseStage]:
    """The adjoint of each stage, in the order of `forward`."""
    beyond = Stage(0.0, 0.0)
    found = []
    for s, stage in enumerate(forward):
        following, after = (*forward[s + 1 : s + 3], beyond, beyond)[:2]
        found.append(
            ReverseStage(
                first=stage.newest,
                second=following.older if following.back == 1 else 0.0,
                third=after.older if after.back == 2 else 0.0,
                tendency=stage.tendency,
                former=following.former,
            )
        )
    return found


class Sizes(NamedTuple):
    """Windows, levels, rows and columns."""

    windows: int
    nz: int
    ny: int
    nx: int

    def tiles(self) -> tuple[int]:
        """Grid of a kernel whose programs work on tiles."""
        rows, columns = TILE
        return (self.windows * self.nz * _parts(self.ny, rows) * _parts(self.nx, columns),)

    def columns(self) -> tuple[int, int]:
        """Grid of a kernel whose programs work down columns."""
        return _parts(self.ny * self.nx, CELLS), self.windows


def sizes(field: Tensor) -> Sizes:
    """Those of a field at centres (B, nz, ny, nx)."""
    return Sizes(*field.shape)


def warps(*cells: int) -> int:
    """Warps of a program with so many rows and columns of cells."""
    count = 1
    for n in cells:
        count *= n
    return max(1, count // THREADS_PER_WARP)


def _parts(length: int, part: int) -> int:
    return -(-length // part)

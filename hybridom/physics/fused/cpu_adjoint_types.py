"""What the kernels of the adjoint of a day pass on."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybridom.physics.fused.cpu_halo import MARGIN
from hybridom.physics.fused.cpu_rows import Numbers

# entries of `Stage.weights`
FIRST, SECOND, THIRD, TENDENCY, FORMER = range(5)

Fields = tuple[NDArray, NDArray, NDArray]


class Day(NamedTuple):
    """What stays the same over the day, of one window.

    Attributes:
        u, v, w, zos: See `types.Start`, without the axis of windows.
        flags: See `tables.Tables`.
        numbers: Metrics and coefficients.
        limited: Whether the advection of tracers is `tvd`.
        spans: Columns of each row, see `cpu_halo.spans_of_rows`.
    """

    u: NDArray
    v: NDArray
    w: NDArray
    zos: NDArray
    flags: NDArray
    numbers: Numbers
    limited: bool
    spans: NDArray


class Stage(NamedTuple):
    """Temperature, salinity and vorticity (3 of (nz, ny, nx) each) around a stage s.

    Attributes:
        state: The fields y_s; anything on land.
        after: Derivatives L_(s+1); anything on land, as all of them.
        second: L_(s+2), where its weight is not zero.
        result: Before, L_(s+2) where `FORMER` is not zero, L_(s+3) where `THIRD` is not; finite in
            the ocean in any case. After, L_s, zero on land.
        weights: (5,), see the names above and `gpu_stages.ReverseStage`.
    """

    state: Fields
    after: Fields
    second: Fields
    result: Fields
    weights: NDArray


class Band(NamedTuple):
    """Rows of one call.

    Attributes:
        south, north: Rows (exclusive).
        edges: What `Stage.result` holds before in the `MARGIN` rows in the south of the band, and
            then in those in the north of it (3 of (nz, 2 `MARGIN`, nx)): other calls write them.
    """

    south: int
    north: int
    edges: Fields


class Gradients(NamedTuple):
    """Derivatives with respect to the fields that stay the same, added up over the stages.

    Attributes:
        u, v, w, zos, source: See `types.Start`, without the axis of windows. That of the seam is
            in the last column of `u`.
    """

    u: NDArray
    v: NDArray
    w: NDArray
    zos: NDArray
    source: NDArray


class Rings(NamedTuple):
    """Rows at hand, each in the slot that is its number modulo the slots, and lines of one level.

    Attributes:
        fields: `T`, `S`, `ZETA`, and their `M_T`, `M_S`, `M_ZETA` (slots, 6, nz, n).
        bits: See `cpu_halo` (slots, nz, n).
        pressure: Pressure, Pa (slots, nz, n).
        northward: Geostrophic velocity, m s-1 (slots, nz, n).
        gain, change: Results of `cpu_reverse.eastward_reverse_row` (slots, nz, n).
        faces: Northern faces: `Q_T`, `Q_S`, `Q_ZETA`, `SLOPE_Y`, `SLOPE_V` and `PUSH`, see
            `cpu_reverse` (2, 6, nz, n).
        slope_x, q_t, q_s: Results of `cpu_reverse.tracers_east_level` (n,).
        slope_z, top_t, top_s: Results of `cpu_reverse.tracers_top_level`, alike.
        bottom_t, bottom_s: The same of the level below.
        total, density: Derivatives with respect to the surface pressure and to density, alike.
        a, b, c, d: Scratch, alike.
    """

    fields: NDArray
    bits: NDArray
    pressure: NDArray
    northward: NDArray
    gain: NDArray
    change: NDArray
    faces: NDArray
    slope_x: NDArray
    q_t: NDArray
    q_s: NDArray
    slope_z: NDArray
    top_t: NDArray
    top_s: NDArray
    bottom_t: NDArray
    bottom_s: NDArray
    total: NDArray
    density: NDArray
    a: NDArray
    b: NDArray
    c: NDArray
    d: NDArray


def rings(day: Day) -> list[tuple[tuple[int, ...], np.dtype]]:
    """Shapes and types of `Rings`."""
    nz, n, dtype = day.flags.shape[0], day.flags.shape[2] + 2 * MARGIN, day.numbers.rows.dtype
    slots = 4 if day.limited else 3
    shapes: dict[str, tuple[int, ...]] = {"fields": (slots, 6, nz, n), "faces": (2, 6, nz, n)}
    for name in ("bits", "pressure", "northward", "gain", "change"):
        shapes[name] = (slots, nz, n)
    types = {"bits": np.dtype(np.uint8)}
    return [(shapes.get(name, (n,)), types.get(name, dtype)) for name in Rings._fields]

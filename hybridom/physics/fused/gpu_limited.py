"""The second-order part of the `tvd` scheme on a line of five cells, and its adjoint.

`hybridom.physics.advection` is the reference. The cells of a line are numbered -2 to 2 in the
positive direction; differences and transports belong to the faces between them. A difference across
a closed face is zero, which makes the rises on both sides of it zero, and their derivatives.
"""

# The arguments of kernels have no types that mypy knows.
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import triton
import triton.language as tl

from hybridom.physics.fused.gpu_stencil import (
    BELOW,
    DZ,
    DZ_LOWER_INVERSE,
    DZ_UPPER_INVERSE,
    EAST,
    LENGTH_NORTH,
    LENGTH_SOUTH,
    LENGTH_U,
    NORTH,
    first_faces,
    has,
    of_level,
    of_row,
    read,
    wrapped_steps,
)


@triton.jit
def rise(d_before, d_after, share):
    """Change of the field from a cell's centre to its face; as `advection._limited_rise`."""
    central = 0.25 * share * tl.abs(d_before + d_after)
    smallest = tl.minimum(tl.minimum(tl.abs(d_before), tl.abs(d_after)), central)
    return tl.where(d_before * d_after > 0, tl.where(d_before > 0, smallest, -smallest), 0.0)


@triton.jit
def part_of_first(a, b):
    """Derivative of min(a, b) with respect to a; both have half of it where they are equal."""
    half = tl.full(a.shape, 0.5, a.dtype)
    return tl.where(a < b, 2 * half, tl.where(a == b, half, 0.0))


@triton.jit
def rise_slopes(d_before, d_after, share):
    """Derivatives of `rise` with respect to both differences."""
    before, after = tl.abs(d_before), tl.abs(d_after)
    central = 0.25 * share * tl.abs(d_before + d_after)
    one_sided = part_of_first(tl.minimum(before, after), central)
    of_before = part_of_first(before, after)
    centred = 0.25 * share * (1.0 - one_sided)
    monotone = d_before * d_after > 0
    return (
        tl.where(monotone, one_sided * of_before + centred, 0.0),
        tl.where(monotone, one_sided * (1.0 - of_before) + centred, 0.0),
    )


@triton.jit
def limited_inflow(d, x_before, x_after, shares):
    """What the corrections of the two faces of a cell bring in.

    Args:
        d: Differences of the field across the four faces of the line.
        x_before, x_after: Transports through the two faces of the cell.
        shares: Of the cells before, here and after; see `advection.limited_fluxes`.
    """
    here = rise(d[1], d[2], shares[1])
    out_after = tl.where(x_after > 0, here, rise(d[2], d[3], shares[2]))
    in_before = tl.where(x_before > 0, rise(d[0], d[1], shares[0]), here)
    return tl.abs(x_before) * in_before - tl.abs(x_after) * out_after


@triton.jit
def limited_adjoint(d, q, x, shares):
    """Adjoint of `limited_inflow` of all cells, in gather form.

    Args:
        d: Differences of the field across the four faces of the line.
        q: Adjoints of the tendencies of its five cells, divided by their area or thickness.
        x: Transports through the four faces.
        shares: Of the cells before, here and after.

    Returns:
        The adjoints of the field in the middle and of the transport through the face after it.
    """
    through_2before, through_before = q[1] - q[0], q[2] - q[1]
    through_after, through_2after = q[3] - q[2], q[4] - q[3]
    # each cell gives its rise to the faces that water leaves it through
    rise_before = tl.where(x[1] > 0, x[1], 0.0) * through_before
    rise_before -= tl.where(x[0] > 0, 0.0, x[0]) * through_2before
    rise_here = tl.where(x[2] > 0, x[2], 0.0) * through_after
    rise_here -= tl.where(x[1] > 0, 0.0, x[1]) * through_before
    rise_after = tl.where(x[3] > 0, x[3], 0.0) * through_2after
    rise_after -= tl.where(x[2] > 0, 0.0, x[2]) * through_after
    _, of_before = rise_slopes(d[0], d[1], shares[0])
    here_before, here_after = rise_slopes(d[1], d[2], shares[1])
    of_after, _ = rise_slopes(d[2], d[3], shares[2])
    face_before = rise_before * of_before + rise_here * here_before
    face_after = rise_here * here_after + rise_after * of_after
    downstream = rise(d[2], d[3], shares[2])
    along = tl.where(x[2] > 0, rise(d[1], d[2], shares[1]), -downstream)
    return face_before - face_after, through_after * along


@triton.jit
def neighbours_but_one(flags, at, around, is_open, k, j, i, nx):
    """Distances in memory to the next cell but one in six directions, and the faces before it."""
    west, east, south, north, below, above = around
    farther_west, _ = wrapped_steps(tl.where(i == 0, nx - 1, i - 1), nx)
    _, farther_east = wrapped_steps(tl.where(i + 1 == nx, 0, i + 1), nx)
    around_2 = (
        west + farther_west,
        east + farther_east,
        2 * south,
        2 * north,
        2 * below,
        2 * above,
    )
    is_open_2 = (
        has(flags, at + around_2[0], is_open[0], EAST),
        has(flags, at + east, is_open[1], EAST),
        has(flags, at + around_2[2], is_open[2] & (j > 1), NORTH),
        has(flags, at + north, is_open[3], NORTH),
        has(flags, at + below, is_open[4], BELOW),
        has(flags, at + around_2[5], is_open[5] & (k > 1), BELOW),
    )
    return around_2, is_open_2


@triton.jit
def transports_but_one(flow, rows, around, is_open_2, k, j, i, ny, nx):
    """As `transports`, through the next faces of the same lines."""
    at_u, at_v, at_w = first_faces(k, j, i, ny, nx)
    length = of_row(rows, LENGTH_U, j, ny)
    plane = ny * nx
    return (
        read(flow[0], at_u + around[0], is_open_2[0]) * length,
        read(flow[0], at_u + 1 + around[1], is_open_2[1]) * length,
        read(flow[1], at_v - nx, is_open_2[2]) * of_row(rows, LENGTH_SOUTH, j - 1, ny),
        read(flow[1], at_v + 2 * nx, is_open_2[3]) * of_row(rows, LENGTH_NORTH, j + 1, ny),
        read(flow[2], at_w + 2 * plane, is_open_2[4]),
        read(flow[2], at_w - plane, is_open_2[5]),
    )


@triton.jit
def vertical_share(levels, k, nz):
    """Share of the central difference in a level; see `advection.limited_fluxes`."""
    k = tl.minimum(tl.maximum(k, 0), nz - 1)
    upper = of_level(levels, DZ_UPPER_INVERSE, k, nz)
    lower = of_level(levels, DZ_LOWER_INVERSE, k, nz)
    return 2 * of_level(levels, DZ, k, nz) * upper * lower / (upper + lower)


@triton.jit
def vertical_shares(levels, k, nz):
    """`vertical_share` of the level below, of level `k` and of the level above."""
    return (
        vertical_share(levels, k + 1, nz),
        vertical_share(levels, k, nz),
        vertical_share(levels, k - 1, nz),
    )


@triton.jit
def differences(c, c_around, c_around_2, is_open, is_open_2, BEFORE: tl.constexpr):
    """Differences across the four faces of a line; `BEFORE` is its first place in the tuples."""
    before, after = c_around[BEFORE], c_around[BEFORE + 1]
    return (
        tl.where(is_open_2[BEFORE], before - c_around_2[BEFORE], 0.0),
        tl.where(is_open[BEFORE], c - before, 0.0),
        tl.where(is_open[BEFORE + 1], after - c, 0.0),
        tl.where(is_open_2[BEFORE + 1], c_around_2[BEFORE + 1] - after, 0.0),
    )

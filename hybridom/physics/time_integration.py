"""Time stepping of any set of fields; it knows nothing of what they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import Tensor

Fields = tuple[Tensor, ...]
Scheme = Literal["ab2", "rk3"]


def integrate(
    tendency: Callable[[Fields], Fields],
    y: Fields,
    dt: float,
    steps: int,
    scheme: Scheme,
    history: Fields | None = None,
    offset: float = 0.1,
) -> tuple[Fields, Fields | None]:
    """Advance dy/dt = tendency(y) by `steps` steps.

    - `ab2`: Adams-Bashforth, y + dt ((3/2 + offset) G_n - (1/2 + offset) G_(n-1)), started by one
      Euler step. An offset of 0 is second order; a positive one damps the computational mode and
      makes the scheme first order.
    - `rk3`: the three-stage strong-stability-preserving Runge-Kutta scheme, third order (Shu and
      Osher 1988, doi:10.1016/0021-9991(88)90177-5). What an Euler step bounds stays bounded.

    Args:
        tendency: Function from fields to their time derivatives.
        y: Fields of any shape.
        dt: Step, in the time unit of the tendency.
        steps: Number of steps.
        scheme: `ab2` or `rk3`.
        history: The second result of an earlier call with `ab2`, which this one then continues:
            n + n steps are 2n steps. None starts afresh.
        offset: Offset of `ab2`.

    Returns:
        The fields after the last step, and the history for a following call (None with `rk3`).
    """
    for _ in range(steps):
        if scheme == "rk3":
            y = _rk3_step(tendency, y, dt)
            continue
        new = tendency(y)
        if history is None:
            y = _combine(y, (dt, new))
        else:
            y = _combine(y, (dt * (1.5 + offset), new), (-dt * (0.5 + offset), history))
        history = new
    return y, history


def _combine(y: Fields, *terms: tuple[float, Fields]) -> Fields:
    """Fields plus multiples of other fields."""
    for factor, fields in terms:
        y = tuple(a.add(b, alpha=factor) for a, b in zip(y, fields, strict=True))
    return y


def _rk3_step(tendency: Callable[[Fields], Fields], y: Fields, dt: float) -> Fields:
    """One step of Shu and Osher's third-order scheme, a chain of averages of Euler steps."""
    first = _combine(y, (dt, tendency(y)))
    second = _combine(first, (dt, tendency(first)))
    half = tuple(a.lerp(b, 0.25) for a, b in zip(y, second, strict=True))
    third = _combine(half, (dt, tendency(half)))
    return tuple(a.lerp(b, 2 / 3) for a, b in zip(y, third, strict=True))

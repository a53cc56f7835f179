"""Numbers that the CPU kernels read beside fields: metrics, and coefficients of the equations.

They come in arrays of the type of the fields, because numba takes literals for float64.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hybridom.constants import GRAVITY, RHO_0
from hybridom.physics import eos
from hybridom.physics.fused import tables
from hybridom.physics.fused.types import Metrics, Settings

# further columns of `Numbers.levels`
THERMAL, HALINE = range(6, 8)  # of the equation of state: coefficients of Ta and Sa alone

# entries of `Numbers.constants`
(
    T_REF,  # degC
    S_REF,  # 1e-3
    THERMAL_SQUARE,  # of Ta^2, kg m-3 K-2
    MIXED,  # of Ta Sa, kg m-3 K-1
    HALINE_SQUARE,  # of Sa^2, kg m-3
    GRAVITY_,  # m s-2
    SURFACE,  # Pa per m of sea-surface height
    LATERAL,  # K_h, m2 s-1
    VERTICAL,  # K_v, m2 s-1
    VISCOSITY,  # A_h, m2 s-1
    ADVECTION,  # 1 with geostrophic advection, else 0
    PLANETARY,  # 1 with planetary advection, else 0
    STRETCHING,  # 1 with stretching, else 0
) = range(13)


class Numbers(NamedTuple):
    """Metrics and coefficients in the order in which rows are worked on, all of one type.

    Attributes:
        rows: (ny, 16), `tables.Tables.rows` the other way round.
        levels: (nz, 8), `tables.Tables.levels` the other way round, and `THERMAL`, `HALINE`.
        constants: (13,), see the names above.
    """

    rows: NDArray
    levels: NDArray
    constants: NDArray


def numbers(metrics: Metrics, settings: Settings) -> Numbers:
    """Collect what the row functions need beside fields."""
    rows = np.ascontiguousarray(metrics.rows.numpy().T)
    levels = metrics.levels.numpy()
    depth = levels[tables.DEPTH].astype(np.float64)
    thermal, haline = -eos.A0 * (1 + eos.MU1 * depth), eos.B0 * (1 - eos.MU2 * depth)
    values = {
        T_REF: eos.T_REF,
        S_REF: eos.S_REF,
        THERMAL_SQUARE: -0.5 * eos.A0 * eos.LAMBDA1,
        MIXED: -eos.NU,
        HALINE_SQUARE: -0.5 * eos.B0 * eos.LAMBDA2,
        GRAVITY_: GRAVITY,
        SURFACE: GRAVITY * RHO_0,
        LATERAL: settings.lateral_diffusivity,
        VERTICAL: settings.vertical_diffusivity,
        VISCOSITY: settings.viscosity,
        ADVECTION: settings.geostrophic_advection,
        PLANETARY: settings.planetary,
        STRETCHING: settings.stretching,
    }
    return Numbers(
        rows,
        np.ascontiguousarray(np.vstack([levels, thermal, haline]).T.astype(rows.dtype)),
        np.array([values[i] for i in range(len(values))], dtype=rows.dtype),
    )

"""The day in other units is the same day: no term holds a number of a hidden dimension.

Each unit is a power of two of its SI unit, so that a change of units rounds nothing and results
must agree bit for bit. The stress is given: the formula that makes it of the wind holds its
coefficients in SI units, and is tested in test_vorticity.py.
"""

from __future__ import annotations

import sys
from dataclasses import replace

import torch

from hybridom import constants
from hybridom.physics import eos
from hybridom.state import Forcing, OceanState

# one new unit in SI units: length, time, mass, temperature, salinity
M, S, KG, K, PSU = 2.0**13, 2.0**11, 2.0**30, 2.0**-3, 2.0**4
DENSITY = KG / M**3
# SI values are divided by these
UNITS = {
    constants: {
        "EARTH_RADIUS": M,
        "OMEGA": 1 / S,
        "GRAVITY": M / S**2,
        "RHO_0": DENSITY,
        "SECONDS_PER_DAY": S,
    },
    eos: {
        "T_REF": K,
        "S_REF": PSU,
        "A0": DENSITY / K,
        "B0": DENSITY / PSU,
        "LAMBDA1": 1 / K,
        "LAMBDA2": 1 / PSU,
        "NU": DENSITY / K / PSU,
        "MU1": 1 / M,
        "MU2": 1 / M,
    },
}
FIELDS = {"thetao": K, "so": PSU, "uo": M / S, "vo": M / S, "zos": M, "vorticity": 1 / S}
STRESS = {name: KG / M / S**2 for name in ("metss", "mntss")}
COEFFICIENTS = {
    "horizontal_diffusivity": M**2 / S,
    "vertical_diffusivity": M**2 / S,
    "horizontal_viscosity": M**2 / S,
    "f_min": 1 / S,
}


def in_new_units(monkeypatch):
    """Replace every constant, wherever it was imported to."""
    for home, units in UNITS.items():
        for name, unit in units.items():
            value = getattr(home, name)
            for label, module in list(sys.modules.items()):
                here = vars(module).get(name) if label.startswith("hybridom") else None
                if isinstance(here, float):  # not the place of the constant in a table
                    assert here == value, f"another {name} in {label}"
                    monkeypatch.setattr(module, name, value / unit)


def test_a_day_in_other_units_is_the_same_day(ocean, config, make_skeleton, monkeypatch):
    state = ocean.state(17)
    tau = [0.1 * ocean.field(seed, 2)[:, 0] for seed in (1, 2)]
    stress = Forcing(dict(zip(STRESS, tau, strict=True)))
    expected = vars(make_skeleton(ocean, config)(state, stress, stress))

    in_new_units(monkeypatch)
    depths = {name: getattr(ocean.grid, name) / M for name in ("depth", "depth_bounds")}
    rescaled = replace(ocean, grid=replace(ocean.grid, **depths))
    coefficients = {name: getattr(config, name) / unit for name, unit in COEFFICIENTS.items()}
    core = make_skeleton(rescaled, config.model_copy(update=coefficients))
    assert core.geometry.area.sum() == ocean.geometry.area.sum() / M**2
    stress = Forcing({name: x / STRESS[name] for name, x in stress.fields.items()})
    found = vars(core(OceanState(**{n: x / FIELDS[n] for n, x in state.items()}), stress, stress))
    for name, x in expected.items():
        assert torch.equal(found[name] * FIELDS[name], x), name

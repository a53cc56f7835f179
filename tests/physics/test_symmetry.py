"""Symmetries of the skeleton's day, and what it must not depend on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from hybridom.grid import Grid
from hybridom.state import Forcing


@pytest.mark.parametrize("name", ["aquaplanet", "channel", "realistic"])
def test_rolling_longitude_commutes_with_the_day(make_ocean, name, config, make_skeleton):
    ocean = make_ocean(name)
    turned = make_ocean("turned", grid=ocean.grid, wet=np.roll(ocean.wet, 7, -1))
    state, forcing = ocean.state(6), ocean.forcing(6)

    def roll(x):
        return torch.roll(x, 7, -1)

    there = vars(
        make_skeleton(turned, config)(state.map(roll), forcing.map(roll), forcing.map(roll))
    )
    for key, x in vars(make_skeleton(ocean, config)(state, forcing, forcing)).items():
        assert (there[key] - roll(x)).abs().max() < 1e-13 * x.abs().max(), key


def test_mirrored_hemispheres_flip_v_f_and_vorticity(make_ocean, ocean, config, make_skeleton):
    grid = ocean.grid
    flipped = Grid(
        -grid.lat[::-1],
        grid.lon,
        -grid.lat_bounds[::-1],
        grid.lon_bounds,
        grid.depth,
        grid.depth_bounds,
        grid.periodic,
    )
    mirror = make_ocean("mirror", grid=flipped, wet=ocean.wet[:, ::-1].copy())
    state, forcing = ocean.state(7), ocean.forcing(7)
    state_m = state.map(lambda x: x.flip(-2))
    state_m = replace(state_m, vo=-state_m.vo)
    wind_m = Forcing({"u10": forcing["u10"].flip(-2), "v10": -forcing["v10"].flip(-2)})
    here = vars(make_skeleton(ocean, config)(state, forcing, forcing))
    there = vars(make_skeleton(mirror, config)(state_m, wind_m, wind_m))
    for name, x in here.items():
        sign = -1 if name == "vorticity" else 1
        assert (there[name].flip(-2) - sign * x).abs().max() < 1e-12 * x.abs().max(), name


def test_batch_members_do_not_see_one_another(make_ocean, make_skeleton):
    ocean = make_ocean("realistic")
    state, forcing = ocean.state(11, batch=3), ocean.forcing(11, batch=3)
    core = make_skeleton(ocean)
    whole = vars(core(state, forcing, forcing))
    for n in range(3):
        alone = vars(core(state.select(0, n), forcing.select(0, n), forcing.select(0, n)))
        for name, x in whole.items():
            assert (x[n] - alone[name]).abs().max() < 1e-13 * x.abs().max(), name


def test_a_day_leaves_nothing_behind(make_ocean, config, make_skeleton):
    """The state alone is what a following day starts from: Adams-Bashforth starts afresh."""
    ocean = make_ocean("realistic")
    core, forcing = make_skeleton(ocean, config), ocean.forcing(1)
    first = vars(core(ocean.state(1), forcing, forcing))
    core(ocean.state(2, batch=3), ocean.forcing(2, batch=3), ocean.forcing(2, batch=3))
    for again in (core, make_skeleton(ocean, config)):
        for name, x in vars(again(ocean.state(1), forcing, forcing)).items():
            assert torch.equal(x, first[name]), name

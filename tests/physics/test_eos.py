"""S-EOS against TEOS-10 (gsw) and hand-computed values."""

from __future__ import annotations

import gsw
import numpy as np
import pytest
import torch

from hybridom.physics.eos import density_anomaly


@pytest.fixture(scope="module")
def sea_water():
    """Temperature, salinity, depth, pressure over the range of the open ocean.

    Below 600 m the ocean is colder than 12 degC; warm water at 4000 m exists nowhere, and the fit
    misses it by 0.7 kg m-3.
    """
    axes = (
        np.linspace(-1, 28, 30),
        np.linspace(33, 37, 17),
        np.array([0, 200, 500, 1000, 2000, 4e3]),
    )
    t, s, z = (a.ravel() for a in np.meshgrid(*axes))
    real = (z < 600) | (t < 12)
    t, s, z = t[real], s[real], z[real]
    return t, s, z, gsw.p_from_z(-z, 30.0)


def test_density_differences_follow_teos10(sea_water):
    t, s, z, p = sea_water
    # the part that depends on pressure alone has no horizontal gradient: compare without it
    expected = gsw.rho(s, t, p) - gsw.rho(35.0, 10.0, p)
    error = density_anomaly(*map(torch.as_tensor, (t, s, z))).numpy() - expected
    # the range of `expected` is 11 kg m-3
    assert np.sqrt(np.mean(error**2)) < 0.03
    assert np.abs(error).max() < 0.14


def test_expansion_and_contraction_follow_teos10(sea_water):
    t, s, z, p = sea_water
    temperature, salinity = (torch.as_tensor(a).requires_grad_() for a in (t, s))
    rho = density_anomaly(temperature, salinity, torch.as_tensor(z))
    by_t, by_s = torch.autograd.grad(rho.sum(), (temperature, salinity))
    teos = gsw.rho(s, t, p)
    assert np.abs(-by_t.numpy() - teos * gsw.alpha(s, t, p)).max() < 0.025  # of 0.03 to 0.38
    assert np.abs(by_s.numpy() / (teos * gsw.beta(s, t, p)) - 1).max() < 0.025


def test_check_values_published_with_the_equation_of_state_of_full_precision():
    """Roquet et al. (2015), doi:10.1016/j.ocemod.2015.04.002, polyTEOS10-bsq: density, expansion
    and contraction at 30 g/kg, 10 degC and 1000 dbar."""
    rho, by_t, by_s = 1027.45140, 0.179646281, 0.765555368
    point = (30.0, 10.0, 1000.0)
    # the reference of this module is the same sea water
    assert gsw.rho(*point) == pytest.approx(rho, abs=1e-4)
    assert rho * gsw.alpha(*point) == pytest.approx(by_t, abs=1e-5)
    assert rho * gsw.beta(*point) == pytest.approx(by_s, abs=2e-5)
    s, t, z = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in point)
    found = torch.autograd.grad(density_anomaly(t, s, z), (t, s))
    # the simplified equation has a first derivative within 1 % there
    assert -float(found[0]) == pytest.approx(by_t, rel=0.01)
    assert float(found[1]) == pytest.approx(by_s, rel=0.01)


@pytest.mark.parametrize(
    ("thetao", "so", "depth", "expected"),
    [
        (10.0, 35.0, 3000.0, 0.0),
        (11.0, 35.0, 0.0, -0.17042528),  # -a0 (1 + lambda1/2)
        (10.0, 36.0, 0.0, 0.765329804),  # b0 (1 - lambda2/2)
        (20.0, 36.0, 1000.0, -1.6627825329),  # -2.3952815 + 0.7568399671 - 0.024341
    ],
)
def test_values_computed_by_hand(thetao, so, depth, expected):
    value = density_anomaly(*(torch.tensor(x, dtype=torch.float64) for x in (thetao, so, depth)))
    assert float(value) == pytest.approx(expected, abs=1e-8)


def test_full_values_keep_the_sign_of_thermal_expansion_in_cold_water():
    # the anomaly T = S = 0 in place of full values gives the expansion of fresh ice water
    t = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    density_anomaly(t, torch.tensor(35.0).double(), torch.tensor(0.0).double()).backward()
    assert float(t.grad) < -0.08
    zero = torch.tensor(0.0, dtype=torch.float64, requires_grad=True)
    density_anomaly(zero, torch.tensor(0.0).double(), torch.tensor(0.0).double()).backward()
    assert float(zero.grad) > 0


def test_gradcheck(make_ocean):
    ocean = make_ocean("basin")
    depth = ocean.geometry.depth
    t, s = (x[:, :2, :2].clone().requires_grad_() for x in (ocean.field(1), ocean.field(2)))
    assert torch.autograd.gradcheck(lambda a, b: density_anomaly(10 + a, 35 + b, depth), (t, s))

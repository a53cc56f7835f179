"""Bulk formulae: the published numbers, an independent implementation, signs and gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from hybridom import bulk
from hybridom.constants import GRAVITY, KELVIN
from hybridom.variables import ATMOSPHERE8, BULK_FLUXES, VARIABLES

TURBULENT = ("msshf", "mslhf", "metss", "mntss", "mer")
READ = ("u10", "v10", "msl", "t2m", "d2m", "strd")
# 2 m of air at rest are this much warmer than a sea in balance with them would have them.
LAPSE = 2.0 * GRAVITY / bulk.HEAT_CAPACITY_AIR

# u10, v10, msl, t2m, d2m, SST (degC) from the trades to a gale, and what aerobulk-python 0.4.2
# makes of them (`noskin`, algorithm `ncar`, 4 iterations): latent, sensible heat, stress x and y.
CASES = (
    ((8.0, 0.0, 101_325.0, 288.15, 283.15, 16.0), (-115.15197, -12.73505, 0.0903, 0.0)),
    ((5.0, -3.0, 101_000.0, 293.15, 291.0, 20.0), (-35.2955, 0.11572, 0.03725, -0.02235)),
    ((3.0, 1.0, 101_325.0, 300.15, 297.15, 29.0), (-90.39247, -11.95738, 0.01612, 0.00537)),
    ((12.0, 6.0, 100_500.0, 275.15, 270.15, 8.0), (-234.26747, -152.69173, 0.30533, 0.15267)),
    ((20.0, -15.0, 98_500.0, 283.15, 281.15, 12.0), (-266.06383, -105.52617, 1.27096, -0.95322)),
    ((6.0, 2.0, 102_000.0, 291.15, 287.15, 17.0), (-45.46757, 4.95389, 0.04755, 0.01585)),
    ((10.0, 5.0, 101_800.0, 290.15, 288.15, 14.0), (38.46046, 27.58156, 0.15726, 0.07863)),
    ((1.0, 0.5, 101_325.0, 299.15, 296.15, 28.5), (-59.93097, -9.22561, 0.00469, 0.00235)),
    ((35.0, 10.0, 95_000.0, 299.15, 298.0, 28.0), (-724.88059, -150.55763, 3.27202, 0.93486)),
    ((7.0, -4.0, 101_325.0, 268.15, 263.15, -1.5), (-59.45824, -50.54726, 0.09038, -0.05164)),
)
# Further corners: a calm, a breath of wind over warm and over cold water, hot dry air.
CORNERS = (
    (0.0, 0.0, 101_325.0, 290.0, 285.0, 20.0),
    (0.2, 0.1, 101_325.0, 299.15, 296.15, 28.5),
    (2.0, 0.0, 101_325.0, 288.15, 287.0, 11.0),
    (0.0, 0.4, 100_000.0, 300.0, 250.0, 5.0),
    (4.0, 1.0, 101_325.0, 310.0, 260.0, 15.0),
)


def fields(cases, dtype=torch.float64):
    """The atmosphere of some cases, each a vector, and their SST."""
    columns = dict(zip(("u10", "v10", "msl", "t2m", "d2m"), zip(*cases, strict=True), strict=False))
    air = {name: torch.tensor(x, dtype=dtype) for name, x in columns.items()}
    air["strd"] = torch.linspace(250.0, 420.0, len(cases), dtype=dtype)
    return air, torch.tensor([case[5] for case in cases], dtype=dtype)


def fluxes(cases, current=(0.0, 0.0), dtype=torch.float64):
    air, sst = fields(cases, dtype)
    return bulk.ncar_fluxes(air, sst, *(torch.full_like(sst, c) for c in current))


def one(u10=0.0, v10=0.0, msl=101_325.0, t2m=290.0, d2m=285.0, sst=20.0):
    """Fluxes of one case as numbers."""
    return {k: float(x) for k, x in fluxes([(u10, v10, msl, t2m, d2m, sst)]).items()}


class Paper:
    """Large and Yeager (2004, 2009) for one place, with numbers and branches, 2 m and 10 m."""

    k, r_dry, r_vapour, g = 0.4, 287.0597, 461.5250, 9.81

    def humidity(self, kelvin, pressure):
        e = 611.21 * math.exp(17.502 * (kelvin - 273.16) / (kelvin - 32.19))
        ratio = self.r_dry / self.r_vapour
        return ratio * e / (pressure - (1 - ratio) * e)

    def drag(self, u):
        if u >= 33:
            return 2.34e-3
        return (2.7 / u + 0.142 + u / 13.09 - 3.14807e-10 * u**6) / 1000

    def psi(self, zeta):
        if zeta >= 0:
            return -5 * zeta, -5 * zeta
        x = (1 - 16 * zeta) ** 0.25
        momentum = math.log((1 + 2 * x + x**2) / 4) + math.log((1 + x**2) / 2)
        momentum += -2 * math.atan(x) + math.pi / 2
        return momentum, 2 * math.log((1 + x**2) / 2)

    def neutral(self, root, stable):
        return (18.0 if stable else 32.7) * root / 1000, 34.6 * root / 1000

    def fluxes(self, du, dv, pressure, t2m, d2m, sst, strd):
        sea, theta = sst + 273.15, t2m + 9.81 / 1000.5 * 2
        q, qs = self.humidity(d2m, pressure), 0.98 * self.humidity(sea, pressure)
        virtual = self.r_vapour / self.r_dry - 1
        wind = max(math.hypot(du, dv), 0.5)
        root = math.sqrt(self.drag(wind))
        cd = root**2
        ch, ce = self.neutral(root, theta * (1 + virtual * q) >= sea * (1 + virtual * qs))
        t10, q10 = theta, q
        for _ in range(4):
            u_star = math.sqrt(cd) * wind
            t_star = ch / math.sqrt(cd) * (t10 - sea)
            q_star = ce / math.sqrt(cd) * (q10 - qs)
            b = self.g * (t_star / t10 + q_star / (q10 + 1 / virtual))
            zeta, zeta2 = (
                math.copysign(min(abs(self.k * b * z / u_star**2), 10), b) for z in (10, 2)
            )
            psi_m, psi_h = self.psi(zeta)
            log = math.log(2 / 10) + psi_h - self.psi(zeta2)[1]
            t10, q10 = theta - t_star / self.k * log, max(q - q_star / self.k * log, 0)
            u_n = max(wind / (1 + root / self.k * (0 - psi_m)), 0.25)
            root = math.sqrt(self.drag(u_n))
            cd = root**2 / (1 + root / self.k * (0 - psi_m)) ** 2
            ch, ce = (
                c * math.sqrt(cd) / root / (1 + c / (self.k * root) * (0 - psi_h))
                for c in self.neutral(root, zeta >= 0)
            )
        carried = pressure / (self.r_dry * t10 * (1 + virtual * q10)) * wind
        return {
            "msnlwrf": 0.98 * (strd - 5.670374419e-8 * sea**4),
            "msshf": carried * 1000.5 * ch * (t10 - sea),
            "mslhf": carried * 2.5e6 * ce * (q10 - qs),
            "metss": carried * cd * du,
            "mntss": carried * cd * dv,
            "mer": carried * ce * (q10 - qs),
        }


def random_cases(count, seed=0):
    """Weather over the whole ocean, calms and storms, stable and unstable."""
    rng = np.random.default_rng(seed)
    sst = rng.uniform(-1.8, 32.0, count)
    t2m = sst + KELVIN + rng.normal(-1.0, 4.0, count)
    wind = rng.gamma(2.0, 4.0, count) * rng.choice([1.0, 0.05, 3.0], count, p=[0.8, 0.1, 0.1])
    wind = np.minimum(wind, 36.0)
    angle = rng.uniform(0, 2 * np.pi, count)
    return np.stack(
        [
            wind * np.cos(angle),
            wind * np.sin(angle),
            rng.normal(101_000.0, 1_500.0, count),
            t2m,
            t2m - rng.exponential(4.0, count),
            sst,
        ],
        axis=1,
    )


def test_they_are_what_the_papers_say_by_an_independent_implementation():
    cases = [*(case for case, _ in CASES), *CORNERS, *random_cases(400)]
    air, _ = fields(cases)
    found = fluxes(cases, current=(0.3, -0.2))
    assert tuple(sorted(found)) == tuple(sorted(BULK_FLUXES))
    for number, case in enumerate(cases):
        u, v, *rest = (float(x) for x in case)
        expected = Paper().fluxes(u - 0.3, v + 0.2, *rest, float(air["strd"][number]))
        for name, value in expected.items():
            assert float(found[name][number]) == pytest.approx(value, rel=1e-10, abs=1e-18), (
                name,
                case,
            )


def test_they_agree_with_aerobulk_where_their_constants_do():
    """Its heats are scaled from its heat capacity and latent heat to those of Large and Yeager; it
    has another saturation pressure (Goff), which matters most where the air is nearly saturated."""
    air, sst = fields([case for case, _ in CASES])
    reference = torch.tensor([numbers for _, numbers in CASES], dtype=torch.float64)
    latent, sensible, x, y = reference.unbind(dim=1)
    found = fluxes([case for case, _ in CASES])
    humidity = bulk.specific_humidity(bulk.saturation_pressure(air["d2m"]), air["msl"])
    sensible = sensible * bulk.HEAT_CAPACITY_AIR / (1005.0 + 1860.0 * humidity)
    latent = latent * bulk.LATENT_HEAT / (2.501e6 - 2370.0 * sst)
    torch.testing.assert_close(found["mslhf"], latent, rtol=0.015, atol=0.0)
    torch.testing.assert_close(found["msshf"], sensible, rtol=0.01, atol=0.1)
    torch.testing.assert_close(found["metss"], x, rtol=0.002, atol=1e-5)
    torch.testing.assert_close(found["mntss"], y, rtol=0.002, atol=1e-5)


def test_aerobulk_itself_gives_the_numbers_above():
    flux = pytest.importorskip(
        "aerobulk.flux", reason="aerobulk-python is not installed (its build needs gfortran)"
    )
    air, sst = fields([case for case, _ in CASES])
    q = bulk.specific_humidity(bulk.saturation_pressure(air["d2m"]), air["msl"])
    given = (sst + KELVIN, air["t2m"], q, air["u10"], air["v10"], air["msl"])
    arrays = (np.asfortranarray(x.numpy().reshape(-1, 1, 1)) for x in given)
    outputs = flux.noskin_np(*arrays, "ncar", 2, 10, 4, False)
    for number, (_, expected) in enumerate(CASES):
        found = [float(np.ravel(x)[number]) for x in outputs[:4]]
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-4), number


def test_neutral_drag_is_the_published_polynomial():
    # Large and Yeager (2009): least near 6 m/s, constant from 33 m/s on
    wind = torch.tensor([5.0, 8.0, 10.0, 20.0, 33.0, 60.0], dtype=torch.float64)
    published = torch.tensor([1.064, 1.091, 1.1756, 1.785, 2.34, 2.34], dtype=torch.float64)
    torch.testing.assert_close(1e3 * bulk.neutral_drag(wind), published, rtol=0, atol=6e-4)
    speeds = torch.linspace(1.0, 40.0, 4001, dtype=torch.float64)
    assert float(speeds[bulk.neutral_drag(speeds).argmin()]) == pytest.approx(5.94, abs=0.02)
    jump = bulk.neutral_drag(torch.tensor([33.0 - 1e-9, 33.0], dtype=torch.float64))
    assert float(jump[1] - jump[0]) == pytest.approx(0, abs=3e-6)


def test_profile_functions_have_their_published_values_and_meet_in_neutral_air():
    zeta = torch.tensor([-1.0, 0.0, 0.5], dtype=torch.float64)
    x = 17**0.25
    momentum = math.log(((1 + x) / 2) ** 2 * (1 + x**2) / 2) - 2 * math.atan(x) + math.pi / 2
    heat = 2 * math.log((1 + math.sqrt(17)) / 2)
    assert bulk.stability_momentum(zeta).tolist() == pytest.approx([momentum, 0, -2.5], abs=1e-12)
    assert bulk.stability_scalar(zeta).tolist() == pytest.approx([heat, 0, -2.5], abs=1e-12)


def test_humidity_over_water_has_its_tabulated_values():
    # WMO (Goff 1957): 611.2, 1227.4, 2339.2 and 4246.0 Pa at 0, 10, 20 and 30 degC
    kelvin = torch.tensor([273.15, 283.15, 293.15, 303.15], dtype=torch.float64)
    expected = torch.tensor([610.8, 1227.4, 2337.3, 4242.9], dtype=torch.float64)
    found = bulk.saturation_pressure(kelvin)
    torch.testing.assert_close(found, expected, rtol=2e-3, atol=0)
    mixing = 0.62198 * found / (101_325.0 - found)
    q = bulk.specific_humidity(found, torch.tensor(101_325.0, dtype=torch.float64))
    torch.testing.assert_close(q, mixing / (1 + mixing), rtol=1e-4, atol=0)


def test_long_wave_radiation_is_the_closed_form():
    strd, sst = torch.tensor([350.0, 0.0, 400.0]), torch.tensor([20.0, 0.0, -KELVIN])
    black = torch.tensor([5.670374419e-8 * 293.15**4, 5.670374419e-8 * 273.15**4, 0.0])
    torch.testing.assert_close(bulk.net_long_wave(strd, sst), 0.98 * (strd - black))
    # what goes up is emitted and reflected: nothing is gained from a sky as warm as the sea
    assert float(bulk.net_long_wave(black[:1], sst[:1])) == pytest.approx(0, abs=1e-4)


def test_without_a_difference_there_is_no_exchange():
    calm = one(t2m=293.15 - LAPSE, d2m=290.0, sst=20.0)
    assert calm["msshf"] == pytest.approx(0, abs=1e-9)
    assert calm["metss"] == calm["mntss"] == 0
    assert calm["mslhf"] < 0 and calm["msnlwrf"] < 0
    # air that is saturated over salt water exchanges no moisture
    q_sea = 0.98 * Paper().humidity(293.15, 101_325.0)
    low, high = 285.0, 293.15
    for _ in range(100):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if Paper().humidity(middle, 101_325.0) < q_sea else (low, middle)
    assert one(u10=8.0, d2m=low, sst=20.0)["mslhf"] == pytest.approx(0, abs=1e-9)


def test_signs_are_those_of_era5():
    winter = one(u10=10.0, v10=-5.0, t2m=283.15, d2m=278.15, sst=18.0)
    assert winter["msshf"] < 0 and winter["mslhf"] < 0 and winter["mer"] < 0
    assert winter["metss"] > 0 > winter["mntss"]
    fog = one(u10=5.0, t2m=293.15, d2m=293.0, sst=10.0)
    assert fog["msshf"] > 0 and fog["mslhf"] > 0 and fog["mer"] > 0
    for case in (winter, fog):
        assert case["mslhf"] == pytest.approx(2.5e6 * case["mer"], rel=1e-12)


def test_unstable_air_takes_more_and_stable_air_less_than_neutral_air():
    drag = []
    for offset in (-6.0, 0.0, 6.0):
        found = one(u10=5.0, t2m=293.15 - LAPSE + offset, d2m=250.0 + offset, sst=20.0)
        drag.append(found["metss"])
    assert drag[0] > drag[1] > drag[2] > 0


def test_stress_points_along_the_wind_relative_to_the_current():
    cases = random_cases(100, seed=1)
    air, _ = fields(cases)
    current = (1.5, -0.7)
    found = fluxes(cases, current)
    du, dv = air["u10"] - current[0], air["v10"] - current[1]
    across = found["metss"] * dv - found["mntss"] * du
    along = found["metss"] * du + found["mntss"] * dv
    assert (along > 0).all() and (across.abs() < 1e-14 * along).all()


def test_only_the_difference_of_wind_and_current_counts():
    cases = random_cases(100, seed=2)
    shifted = cases.copy()
    shifted[:, :2] += (2.0, -1.0)
    a, b = fluxes(cases), fluxes(shifted, current=(2.0, -1.0))
    for name in BULK_FLUXES:
        torch.testing.assert_close(a[name], b[name], rtol=1e-9, atol=1e-12)
    with_current = fluxes(cases, current=(2.0, -1.0))
    for name in TURBULENT:
        assert (with_current[name] != a[name]).any(), name
    assert torch.equal(with_current["msnlwrf"], a["msnlwrf"])


def test_turning_wind_and_current_turns_the_stress_alone():
    cases = random_cases(50, seed=3)
    turned = cases.copy()
    turned[:, 0], turned[:, 1] = -cases[:, 1], cases[:, 0]
    a, b = fluxes(cases), fluxes(turned)
    torch.testing.assert_close(b["metss"], -a["mntss"], rtol=1e-12, atol=0)
    torch.testing.assert_close(b["mntss"], a["metss"], rtol=1e-12, atol=0)
    for name in ("msshf", "mslhf", "mer"):
        torch.testing.assert_close(b[name], a[name], rtol=1e-12, atol=0)


def test_a_warmer_sea_loses_more_heat_of_every_kind():
    air, sst = fields([case for case, _ in CASES])
    for name in ("msnlwrf", "msshf", "mslhf"):
        leaf = sst.clone().requires_grad_()
        zero = torch.zeros_like(sst)
        bulk.ncar_fluxes(air, leaf, zero, zero)[name].sum().backward()
        assert (leaf.grad < 0).all(), name


SMOOTH = {
    "calm, unstable": (0.1, 0.05, 101_325.0, 290.0, 285.0, 20.0),
    "calm, stable": (0.1, 0.05, 101_325.0, 296.0, 285.0, 12.0),
    "unstable": (6.0, -4.0, 101_325.0, 285.0, 280.0, 18.0),
    "stable": (8.0, 5.0, 101_325.0, 295.0, 290.0, 18.0),
    "nearly neutral": (9.0, 1.0, 101_325.0, 293.14, 291.5, 20.0),
    "storm": (38.0, 20.0, 96_000.0, 297.0, 294.0, 27.0),
}


@pytest.mark.parametrize("case", SMOOTH.values(), ids=SMOOTH)
def test_gradients_equal_finite_differences(case):
    air, sst = fields([case])
    values = (*air.values(), sst, torch.full_like(sst, 0.02), torch.full_like(sst, -0.01))
    leaves = [x.detach().requires_grad_() for x in values]

    def run(*values):
        given = bulk.ncar_fluxes(dict(zip(air, values[:6], strict=True)), *values[6:])
        # of order one, so that one tolerance serves all
        return tuple(given[name] * (1e5 if name == "mer" else 1.0) for name in BULK_FLUXES)

    assert torch.autograd.gradcheck(run, leaves, eps=1e-5, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_and_gradients_are_finite_in_every_corner(dtype):
    neutral = (0.0, 0.0, 101_325.0, 293.15 - LAPSE, 293.15, 20.0)
    edges = [
        neutral,
        (8.0, 0.0, *neutral[2:]),
        (0.5, 0.0, *neutral[2:]),
        (33.0, 0.0, *neutral[2:]),
        (0.0, 0.0, 101_325.0, 340.0, 330.0, -4.0),
        (0.0, 0.0, 101_325.0, 170.0, 150.0, 45.0),
        (90.0, -90.0, 85_000.0, 340.0, 330.0, -4.0),
        (90.0, -90.0, 85_000.0, 170.0, 150.0, 45.0),
        (0.0, 0.0, 101_325.0, KELVIN, KELVIN, 0.0),
    ]
    cases = [*edges, *CORNERS, *random_cases(500, seed=4)]
    air, sst = fields(cases, dtype)
    leaves = [*air.values(), sst, torch.zeros_like(sst), torch.zeros_like(sst)]
    leaves = [x.detach().requires_grad_() for x in leaves]
    found = bulk.ncar_fluxes(dict(zip(air, leaves[:6], strict=True)), *leaves[6:])
    for name, x in found.items():
        assert x.dtype == dtype and x.isfinite().all(), name
        for gradient in torch.autograd.grad(x.sum(), leaves, retain_graph=True, allow_unused=True):
            assert gradient is None or gradient.isfinite().all(), name


def test_single_precision_is_close_to_double():
    cases = random_cases(300, seed=5)
    single, double = fluxes(cases, dtype=torch.float32), fluxes(cases)
    for name in BULK_FLUXES:
        scale = float(double[name].abs().max())
        error = (single[name].double() - double[name]).abs().max()
        assert float(error) < 1e-4 * scale, name


def test_they_stay_within_the_plausible_range_of_their_variable():
    cases = random_cases(2000, seed=6)
    cases[:, :2] *= 0.7  # the dry and hot storms of a tropical sea are no weather of the Earth
    for name, x in fluxes(cases).items():
        variable = VARIABLES[name]
        assert variable.valid_min <= float(x.min()) and float(x.max()) <= variable.valid_max


def test_every_leading_axis_is_free_and_the_graph_has_no_break():
    cases = random_cases(24, seed=7)
    air, sst = fields(cases)
    flat = bulk.ncar_fluxes(air, sst, 0 * sst, 0 * sst)
    compiled = torch.compile(bulk.ncar_fluxes, fullgraph=True, backend="eager")
    shaped = {name: x.reshape(2, 3, 4) for name, x in air.items()}
    surface = sst.reshape(2, 3, 4)
    found = compiled(shaped, surface, 0 * surface, 0 * surface)
    for name in BULK_FLUXES:
        assert torch.equal(found[name], flat[name].reshape(2, 3, 4))


def a_day(wet, seed=8):
    """An atmosphere and a sea surface on a grid, as arrays (ny, nx)."""
    cases = random_cases(wet.size, seed).reshape(*wet.shape, 6).astype(np.float32)
    air = {name: cases[..., n].copy() for n, name in enumerate(("u10", "v10", "msl", "t2m", "d2m"))}
    air["strd"] = np.full(wet.shape, 330, np.float32)
    air["ssr"] = air["mtpr"] = np.zeros(wet.shape, np.float32)
    assert set(air) == set(ATMOSPHERE8)
    return air, cases[..., 5], 0.1 * air["v10"], 0.02 * air["u10"]


def test_a_day_of_arrays_is_what_the_tensors_give_and_zero_on_land():
    wet = np.random.default_rng(0).random((7, 9)) < 0.6
    air, sst, uo, vo = a_day(wet)
    with_gaps = [np.where(wet, x, np.nan) for x in (sst, uo, vo)]
    air_gaps = {name: np.where(wet, x, np.nan) for name, x in air.items()}
    found = bulk.bulk_day(air_gaps, *with_gaps, wet)
    tensors = {name: torch.from_numpy(x) for name, x in air.items()}
    expected = bulk.ncar_fluxes(tensors, *(torch.from_numpy(x) for x in (sst, uo, vo)))
    assert tuple(found) == BULK_FLUXES
    for name, x in found.items():
        assert x.dtype == np.float32 and x.shape == wet.shape
        assert not x[~wet].any()
        np.testing.assert_allclose(x[wet], expected[name].numpy()[wet], rtol=1e-5, atol=1e-9)


def test_what_lies_on_land_reaches_no_gradient():
    wet = np.random.default_rng(1).random((5, 6)) < 0.5
    air, *surface = a_day(wet)
    gradients = []
    for fill in (None, 0.0, 1e6, float("nan")):
        given = [air[name] for name in READ] + surface
        if fill is not None:
            given = [np.where(wet, x, np.float32(fill)) for x in given]
        leaves = [torch.tensor(x, requires_grad=True) for x in given]
        atmosphere = dict(zip(READ, leaves, strict=False))
        found = bulk.open_water_fluxes(atmosphere, *leaves[len(READ) :], torch.from_numpy(wet))
        sum(x.square().sum() for x in found.values()).backward()
        gradients.append([x.grad for x in leaves])
        assert all(not g[~torch.from_numpy(wet)].any() for g in gradients[-1])
    for other in gradients[1:]:
        assert all(torch.equal(a, b) for a, b in zip(gradients[0], other, strict=True))

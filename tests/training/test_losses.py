"""The loss against sums written out cell by cell and pair by pair."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hybridom.config import LossConfig, LossWeights
from hybridom.config.training import LOSS_PRESETS
from hybridom.errors import UserError
from hybridom.grid import Grid
from hybridom.normalisation import KINDS, Normaliser
from hybridom.state import OceanState
from hybridom.training.losses import LARGEST_RATIO, MEMORY, SHORTEST, StateLoss, cell_measures
from hybridom.variables import PROGNOSTIC, VARIABLES

DEPTHS = (10.0, 50.0, 200.0)
# Rows at 80 degrees, where neighbours in a row are close; one grid with a seam, one open.
GLOBE = Grid.regular(20.0, (-90.0, 90.0), (-180.0, 180.0), DEPTHS)
REGION = Grid.regular(10.0, (20.0, 60.0), (-60.0, 0.0), DEPTHS)
RNG = np.random.default_rng(0)
STATISTICS = {
    f"{name}_{kind}": torch.as_tensor(
        RNG.uniform(0.1, 2.0, (len(DEPTHS),) if VARIABLES[name].has_depth else ())
    )
    for name in (*PROGNOSTIC, "u10")
    for kind in KINDS
}


def random_wet(grid: Grid) -> np.ndarray:
    wet = np.random.default_rng(1).random(grid.shape) < 0.7
    wet[1:] &= wet[0]
    return wet


WET = random_wet(GLOBE)


def random_state(seed: int, grid: Grid = GLOBE, batch: int = 3) -> OceanState:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, 4 * grid.nz + 1, grid.ny, grid.nx, generator=generator)
    return OceanState.from_channels(x, grid.nz)


def make_loss(grid: Grid = GLOBE, wet: np.ndarray = WET, **options: object) -> StateLoss:
    return StateLoss(grid, wet, Normaliser(STATISTICS, ("u10",)), LossConfig(**options))


def normalised(a: OceanState, b: OceanState, name: str, scale: str) -> np.ndarray:
    """(a - b) / std of one variable in float64, (batch, levels, ny, nx)."""
    x, y = (getattr(state, name).numpy().astype(np.float64) for state in (a, b))
    std = STATISTICS[f"{name}_{scale}_std"].numpy().reshape(-1, 1, 1)
    return (x - y if VARIABLES[name].has_depth else (x - y)[:, None]) / std


def pairs_of(grid: Grid, j: int, i: int) -> list[tuple[int, int, float]]:
    """Row, column and distance of the neighbours in the east and in the north."""
    length = 6371e3 * np.deg2rad(grid.lat[1] - grid.lat[0])
    width = 6371e3 * np.cos(np.deg2rad(grid.lat[j])) * np.deg2rad(grid.lon[1] - grid.lon[0])
    found = []
    if grid.periodic or i + 1 < grid.nx:
        found.append((j, (i + 1) % grid.nx, max(width / length, SHORTEST)))
    if j + 1 < grid.ny:
        found.append((j + 1, i, 1.0))
    return found


def brute_force(
    a: OceanState, b: OceanState, config: LossConfig, grid: Grid, wet: np.ndarray
) -> list[float]:
    """Error of each channel: every cell in turn, and every pair of wet neighbours."""
    power = {"mse": 2, "mae": 1}[config.kind]
    errors: list[float] = []
    for name in PROGNOSTIC:
        d = normalised(a, b, name, config.scale)
        cells, pairs = np.zeros(d.shape[1]), np.zeros(d.shape[1])
        all_cells = all_pairs = 0.0
        for k, j, i in np.ndindex(*d.shape[1:]):
            if not wet[k, j, i]:
                continue
            thick = grid.dz[k] if config.layer_weighting == "thickness" else 1.0
            thick = thick if VARIABLES[name].has_depth else 1.0
            all_cells += grid.area[j, i] * thick
            cells[k] += grid.area[j, i] * thick * np.mean(np.abs(d[:, k, j, i]) ** power)
            for row, column, distance in pairs_of(grid, j, i):
                if not wet[k, row, column]:
                    continue
                weight = thick * (grid.area[j, i] + grid.area[row, column]) / 2
                slope = (d[:, k, row, column] - d[:, k, j, i]) / distance
                all_pairs += weight
                pairs[k] += weight * np.mean(np.abs(slope) ** power)
        errors += list(cells / all_cells + config.gradient * pairs / all_pairs)
    return errors


@pytest.mark.parametrize("grid", [GLOBE, REGION], ids=["globe", "region"])
@pytest.mark.parametrize("gradient", [0.0, 0.3])
@pytest.mark.parametrize("kind", ["mse", "mae"])
@pytest.mark.parametrize("scale", ["anomaly", "tendency"])
@pytest.mark.parametrize("layers", ["thickness", "uniform"])
def test_errors_equal_the_sums_over_wet_cells_and_pairs(
    grid: Grid, gradient: float, kind: str, scale: str, layers: str
) -> None:
    a, b, wet = random_state(1, grid), random_state(2, grid), random_wet(grid)
    options = {"kind": kind, "scale": scale, "layer_weighting": layers, "gradient": gradient}
    found = make_loss(grid, wet, **options)(a, b)
    expected = torch.tensor(brute_force(a, b, LossConfig(**options), grid, wet))
    torch.testing.assert_close(found, expected.float(), rtol=2e-5, atol=0.0)


@pytest.mark.parametrize("preset", LOSS_PRESETS)
def test_presets_minimise_the_weighted_mean_of_the_errors(preset: str) -> None:
    a, b, config = random_state(1), random_state(2), LossConfig(preset=preset)
    loss = make_loss(preset=preset)
    by_variable = {name: 0.0 for name in PROGNOSTIC}
    names = [n for n in PROGNOSTIC for _ in range(GLOBE.nz if VARIABLES[n].has_depth else 1)]
    for name, error in zip(names, brute_force(a, b, config, GLOBE, WET), strict=True):
        by_variable[name] += error
    errors = loss(a, b)
    assert loss.by_variable(errors).tolist() == pytest.approx(list(by_variable.values()), rel=2e-5)
    weights = config.weights.as_dict()
    total = sum(weights[name] * error for name, error in by_variable.items())
    assert loss.total(errors).item() == pytest.approx(total / sum(weights.values()), rel=2e-5)


def test_a_uniform_slope_has_the_same_gradient_in_every_direction() -> None:
    grid = Grid.regular(1.0, (-4.0, 4.0), (0.0, 8.0), DEPTHS)
    wet = np.ones(grid.shape, bool)
    lat, lon = np.meshgrid(grid.lat, grid.lon, indexing="ij")
    found = []
    for slope in (lat, lon, -lon):
        field = torch.as_tensor(slope, dtype=torch.float32).expand(1, 4 * grid.nz + 1, -1, -1)
        state = OceanState.from_channels(field, grid.nz)
        still = state.map(torch.zeros_like)
        by_cells = make_loss(grid, wet, kind="mae", gradient=0.0)(state, still)
        found.append(make_loss(grid, wet, kind="mae", gradient=1.0)(state, still) - by_cells)
    torch.testing.assert_close(found[1], found[2])
    torch.testing.assert_close(found[0], found[1], rtol=0.01, atol=0.0)


@pytest.mark.parametrize("preset", LOSS_PRESETS)
def test_what_lies_on_land_changes_neither_loss_nor_gradient(preset: str) -> None:
    loss = make_loss(preset=preset)
    a, b = random_state(1), random_state(2)

    def value_and_gradient(fill: float) -> tuple[torch.Tensor, torch.Tensor]:
        spoiled = []
        for state in (a, b):
            fields = {}
            for name, x in state.items():
                wet = torch.as_tensor(WET if VARIABLES[name].has_depth else WET[0])
                fields[name] = torch.where(wet, x, fill)
            spoiled.append(OceanState(**fields))
        first = spoiled[0].map(lambda x: x.requires_grad_())
        total = loss.total(loss(first, spoiled[1]))
        total.backward()
        return total.detach(), torch.cat([x.grad.flatten() for _, x in first.items()])

    clean = value_and_gradient(0.0)
    assert clean[1].isfinite().all() and clean[1].abs().sum() > 0
    for fill in (float("nan"), 1e6):
        for before, after in zip(clean, value_and_gradient(fill), strict=True):
            assert torch.equal(before, after)


@pytest.mark.parametrize("kind", ["mse", "mae"])
def test_a_perfect_forecast_has_no_loss_and_a_finite_gradient(kind: str) -> None:
    truth = random_state(1)
    forecast = truth.map(lambda x: x.clone().requires_grad_())
    loss = make_loss(kind=kind, gradient=1.0)
    total = loss.total(loss(forecast, truth))
    total.backward()
    assert total.item() == 0.0
    assert all(torch.equal(x.grad, torch.zeros_like(x)) for _, x in forecast.items())


def test_an_ocean_of_single_cells_has_no_gradient_to_miss() -> None:
    wet = np.zeros(GLOBE.shape, bool)
    wet[:, 4, 3] = True
    a, b = random_state(1), random_state(2)
    plain, more = (make_loss(wet=wet, gradient=x)(a, b) for x in (0.0, 5.0))
    assert plain.isfinite().all() and torch.equal(plain, more)


def test_cells_count_by_area_and_thickness() -> None:
    volume = cell_measures(GLOBE, np.ones_like(WET), "thickness")["volume"]
    assert volume[2, 0, 0] / volume[0, 0, 0] == pytest.approx(GLOBE.dz[2] / GLOBE.dz[0])
    assert volume[0, 0, 0] / volume[0, 2, 0] == pytest.approx(GLOBE.area[0, 0] / GLOBE.area[2, 0])


def test_a_loss_without_any_weight_is_refused() -> None:
    with pytest.raises(UserError, match=r"training\.loss\.weights"):
        make_loss(weights=LossWeights(thetao=0, so=0, uo=0, vo=0, zos=0))


# dynamic weights


def channel_shares(loss: StateLoss) -> np.ndarray:
    """Each channel's share of its variable, and that times the variable's weight."""
    measures = cell_measures(GLOBE, WET, "uniform")
    parts = [
        measures["volume" if VARIABLES[name].has_depth else "surface"].sum((1, 2))
        for name in PROGNOSTIC
    ]
    return np.concatenate([part / part.sum() for part in parts])


def test_dynamic_weights_follow_the_inverse_of_the_mean_errors() -> None:
    loss = make_loss(preset="balanced")
    shares = channel_shares(loss)
    rng = np.random.default_rng(3)
    expected = np.ones(len(shares))
    for _ in range(40):
        mean = rng.uniform(0.2, 2.0, len(shares))
        loss.update(torch.as_tensor(mean * shares).float())
        target = 1.0 / mean
        target /= np.sum(target * shares / len(PROGNOSTIC))
        expected = (MEMORY * expected + target) / (MEMORY + 1)
    np.testing.assert_allclose(loss.state()["dynamic_weights"], expected, rtol=1e-5)
    errors = rng.uniform(0.2, 2.0, len(shares)) * shares
    total = np.sum(expected * errors) / len(PROGNOSTIC)
    assert loss.total(torch.as_tensor(errors).float()).item() == pytest.approx(total, rel=1e-5)


def test_in_the_end_every_variable_has_the_same_part_of_the_total() -> None:
    loss = make_loss(preset="balanced")
    shares = torch.as_tensor(channel_shares(loss)).float()
    mean = torch.linspace(0.1, 1.0, len(shares))
    for _ in range(400):
        loss.update(mean * shares)
    weighed = loss.by_variable(mean * shares * loss.state()["dynamic_weights"])
    torch.testing.assert_close(weighed, weighed[:1].expand(5), rtol=1e-4, atol=0.0)


def test_dynamic_weights_do_not_differ_by_more_than_a_factor() -> None:
    loss = make_loss(preset="balanced")
    shares = torch.as_tensor(channel_shares(loss)).float()
    mean = torch.ones(len(shares))
    mean[0], mean[1] = 0.0, 1e-3
    for _ in range(1000):
        loss.update(mean * shares)
    found = loss.state()["dynamic_weights"]
    assert (found[:2] / found[2]).tolist() == pytest.approx([LARGEST_RATIO] * 2, rel=1e-4)
    importance = shares / len(PROGNOSTIC)
    assert (found * importance).sum().item() == pytest.approx(1.0, rel=1e-5)


def test_a_variable_without_weight_does_not_set_the_range_of_the_others() -> None:
    weights = LossWeights(thetao=1, so=0, uo=1, vo=1, zos=1)
    loss = make_loss(preset="balanced", weights=weights)
    shares = torch.as_tensor(channel_shares(loss)).float()
    mean = torch.linspace(1e-3, 5e-3, len(shares))
    mean[GLOBE.nz : 2 * GLOBE.nz] = 1e6
    loss.update(mean * shares)
    target = (MEMORY + 1) * loss.state()["dynamic_weights"] - MEMORY
    found = torch.cat([(target * mean)[: GLOBE.nz], (target * mean)[2 * GLOBE.nz :]])
    torch.testing.assert_close(found, found[:1].expand_as(found), rtol=1e-3, atol=0.0)


def test_a_level_without_ocean_does_not_spoil_the_dynamic_weights() -> None:
    wet = WET.copy()
    wet[2] = False
    loss = make_loss(wet=wet, preset="balanced")
    errors = loss(random_state(1), random_state(2))
    loss.update(errors)
    assert loss.state()["dynamic_weights"].isfinite().all()
    assert loss.total(errors).isfinite()


def test_dynamic_weights_are_restored() -> None:
    one, other = make_loss(preset="balanced"), make_loss(preset="balanced")
    errors = one(random_state(1), random_state(2))
    one.update(errors)
    kept = one.state()
    one.update(errors * torch.arange(1, len(errors) + 1))
    other.restore(kept)
    other.update(errors * torch.arange(1, len(errors) + 1))
    assert torch.equal(one.state()["dynamic_weights"], other.state()["dynamic_weights"])
    assert not torch.equal(kept["dynamic_weights"], one.state()["dynamic_weights"])


def test_without_dynamic_nothing_moves_and_nothing_is_kept() -> None:
    loss = make_loss()
    errors = loss(random_state(1), random_state(2))
    before = loss.total(errors)
    loss.update(errors)
    loss.restore(loss.state())
    assert loss.state() == {} and torch.equal(loss.total(errors), before)
    assert not list(loss.state_dict())

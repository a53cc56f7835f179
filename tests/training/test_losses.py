"""The loss against a sum written out cell by cell."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hybridom.config import LossConfig, LossWeights
from hybridom.errors import UserError
from hybridom.grid import Grid
from hybridom.normalisation import KINDS, Normaliser
from hybridom.state import OceanState
from hybridom.training.losses import StateLoss, cell_weights
from hybridom.variables import PROGNOSTIC, VARIABLES

GRID = Grid.regular(20.0, (-60.0, 40.0), (-180.0, 180.0), (10.0, 50.0, 200.0))
RNG = np.random.default_rng(0)
WET = RNG.random(GRID.shape) < 0.7
WET[1:] &= WET[0]
STATISTICS = {
    f"{name}_{kind}": torch.as_tensor(
        RNG.uniform(0.1, 2.0, (GRID.nz,) if VARIABLES[name].has_depth else ())
    )
    for name in (*PROGNOSTIC, "u10")
    for kind in KINDS
}


def random_state(seed: int, batch: int = 3) -> OceanState:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, 4 * GRID.nz + 1, GRID.ny, GRID.nx, generator=generator)
    return OceanState.from_channels(x, GRID.nz)


def make_loss(**options: object) -> StateLoss:
    return StateLoss(GRID, WET, Normaliser(STATISTICS, ("u10",)), LossConfig(**options))


def brute_force(a: OceanState, b: OceanState, kind: str, scale: str, layers: str) -> list[float]:
    """Every cell in turn."""
    errors = []
    for name, x in a.items():
        y = getattr(b, name)
        deep = VARIABLES[name].has_depth
        total = share = 0.0
        for k in range(GRID.nz if deep else 1):
            std = STATISTICS[f"{name}_{scale}_std"].numpy().reshape(-1)[k]
            thick = GRID.dz[k] if deep and layers == "thickness" else 1.0
            for j in range(GRID.ny):
                for i in range(GRID.nx):
                    if not WET[k, j, i]:
                        continue
                    weight = GRID.area[j, i] * thick
                    for n in range(len(x)):
                        d = float(
                            x[n, k, j, i] - y[n, k, j, i] if deep else x[n, j, i] - y[n, j, i]
                        )
                        total += weight * (abs(d / std) ** (2 if kind == "mse" else 1))
                    share += weight * len(x)
        errors.append(total / share)
    return errors


@pytest.mark.parametrize("kind", ["mse", "mae"])
@pytest.mark.parametrize("scale", ["anomaly", "tendency"])
@pytest.mark.parametrize("layers", ["thickness", "uniform"])
def test_errors_equal_the_sum_over_wet_cells(kind: str, scale: str, layers: str) -> None:
    a, b = random_state(1), random_state(2)
    found = make_loss(kind=kind, scale=scale, layer_weighting=layers)(a, b)
    expected = torch.tensor(brute_force(a, b, kind, scale, layers), dtype=torch.float32)
    torch.testing.assert_close(found, expected, rtol=2e-5, atol=0.0)


def test_the_total_is_the_weighted_mean_of_the_variables() -> None:
    weights = {"thetao": 1.0, "so": 0.0, "uo": 6.0, "vo": 2.0, "zos": 3.0}
    loss = make_loss(weights=LossWeights(**weights))
    errors = torch.tensor([1.0, 100.0, 2.0, 3.0, 4.0])
    assert loss.total(errors).item() == pytest.approx((1 + 12 + 6 + 12) / 12)


def test_what_lies_on_land_changes_neither_loss_nor_gradient() -> None:
    loss = make_loss()
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

    for fill in (float("nan"), 1e6):
        for clean, spoiled in zip(value_and_gradient(0.0), value_and_gradient(fill), strict=True):
            assert torch.equal(clean, spoiled)


def test_cells_count_by_area_and_thickness() -> None:
    share = cell_weights(GRID, np.ones_like(WET), "thickness")["thetao"]
    assert share.sum().item() == pytest.approx(1.0)
    assert (share[2, 0, 0] / share[0, 0, 0]).item() == pytest.approx(GRID.dz[2] / GRID.dz[0])
    assert (share[0, 0, 0] / share[0, 2, 0]).item() == pytest.approx(
        GRID.area[0, 0] / GRID.area[2, 0]
    )


def test_a_loss_without_any_weight_is_refused() -> None:
    with pytest.raises(UserError, match=r"training\.loss\.weights"):
        make_loss(weights=LossWeights(thetao=0, so=0, uo=0, vo=0, zos=0))

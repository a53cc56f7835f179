"""Rollouts: the loss over a window, and validation against the stage `evaluate`."""

from __future__ import annotations

from copy import deepcopy
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from hybridom.config import Period
from hybridom.data.datasets import Batch, DayReader, WindowDataset, collate
from hybridom.evaluation.fields import field_sums, score_table
from hybridom.evaluation.regions import region_weights
from hybridom.normalisation import read_statistics
from hybridom.stepper import HybridOM
from hybridom.training.distributed import Ranks
from hybridom.training.losses import StateLoss
from hybridom.training.rollout import Rollout, conditions, score_names, validate
from hybridom.variables import PROGNOSTIC, VARIABLES

ALONE = Ranks(0, 1, torch.device("cpu"))
DAYS = 4
METRICS = {"rmse": "rmse", "acc": "acc_centred", "bias": "bias"}


@pytest.fixture(scope="module")
def rolled(world) -> SimpleNamespace:
    """A model with a restless network, its loss, and three windows of the validation period."""
    config, layout = world.config(experiment="rollout")
    torch.manual_seed(2)
    statistics = read_statistics(layout.statistics_file, config.forcing_names)
    names, networks = config.forcing_names, config.networks
    model = HybridOM(world.grid, world.wet, statistics, names, config.skeleton, networks)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.05 * torch.randn_like(weight)
    loss = StateLoss(world.grid, world.wet, model.normaliser, config.training.loss)
    period = config.periods.validation
    reader = DayReader(layout, world.grid, world.wet, names, "none", period)
    windows = WindowDataset(reader, Period(start=period.start, end=period.end), DAYS, 3)
    chosen = [windows[i] for i in range(3)]
    for window in chosen:
        for name, x in window["climatology"].items():
            x += 0.1 * torch.randn_like(x) * (1.0 if name == "thetao" else 0.1)
    return SimpleNamespace(model=model, loss=loss, windows=chosen, world=world)


def one_by_one(windows: list) -> list[Batch]:
    return [collate([window]) for window in windows]


@torch.no_grad()
def fields_of(model: HybridOM, batch: Batch, lead: int) -> dict[str, tuple[np.ndarray, ...]]:
    """Forecast, first day, climatology and truth of one lead as the stage `evaluate` reads them."""
    forecast = list(model.eval().unroll(batch.state.select(1, 0), conditions(batch)))[lead - 1]
    found = {}
    for name in PROGNOSTIC:
        days = getattr(batch.state, name)[0]
        normal = getattr(batch.climatology, name)[0, lead]
        given = (getattr(forecast, name)[0], days[0], normal, days[lead])
        fields = [x.numpy().astype(np.float64) for x in given]
        if not VARIABLES[name].has_depth:
            fields = [x[None] for x in fields]
        found[name] = tuple(fields)
    return found


def evaluated(rolled: SimpleNamespace, leads: tuple[int, ...]) -> dict[str, float]:
    """Scores of the windows through the functions of the stage `evaluate`, averaged over starts."""
    grid, wet = rolled.world.grid, rolled.world.wet
    regions = region_weights(grid, wet, {})
    tables = []
    for batch in one_by_one(rolled.windows):
        for lead in leads:
            for name, (*systems, normal, truth) in fields_of(rolled.model, batch, lead).items():
                sums = field_sums(systems, truth, normal, regions)[:, None]
                table = score_table(name, sums, ("model", "persistence"), regions, grid)
                tables.append(table[table["depth"].isna()].assign(lead=lead))
    mean = pd.concat(tables).groupby(["system", "metric", "variable", "lead"])["value"].mean()
    found = {
        f"{score}_{v}_{lead}": mean["model", metric, v, lead]
        for score, metric in METRICS.items()
        for v in PROGNOSTIC
        for lead in leads
    }
    return found | {
        f"persistence_{v}_{lead}": mean["persistence", "rmse", v, lead]
        for v in PROGNOSTIC
        for lead in leads
    }


@pytest.mark.parametrize("leads", [(1, 3), (4,)])
def test_scores_are_those_of_the_stage_evaluate(rolled, leads: tuple[int, ...]) -> None:
    found = validate(rolled.model, one_by_one(rolled.windows), leads, ALONE)
    expected = evaluated(rolled, leads)
    assert tuple(found) == score_names(leads)
    skill = found.pop("skill")
    assert found == pytest.approx(expected, rel=1e-12, abs=1e-15)
    ratios = [
        expected[f"rmse_{v}_{leads[-1]}"] / expected[f"persistence_{v}_{leads[-1]}"]
        for v in PROGNOSTIC
    ]
    assert skill == pytest.approx(np.mean(ratios), rel=1e-12)


def test_batches_of_windows_score_as_single_ones(rolled) -> None:
    single = validate(rolled.model, one_by_one(rolled.windows), (2,), ALONE)
    together = validate(rolled.model, [collate(rolled.windows)], (2,), ALONE)
    assert together == pytest.approx(single, rel=1e-5)


class Together(Ranks):
    """A process whose sums meet those that other processes made before."""

    others: torch.Tensor | None = None

    def add(self, values: torch.Tensor) -> torch.Tensor:
        total = values if Together.others is None else values + Together.others
        Together.others = total
        return total


def test_ranks_with_uneven_shares_score_as_one_process(rolled) -> None:
    expected = validate(rolled.model, one_by_one(rolled.windows), (1, 2), ALONE)
    Together.others = None
    for share in (rolled.windows[:2], [], rolled.windows[2:]):
        found = validate(
            rolled.model, one_by_one(share), (1, 2), Together(0, 3, torch.device("cpu"))
        )
    assert found == pytest.approx(expected, rel=1e-12)


def test_an_undefined_correlation_is_left_out_and_a_bad_forecast_is_not(rolled) -> None:
    windows = one_by_one(deepcopy(rolled.windows))
    flat = one_by_one(deepcopy(rolled.windows))[0]
    flat.state.zos[:] = flat.climatology.zos
    found = validate(rolled.model, [flat, *windows[1:]], (1,), ALONE)
    rest = validate(rolled.model, windows[1:], (1,), ALONE)
    assert found["acc_zos_1"] == pytest.approx(rest["acc_zos_1"], rel=1e-12)
    assert found["rmse_zos_1"] != pytest.approx(rest["rmse_zos_1"], rel=1e-3)

    windows[0].forcing["u10"][:] = torch.nan
    found = validate(rolled.model, windows, (1,), ALONE)
    assert np.isnan(found["rmse_thetao_1"]) and np.isnan(found["skill"])


def test_a_window_that_is_too_short_does_not_pass_as_scored(rolled) -> None:
    found = validate(rolled.model, one_by_one(rolled.windows), (1, DAYS + 1), ALONE)
    assert np.isfinite(found["rmse_so_1"])
    assert np.isnan(found[f"rmse_so_{DAYS + 1}"]) and np.isnan(found["skill"])


@pytest.mark.parametrize("training", [True, False])
def test_validation_runs_in_evaluation_mode_and_leaves_the_mode(rolled, training: bool) -> None:
    model = rolled.model.train(training)
    modes = []
    handle = model.state.register_forward_hook(
        lambda part, given, found: modes.append((part.training, found.requires_grad))
    )
    state = torch.get_rng_state()
    validate(model, one_by_one(rolled.windows[:1]), (2,), ALONE)
    handle.remove()
    assert modes == [(False, False)] * 2 and model.training is training
    assert torch.equal(torch.get_rng_state(), state)


def test_the_rollout_is_the_mean_loss_over_the_days(rolled) -> None:
    model, loss = rolled.model.eval(), rolled.loss
    batch = collate(rolled.windows)
    errors = Rollout(model, loss)(batch)
    days = conditions(batch)
    state, expected = batch.state.select(1, 0), []
    for k in range(DAYS):
        state = model.step(state, days[k], days[k + 1])
        expected.append(loss(state, batch.state.select(1, k + 1)))
    torch.testing.assert_close(errors, torch.stack(expected).mean(dim=0), rtol=0.0, atol=0.0)
    assert errors.shape == (4 * rolled.world.grid.nz + 1,)
    loss.total(errors).backward()
    gradients = [p.grad for p in model.parameters()]
    model.zero_grad(set_to_none=True)
    assert all(g is not None and g.isfinite().all() for g in gradients)

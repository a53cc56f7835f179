"""The model under each forcing set: given fluxes, and fluxes made over its own sea surface."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from hybridom import checkpoint
from hybridom.bench.step import ATMOSPHERE, build_case, random_forcing
from hybridom.bulk import ncar_fluxes
from hybridom.conditions import Conditions
from hybridom.config import NetworkConfig, NetworksConfig, SkeletonConfig, load
from hybridom.grid import Grid
from hybridom.normalisation import KINDS
from hybridom.state import Forcing, OceanState
from hybridom.stepper import HybridOM
from hybridom.variables import (
    BULK_FLUXES,
    FLUXES8,
    FORCING_SETS,
    NETWORK_FORCING,
    PROGNOSTIC,
    VARIABLES,
)

CONFIG = Path(__file__).parents[1] / "config" / "test.yaml"
MEAN = {"thetao": 15.0, "so": 35.0, "uo": 0.0, "vo": 0.0, "zos": 0.0}
SPREAD = {"thetao": 2.0, "so": 0.1, "uo": 0.2, "vo": 0.2, "zos": 0.1}
SMALL = NetworkConfig(embed=8, latent=16, spatial_layers=2, blocks=2, heads=2, window=4)
BOTH = NetworksConfig(ilap=SMALL, state=SMALL)
SKELETON = SkeletonConfig(substeps=2)

each_set = pytest.mark.parametrize("name", FORCING_SETS)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def make_model(name: str, networks: NetworksConfig = BOTH) -> HybridOM:
    """A small ocean with land, under a forcing set."""
    grid = Grid.regular(20.0, (-60.0, 60.0), (-180.0, 180.0), (10.0, 50.0, 200.0))
    wet = np.ones(grid.shape, dtype=bool)
    wet[:, 2:4, 3:6] = False
    wet[2, :, 10:12] = False
    statistics = {}
    for variable in (*PROGNOSTIC, *FORCING_SETS[name]):
        size = (grid.nz,) if VARIABLES[variable].has_depth else ()
        spread = SPREAD[variable] if variable in SPREAD else ATMOSPHERE[variable][1]
        for kind in KINDS:
            value = spread * (0.1 if kind == "tendency_std" else 1.0)
            statistics[f"{variable}_{kind}"] = torch.full(size, value, dtype=torch.float64)
    return HybridOM(grid, wet, statistics, FORCING_SETS[name], SKELETON, networks)


def random_state(model: HybridOM, batch: int = 2) -> OceanState:
    shape = (batch, *model.grid.shape)
    fields = {n: MEAN[n] + SPREAD[n] * torch.randn(shape) for n in PROGNOSTIC}
    fields["zos"] = fields["zos"][:, 0]
    return model._clean(OceanState(**fields))


def random_conditions(model: HybridOM, days: int, batch: int = 2) -> list[Conditions]:
    def forcing() -> Forcing:
        return random_forcing(batch, model.grid, model.forcing_names, torch.device("cpu"))

    return [Conditions(forcing(), random_state(model, batch), forcing()) for _ in range(days + 1)]


def wake(model: HybridOM) -> None:
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.05 * torch.randn_like(weight)


def assert_same(a: OceanState, b: OceanState) -> None:
    for name, x in a.items():
        assert torch.equal(x, getattr(b, name)), name


def fluxes_over(model: HybridOM, state: OceanState, day: Conditions) -> Forcing:
    """Forcing of a day with the fluxes over the sea surface of `state`, zero on land."""
    top = (x[..., 0, :, :] for x in (state.thetao, state.uo, state.vo))
    made = ncar_fluxes(day.forcing.fields, *top)
    made = {name: torch.where(model.wet[0], x, 0.0) for name, x in made.items()}
    return Forcing({**day.forcing.fields, **made})


def seen_by_ilap(model: HybridOM) -> list[torch.Tensor]:
    """Collects the forcing channels of every call of ILAP, which come last among its inputs."""
    seen: list[torch.Tensor] = []
    channels = 2 * len(model.normaliser.forcing_names)
    model.ilap.register_forward_pre_hook(lambda _, x: seen.append(x[0][:, -channels:]))
    return seen


def test_networks_see_what_the_stores_hold_but_eight_fluxes_of_bulk8() -> None:
    assert NETWORK_FORCING.keys() == FORCING_SETS.keys()
    for name, seen in NETWORK_FORCING.items():
        assert set(seen) <= set(FORCING_SETS[name])
        assert (seen == FORCING_SETS[name]) == (name != "bulk8")
    # the same quantities in the same order as the given fluxes
    kinds = [[VARIABLES[x].standard_name for x in NETWORK_FORCING[s]] for s in ("fluxes8", "bulk8")]
    assert kinds[0] == kinds[1] and NETWORK_FORCING["fluxes8"] == FLUXES8


@each_set
def test_every_set_steps_and_trains(name: str) -> None:
    model = make_model(name)
    wake(model)
    seen = seen_by_ilap(model)
    state, days = random_state(model), random_conditions(model, 2)
    later = list(model.unroll(state, days))
    assert [x.shape[1] for x in seen] == [2 * len(NETWORK_FORCING[name])] * 2
    for day in later:
        for variable, x in day.items():
            assert x.shape == getattr(state, variable).shape and x.isfinite().all()
    later[-1].channels().square().mean().backward()
    for label, weight in model.named_parameters():
        assert weight.grad.isfinite().all() and weight.grad.any(), label


@each_set
def test_an_untrained_model_is_the_skeleton_bit_for_bit(name: str) -> None:
    model = make_model(name)
    state, (now, then) = random_state(model), random_conditions(model, 1)
    pair = [now.forcing, then.forcing]
    if name == "bulk8":
        pair = [fluxes_over(model, state, day) for day in (now, then)]
    day = model.skeleton(state, *pair)
    expected = OceanState(day.thetao, day.so, state.uo, state.vo, day.zos)
    assert_same(model.step(state, now, then), model._clean(expected))


def test_given_stress_drives_the_skeleton() -> None:
    model = make_model("fluxes8").eval()
    wake(model)
    state, (now, then) = random_state(model), random_conditions(model, 1)
    vorticity = model.skeleton(state, now.forcing, then.forcing).vorticity
    windless = Forcing({**now.forcing.fields, "metss": 0 * now.forcing["metss"]})
    assert not torch.equal(model.skeleton(state, windless, then.forcing).vorticity, vorticity)


@each_set
def test_networks_see_the_anomalies_of_both_days_in_order(name: str) -> None:
    model = make_model(name).eval()
    seen = seen_by_ilap(model)
    state, days = random_state(model), random_conditions(model, 2)
    later = list(model.unroll(state, days))
    for number, start in enumerate((state, later[0])):
        channels = []
        for day in days[number : number + 2]:
            forcing = fluxes_over(model, start, day) if name == "bulk8" else day.forcing
            channels += [
                (forcing[n] - day.forcing_climatology[n]) / ATMOSPHERE[n][1]
                for n in NETWORK_FORCING[name]
            ]
        expected = torch.where(model.wet[0], torch.stack(channels, dim=1), 0.0)
        torch.testing.assert_close(seen[number], expected, rtol=1e-5, atol=1e-5)


def test_the_fluxes_in_the_stores_of_bulk8_are_replaced() -> None:
    model = make_model("bulk8").eval()
    wake(model)
    state, days = random_state(model), random_conditions(model, 2)
    plain = list(model.unroll(state, days))

    def changed(fill: float | None) -> list[Conditions]:
        others = {} if fill is None else dict.fromkeys(BULK_FLUXES, fill)
        return [
            replace(
                day,
                forcing=Forcing(
                    {
                        n: torch.full_like(x, others[n]) if n in others else x
                        for n, x in day.forcing.fields.items()
                        if n in others or n not in BULK_FLUXES
                    }
                ),
            )
            for day in days
        ]

    for fill in (0.0, float("nan"), None):
        for a, b in zip(plain, model.unroll(state, changed(fill)), strict=True):
            assert_same(a, b)


def test_nothing_on_land_reaches_the_ocean_under_bulk8() -> None:
    model = make_model("bulk8").eval()
    wake(model)
    state, days = random_state(model), random_conditions(model, 2)
    results = []
    for fill in (None, 1e6, float("nan")):
        given, first = days, state
        if fill is not None:
            given = [
                replace(d, forcing=d.forcing.map(lambda x, f=fill: torch.where(model.wet[0], x, f)))
                for d in days
            ]
            first = replace(state, thetao=torch.where(model.wet, state.thetao, fill))
        model.zero_grad()
        last = list(model.unroll(first, given))[-1]
        last.channels().square().mean().backward()
        results.append([last.channels().detach(), *(p.grad.clone() for p in model.parameters())])
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_a_warmer_sea_loses_more_heat_within_the_step() -> None:
    model = make_model("bulk8").eval()
    seen = seen_by_ilap(model)
    state, (now, then) = random_state(model), random_conditions(model, 1)
    leaf = state.thetao.clone().requires_grad_()
    model.step(replace(state, thetao=leaf), now, then)
    names = NETWORK_FORCING["bulk8"]
    for day in (0, 1):
        for name in ("msnlwrf", "msshf", "mslhf"):
            heat = seen[0][:, day * len(names) + names.index(name)]
            (gradient,) = torch.autograd.grad(heat.sum(), leaf, retain_graph=True)
            surface = gradient[:, 0]
            # not in every cell: under very stable air a warmer sea lets more heat come down
            assert (surface[:, model.wet[0]] < 0).float().mean() > 0.95, name
            assert surface[:, model.wet[0]].sum() < 0 and not surface[:, ~model.wet[0]].any()
            assert not gradient[:, 1:].any()


def test_currents_reach_the_stress_of_bulk8_and_not_a_given_one() -> None:
    for name, reached in (("bulk8", True), ("fluxes8", False), ("surface4", False)):
        model = make_model(name, NetworksConfig(ilap=SMALL, state=SMALL)).eval()
        seen = seen_by_ilap(model)
        state, (now, then) = random_state(model), random_conditions(model, 1)
        model.step(state, now, then)
        model.step(replace(state, uo=state.uo + 0.5), now, then)
        assert torch.equal(seen[0], seen[1]) != reached, name


@each_set
def test_a_checkpoint_keeps_the_forcing_set(name: str, tmp_path: Path) -> None:
    model = make_model(name).eval()
    wake(model)
    config = {
        "skeleton": SKELETON.model_dump(mode="json"),
        "networks": BOTH.model_dump(mode="json"),
    }
    checkpoint.save(tmp_path / "checkpoint.pt", checkpoint.pack(model, config))
    loaded = checkpoint.load_model(tmp_path / "checkpoint.pt").model
    assert loaded.forcing_names == FORCING_SETS[name]
    assert loaded.normaliser.forcing_names == NETWORK_FORCING[name]
    state, days = random_state(model), random_conditions(model, 2)
    for a, b in zip(model.unroll(state, days), loaded.unroll(state, days), strict=True):
        assert_same(a, b)


@each_set
def test_the_benchmark_runs_under_every_set(name: str) -> None:
    config = load(CONFIG, ["training.batch=1"]).model_copy(update={"forcing": name})
    case = build_case(config, 1, torch.device("cpu"))
    (later,) = case.model.unroll(case.state, case.conditions)
    assert all(x.isfinite().all() for _, x in later.items())
    case.forward_backward()
    assert set(case.conditions[0].forcing.fields) == set(FORCING_SETS[name])


@each_set
def test_every_set_follows_the_model_to_another_device(name: str) -> None:
    """Arithmetic on the meta device refuses tensors that stayed behind on the CPU."""
    model = make_model(name)
    state, days = random_state(model).to("meta"), random_conditions(model, 1)
    (later,) = model.to("meta").unroll(state, [day.to("meta") for day in days])
    assert {x.device.type for _, x in later.items()} == {"meta"}

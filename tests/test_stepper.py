"""The seam between skeleton and networks: what holds before, during and after training."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from hybridom.conditions import Conditions, static_features
from hybridom.config import NetworkConfig, NetworksConfig, SkeletonConfig
from hybridom.errors import UserError
from hybridom.grid import Grid
from hybridom.normalisation import KINDS
from hybridom.state import Forcing, OceanState
from hybridom.stepper import HybridOM
from hybridom.variables import PROGNOSTIC, VARIABLES

NAMES = ("u10", "v10", "t2m")
MEAN = {"thetao": 15.0, "so": 35.0, "uo": 0.0, "vo": 0.0, "zos": 0.0}
SPREAD = {"thetao": 0.5, "so": 0.1, "uo": 0.05, "vo": 0.05, "zos": 0.1}
SMALL = NetworkConfig(
    embed=8, latent=16, spatial_layers=2, blocks=2, heads=2, window=4, mlp_ratio=2, drop_path=0.2
)
NONE = NetworkConfig(name="none")
BOTH = NetworksConfig(ilap=SMALL, state=SMALL)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def make_model(networks: NetworksConfig = BOTH, **skeleton: object) -> HybridOM:
    grid = Grid.regular(20.0, (-60.0, 60.0), (-180.0, 180.0), (10.0, 50.0, 200.0))
    wet = np.ones(grid.shape, dtype=bool)
    wet[:, 2:4, 3:6] = False
    wet[2, :, 10:12] = False
    statistics = {}
    for name in (*PROGNOSTIC, *NAMES):
        size = (grid.nz,) if VARIABLES[name].has_depth else ()
        for kind in KINDS:
            value = SPREAD.get(name, 3.0) * (0.1 if kind == "tendency_std" else 1.0)
            statistics[f"{name}_{kind}"] = torch.full(size, value, dtype=torch.float64)
    config = SkeletonConfig(substeps=2, **skeleton)
    return HybridOM(grid, wet, statistics, NAMES, config, networks)


def random_state(model: HybridOM, batch: int = 2) -> OceanState:
    shape = (batch, *model.grid.shape)
    fields = {n: MEAN[n] + SPREAD[n] * torch.randn(shape) for n in PROGNOSTIC}
    fields["zos"] = fields["zos"][:, 0]
    return model._clean(OceanState(**fields))


def random_conditions(model: HybridOM, days: int, batch: int = 2) -> list[Conditions]:
    def forcing() -> Forcing:
        size = (batch, model.grid.ny, model.grid.nx)
        return Forcing({name: 3.0 * torch.randn(size) for name in NAMES})

    return [Conditions(forcing(), random_state(model, batch), forcing()) for _ in range(days + 1)]


def wake(model: HybridOM, size: float = 0.05) -> None:
    """Move every weight off its initial value, so that no network is zero."""
    with torch.no_grad():
        for weight in model.parameters():
            weight += size * torch.randn_like(weight)


def assert_same(a: OceanState, b: OceanState) -> None:
    for name, x in a.items():
        assert torch.equal(x, getattr(b, name)), name


def unrolled(model: HybridOM, state: OceanState, days: list[Conditions]) -> list[OceanState]:
    return list(model.unroll(state, days))


@pytest.mark.parametrize("sea_surface", ["persistence", "continuity"])
def test_an_untrained_model_is_the_skeleton_with_persistent_currents(sea_surface: str) -> None:
    model = make_model(sea_surface=sea_surface)
    state, (now, then) = random_state(model), random_conditions(model, 1)
    found = model.train().step(state, now, then)
    day = model.skeleton(state, now.forcing, then.forcing)
    expected = OceanState(day.thetao, day.so, state.uo, state.vo, day.zos)
    assert_same(found, model._clean(expected))
    assert not torch.equal(found.thetao, state.thetao)


def test_without_skeleton_and_networks_the_ocean_persists() -> None:
    model = make_model(NetworksConfig(ilap=NONE, state=NONE), enabled=False)
    assert not list(model.parameters())
    state = random_state(model)
    for later in unrolled(model, state, random_conditions(model, 3)):
        assert_same(later, state)


@pytest.mark.parametrize("enabled", [True, False])
def test_ilap_alone_changes_currents_alone(enabled: bool) -> None:
    model = make_model(NetworksConfig(ilap=SMALL, state=NONE), enabled=enabled).eval()
    state, days = random_state(model), random_conditions(model, 1)
    (before,) = unrolled(model, state, days)
    wake(model)
    (after,) = unrolled(model, state, days)
    for name, x in after.items():
        assert torch.equal(x, getattr(before, name)) != (name in ("uo", "vo")), name


def test_state_alone_changes_every_variable() -> None:
    model = make_model(NetworksConfig(ilap=NONE, state=SMALL)).eval()
    state, days = random_state(model), random_conditions(model, 1)
    (before,) = unrolled(model, state, days)
    wake(model)
    (after,) = unrolled(model, state, days)
    for name, x in after.items():
        assert not torch.equal(x, getattr(before, name)), name


def test_increments_have_the_size_of_the_tendency_of_their_variable() -> None:
    model = make_model(NetworksConfig(ilap=NONE, state=SMALL), enabled=False).eval()
    nz = model.grid.nz
    ones = torch.nn.Identity()
    ones.forward = lambda x: torch.ones(x.shape[0], 4 * nz + 1, *x.shape[-2:])
    model.state = ones
    state, (now, then) = random_state(model), random_conditions(model, 1)
    change = model.step(state, now, then) - state
    for name, x in change.items():
        wet = model.wet if VARIABLES[name].has_depth else model.wet[0]
        expected = torch.where(wet, 0.1 * SPREAD[name], 0.0).expand_as(x)
        torch.testing.assert_close(x, expected, atol=1e-5, rtol=1e-4)


def test_what_lies_on_land_changes_no_bit_and_no_gradient() -> None:
    model = make_model().eval()
    wake(model)
    state, days = random_state(model), random_conditions(model, 2)

    def spoil(fields: OceanState, fill: float) -> OceanState:
        spoiled = {}
        for name, x in fields.items():
            wet = model.wet if VARIABLES[name].has_depth else model.wet[0]
            spoiled[name] = torch.where(wet, x, fill)
        return OceanState(**spoiled)

    def gradients(first: OceanState, given: list[Conditions]) -> list[torch.Tensor]:
        model.zero_grad()
        last = unrolled(model, first, given)[-1]
        last.channels().square().mean().backward()
        return [last.channels().detach(), *(p.grad.clone() for p in model.parameters())]

    clean = gradients(state, days)
    for fill in (float("nan"), 1e6):
        spoiled = [
            Conditions(d.forcing, spoil(d.climatology, fill), d.forcing_climatology) for d in days
        ]
        for a, b in zip(clean, gradients(spoil(state, fill), spoiled), strict=True):
            assert torch.equal(a, b)


def test_land_stays_zero() -> None:
    model = make_model().eval()
    wake(model)
    for later in unrolled(model, random_state(model), random_conditions(model, 2)):
        for name, x in later.items():
            wet = model.wet if VARIABLES[name].has_depth else model.wet[0]
            assert (x[..., ~wet] == 0).all()
            assert (x[..., wet] != 0).any()


def test_unroll_is_repeated_stepping_and_draws_its_conditions_one_day_at_a_time() -> None:
    model = make_model().eval()
    wake(model)
    state, days = random_state(model), random_conditions(model, 3)
    drawn = []

    def given():
        for number, day in enumerate(days):
            drawn.append(number)
            yield day

    for number, later in enumerate(model.unroll(state, given())):
        assert drawn[-1] == number + 1
        state = model.step(state, days[number], days[number + 1])
        assert_same(later, state)
    assert number == 2


def test_gradients_reach_both_networks_from_every_day_through_every_earlier_day() -> None:
    model = make_model()
    wake(model)
    outputs = {"ilap": [], "state": []}
    for name in outputs:

        def keep(module, inputs, output, name=name) -> None:
            output.retain_grad()
            outputs[name].append(output)

        getattr(model, name).register_forward_hook(keep)
    state, days = random_state(model), random_conditions(model, 3)
    for number, later in enumerate(unrolled(model, state, days), start=1):
        for x in outputs["ilap"] + outputs["state"]:
            x.grad = None
        model.zero_grad()
        later.channels().square().mean().backward(retain_graph=True)
        for name in outputs:
            reached = [x.grad is not None and bool(x.grad.any()) for x in outputs[name]]
            assert reached == [True] * number + [False] * (3 - number), (name, number)
            for label, weight in getattr(model, name).named_parameters():
                assert weight.grad.isfinite().all() and weight.grad.any(), (name, label)


def test_the_state_network_sees_the_climatological_change_only_when_asked() -> None:
    for mean_field in (True, False):
        model = make_model(NetworksConfig(ilap=NONE, state=SMALL, mean_field=mean_field)).eval()
        wake(model)
        state, (now, then) = random_state(model), random_conditions(model, 1)
        other = Conditions(then.forcing, random_state(model), then.forcing_climatology)
        same = torch.equal(
            model.step(state, now, then).thetao, model.step(state, now, other).thetao
        )
        assert same != mean_field


def test_the_networks_see_the_forcing_of_both_days() -> None:
    for networks in (
        NetworksConfig(ilap=SMALL, state=NONE),
        NetworksConfig(ilap=NONE, state=SMALL),
    ):
        model = make_model(networks, wind_stress=False).eval()
        wake(model)
        state, (now, then) = random_state(model), random_conditions(model, 1)
        base = model.step(state, now, then).uo
        for name in NAMES:
            for day in (0, 1):
                pair = [now, then]
                fields = dict(pair[day].forcing.fields)
                fields[name] = fields[name] + 1.0
                pair[day] = Conditions(
                    Forcing(fields), pair[day].climatology, pair[day].forcing_climatology
                )
                assert not torch.equal(model.step(state, *pair).uo, base), (name, day)


def test_drop_path_acts_in_training_only() -> None:
    model = make_model()
    wake(model)
    state, days = random_state(model), random_conditions(model, 1)
    torch.manual_seed(1)
    a, b = (unrolled(model.train(), state, days)[0].thetao for _ in range(2))
    assert not torch.equal(a, b)
    a, b = (unrolled(model.eval(), state, days)[0].thetao for _ in range(2))
    assert torch.equal(a, b)


def test_static_features_are_of_order_one_and_have_no_seam() -> None:
    grid = Grid.regular(10.0, depths=(10.0, 100.0))
    wet = np.ones(grid.shape, dtype=bool)
    wet[1, :, :5] = False
    features = static_features(grid, wet)
    assert features.shape == (5, grid.ny, grid.nx)
    assert features.abs().max() <= 1.0
    inner = (features[1:4, :, 1:] - features[1:4, :, :-1]).abs().amax(dim=(0, 2))
    seam = (features[1:4, :, 0] - features[1:4, :, -1]).abs().amax(dim=0)
    assert (seam <= inner + 1e-6).all()
    norm = features[1:4].square().sum(dim=0)
    torch.testing.assert_close(norm, torch.ones_like(norm))
    share = (grid.dz[0] / grid.dz.sum()).item()
    assert features[4, 0, 0] == pytest.approx(share)
    assert features[4, 0, -1] == 1.0


# the sponge of a region

OPEN = {"boundaries": "open", "sponge": {"width": 2, "days": 2.0}}


def opened(networks: NetworksConfig = BOTH, **skeleton: object) -> tuple[HybridOM, HybridOM]:
    """Equal models of a band with open ends, with a sponge and without."""
    models = []
    for sponge in (OPEN["sponge"], {}):
        torch.manual_seed(0)
        model = make_model(networks, **{**OPEN, "sponge": sponge, **skeleton}).eval()
        wake(model)
        models.append(model)
    return models[0], models[1]


@pytest.mark.parametrize(
    "networks", [BOTH, NetworksConfig(ilap=NONE, state=NONE)], ids=["networks", "core alone"]
)
def test_the_sponge_acts_last_and_draws_to_the_climatology_of_the_day_reached(networks) -> None:
    with_sponge, without = opened(networks)
    state, (now, then) = random_state(without), random_conditions(without, 1)
    with torch.no_grad():
        free, drawn = (model.step(state, now, then) for model in (without, with_sponge))
    assert without.sponge is None
    assert_same(drawn, with_sponge.sponge(free, without._clean(then.climatology)))
    edges = [0, -1]
    for name, x in drawn.items():
        there, before = getattr(then.climatology, name), getattr(free, name)
        assert torch.equal(x[..., 2:4, :], before[..., 2:4, :]), name
        left, gap = ((y - there)[..., edges, :].abs().sum().item() for y in (x, before))
        assert left == pytest.approx(gap * np.exp(-1 / 2), rel=1e-4), name


def test_a_coarser_forecast_takes_the_place_of_the_climatology() -> None:
    model, without = opened()
    state, (now, then) = random_state(model), random_conditions(model, 1)
    outer = random_state(model)
    free = without.step(state, now, then)
    given = replace(then, outer=outer)
    assert_same(model.step(state, now, given), model.sponge(free, outer))
    # that of the day before is not used, and without a sponge neither is
    assert_same(model.step(state, replace(now, outer=outer), given), model.step(state, now, given))
    assert_same(without.step(state, now, given), free)
    for device in (given.to("meta"), replace(given, outer=None).to("meta")):
        fields = [] if device.outer is None else [x for _, x in device.outer.items()]
        assert all(x.device.type == "meta" for x in fields)
    assert given.to("meta").outer is not None


def test_every_day_of_an_unroll_is_drawn_and_land_stays_zero() -> None:
    model, _ = opened()
    state, days = random_state(model), random_conditions(model, 3)
    dirty = []
    for day in days:
        fields = {}
        for name, x in day.climatology.items():
            wet = model.wet if VARIABLES[name].has_depth else model.wet[0]
            fields[name] = torch.where(wet, x, float("nan"))
        dirty.append(replace(day, outer=OceanState(**fields)))
    reached = state
    for number, (a, b) in enumerate(
        zip(unrolled(model, state, days), unrolled(model, state, dirty), strict=True)
    ):
        assert_same(a, b)
        reached = model.step(reached, days[number], days[number + 1])
        assert_same(a, reached)
        for name, x in a.items():
            wet = model.wet if VARIABLES[name].has_depth else model.wet[0]
            assert (x[..., ~wet] == 0).all()


def test_gradients_pass_the_sponge_to_networks_state_and_outer_ocean() -> None:
    model, _ = opened()
    state = random_state(model).map(lambda x: x.requires_grad_())
    (now, then), outer = random_conditions(model, 1), random_state(model)
    outer = outer.map(lambda x: x.requires_grad_())
    model.step(state, now, replace(then, outer=outer)).channels().square().mean().backward()
    for weight in model.parameters():
        assert weight.grad.isfinite().all() and weight.grad.any()
    for name, x in outer.items():
        assert x.grad[..., [0, 1, -2, -1], :].any() and not x.grad[..., 2:4, :].any(), name
        assert getattr(state, name).grad.isfinite().all()


def test_without_a_skeleton_nothing_of_its_section_acts() -> None:
    model = make_model(NetworksConfig(ilap=NONE, state=NONE), enabled=False, **OPEN)
    state = random_state(model)
    for later in unrolled(model, state, random_conditions(model, 2)):
        assert_same(later, state)


def test_a_sponge_at_walls_or_without_room_is_refused() -> None:
    with pytest.raises(ValueError, match=r"sponge\.width 2: walls need no sponge"):
        make_model(sponge={"width": 2})
    with pytest.raises(UserError, match="width 4: more than half of the 6 rows"):
        make_model(boundaries="open", sponge={"width": 4})


def test_every_constant_follows_the_model_to_another_device() -> None:
    """Arithmetic on the meta device refuses tensors that stayed behind on the CPU."""
    model = make_model(scheme="rk3", advection="tvd", sea_surface="continuity", **OPEN)
    state, days = random_state(model).to("meta"), random_conditions(model, 2)
    later = unrolled(model.to("meta"), state, [day.to("meta") for day in days])
    assert {x.device.type for day in later for _, x in day.items()} == {"meta"}

"""A region and its driver in the model: what the gate adds, and what it leaves as it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from hybridom.conditions import Conditions
from hybridom.config import GatingConfig, NetworkConfig, NetworksConfig, SkeletonConfig
from hybridom.errors import UserError
from hybridom.grid import Grid
from hybridom.masks import u_mask, v_mask
from hybridom.normalisation import KINDS
from hybridom.state import Forcing, OceanState
from hybridom.stepper import HybridOM
from hybridom.variables import PROGNOSTIC, VARIABLES

NAMES = ("u10", "v10", "t2m")
MEAN = {"thetao": 15.0, "so": 35.0, "uo": 0.0, "vo": 0.0, "zos": 0.0}
SPREAD = {"thetao": 0.5, "so": 0.1, "uo": 0.05, "vo": 0.05, "zos": 0.1}
NONE = NetworkConfig(name="none")
ODM = NetworkConfig(
    embed=8, latent=16, spatial_layers=2, blocks=2, heads=2, window=4, mlp_ratio=2, drop_path=0.0
)
GATE = NetworkConfig(name="resnet", embed=8, blocks=1)
GATED = NetworksConfig(ilap=ODM, state=ODM, gate=GATE, correction=ODM, driver="change")
GATE_ALONE = NetworksConfig(ilap=NONE, state=NONE, gate=GATE, correction=ODM)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def make_model(networks=GATED, west=150.0, mirrored=False, **skeleton) -> HybridOM:
    grid = Grid.regular(2.0, (20.0, 48.0), (west, west + 40.0), (10.0, 50.0, 200.0))
    wet = np.ones(grid.shape, dtype=bool)
    wet[:, 4:6, 3:8] = False
    wet[2, :, 12:14] = False
    wet[:, 0, :4] = False
    statistics = {}
    for name in (*PROGNOSTIC, *NAMES):
        size = (grid.nz,) if VARIABLES[name].has_depth else ()
        for kind in KINDS:
            value = SPREAD.get(name, 3.0) * (0.1 if kind == "tendency_std" else 1.0)
            statistics[f"{name}_{kind}"] = torch.full(size, value, dtype=torch.float64)
    config = SkeletonConfig(**{"substeps": 4, "boundaries": "open", **skeleton})
    return HybridOM(grid, wet, statistics, NAMES, config, networks)


def random_state(model: HybridOM, batch: int = 2) -> OceanState:
    shape = (batch, *model.grid.shape)
    fields = {n: MEAN[n] + SPREAD[n] * torch.randn(shape) for n in PROGNOSTIC}
    fields["zos"] = fields["zos"][:, 0]
    return model._clean(OceanState(**fields))


def random_days(model: HybridOM, days: int, outer: OceanState | None = None) -> list[Conditions]:
    """Conditions with random drivers, or with the same one each day."""

    def forcing() -> Forcing:
        return Forcing({name: 3.0 * torch.randn(2, model.grid.ny, model.grid.nx) for name in NAMES})

    return [
        Conditions(forcing(), random_state(model), forcing(), outer or random_state(model))
        for _ in range(days + 1)
    ]


def wake(model: HybridOM, size: float = 0.05) -> None:
    """Move every weight off its initial value."""
    with torch.no_grad():
        for weight in model.parameters():
            weight += size * torch.randn_like(weight)


def content(model: HybridOM, c: torch.Tensor) -> torch.Tensor:
    mass = model.skeleton.geometry.area * model.skeleton.geometry.dz
    return (torch.where(model.wet, c.double(), 0.0) * mass).sum(dim=(-3, -2, -1))


def assert_same(a: OceanState, b: OceanState) -> None:
    for name, x in a.items():
        assert torch.equal(x, getattr(b, name)), name


@pytest.mark.parametrize("kernels", ["plain", "fused"])
@pytest.mark.parametrize("width", [0, 3])
@pytest.mark.parametrize("base", ["blend", "fine"])
def test_zero_networks_in_equal_oceans_are_the_skeleton_bit_for_bit(kernels, width, base):
    networks = GATED.model_copy(update={"gating": GatingConfig(base=base, levels="each")})
    sponge = {"width": width, "days": 2.0}
    model = make_model(networks, sponge=sponge, kernels=kernels)
    state = random_state(model)
    now, then = random_days(model, 1, outer=state)
    found = model.step(state, now, then)
    day = model.skeleton(state, now.forcing, then.forcing)
    expected = model._clean(OceanState(day.thetao, day.so, state.uo, state.vo, day.zos))
    if model.sponge is not None:
        expected = model.sponge(expected, state)
    assert_same(found, expected)
    assert not torch.equal(found.thetao, state.thetao)


def test_a_zero_selector_blends_with_the_weights_before_training():
    for weight in (1 / 3, 0.9):
        model = make_model(GATED.model_copy(update={"gating": GatingConfig(fine_weight=weight)}))
        found = model.gate_weights(random_state(model), *random_days(model, 1))
        expected = torch.tensor([weight, (1 - weight) / 2, (1 - weight) / 2])
        sea = found[..., model.wet[0]].movedim(1, -1)
        assert torch.allclose(sea, expected.expand_as(sea), atol=1e-6)


@pytest.mark.parametrize("levels", ["shared", "each"])
@pytest.mark.parametrize("directions", ["shared", "each"])
def test_weights_sum_to_one_in_the_ocean_and_are_zero_on_land(levels, directions):
    gating = GatingConfig(levels=levels, directions=directions)
    model = make_model(GATED.model_copy(update={"gating": gating}))
    wake(model, 0.5)
    found = model.gate_weights(random_state(model), *random_days(model, 1))
    nl, nd = (3 if levels == "each" else 1), (2 if directions == "each" else 1)
    assert found.shape == (2, 3, 2, nd, nl, model.grid.ny, model.grid.nx)
    sea = model.wet[:nl]
    assert torch.allclose(found.sum(dim=1), sea.float().expand(2, 2, nd, -1, -1, -1), atol=1e-6)
    assert found[..., model.wet[0]].std() > 0.01
    assert not found[..., ~model.wet[0]].any()


def test_without_a_gate_the_own_flux_has_all_of_the_weight():
    model = make_model(NetworksConfig(ilap=NONE, state=NONE))
    found = model.gate_weights(random_state(model), *random_days(model, 1))
    sea = model.wet[0].float()
    assert torch.equal(found[:, 0], sea.expand(2, 2, 1, 1, -1, -1)) and not found[:, 1:].any()


def test_land_of_the_driver_changes_no_bit():
    model = make_model()
    wake(model)
    state, (now, then) = random_state(model), random_days(model, 1)
    clean = model.step(state, now, then)
    for fill in (1e6, float("nan")):
        spoilt = [
            replace(
                day,
                outer=OceanState(
                    **{
                        name: torch.where(model.wet if x.ndim == 4 else model.wet[0], x, fill)
                        for name, x in day.outer.items()
                    }
                ),
            )
            for day in (now, then)
        ]
        assert_same(model.step(state, *spoilt), clean)


def test_walls_keep_heat_and_salt_whatever_the_gate_and_the_correction_do():
    """Closed edges and no flow through the surface: what is left is round-off."""
    model = make_model(GATE_ALONE, boundaries="closed").double()
    wake(model, 0.3)
    state, days = random_state(model), random_days(model, 1)

    def double(x: OceanState) -> OceanState:
        # no currents: the surface, through which water may leave, rests
        return OceanState(
            x.thetao.double(), x.so.double(), 0 * x.uo.double(), 0 * x.vo.double(), x.zos.double()
        )

    state = double(state)
    now, then = (
        replace(
            day,
            forcing=day.forcing.to(torch.float64),
            forcing_climatology=day.forcing_climatology.to(torch.float64),
            climatology=double(day.climatology),
            outer=double(day.outer),
        )
        for day in days
    )
    thetao, so = model.gate(
        [state, *model._driver(now, then)],
        model._normals(now, then),
        model._static(state.zos.unsqueeze(-3)),
        model._forcing_channels(now, then),
        model._learned,
    )
    for change in (thetao, so):
        assert change.abs().max() > 1e-4
        moved = content(model, change.abs())
        assert torch.all(content(model, change).abs() < 1e-12 * moved)


def test_gradients_reach_every_network_and_are_finite():
    model = make_model()
    wake(model)
    state = random_state(model)
    for later in model.unroll(state, random_days(model, 2)):
        last = later
    loss = sum((x**2).mean() for _, x in last.items())
    loss.backward()
    assert set(model.networks()) == {"ilap", "state", "gate", "correction"}
    for name, network in model.networks().items():
        gradients = [p.grad for p in network.parameters()]
        assert all(g is not None and torch.isfinite(g).all() for g in gradients), name
        assert any(g.abs().max() > 0 for g in gradients), name


def test_the_gate_moves_tracers_alone_and_looks_at_both_days_of_the_driver():
    model = make_model(GATE_ALONE)
    plain = make_model(NetworksConfig(ilap=NONE, state=NONE))
    state, (now, then) = random_state(model), random_days(model, 1)
    gated, alone = model.step(state, now, then), plain.step(state, now, then)
    for name, x in gated.items():
        assert torch.equal(x, getattr(alone, name)) != (name in ("thetao", "so")), name
    for which in (0, 1):
        days = [now, then]
        days[which] = replace(days[which], outer=random_state(model))
        other = model.step(state, *days)
        assert not torch.equal(other.thetao, gated.thetao)


def test_state_sees_the_change_of_the_driver_alone():
    """With no other path, a driver that does not change is as good as any other."""
    networks = NetworksConfig(ilap=NONE, state=ODM, driver="change")
    model = make_model(networks)
    wake(model)
    state, (now, then) = random_state(model), random_days(model, 1)
    still = random_state(model)
    first = model.step(state, replace(now, outer=still), replace(then, outer=still))
    other = random_state(model)
    second = model.step(state, replace(now, outer=other), replace(then, outer=other))
    assert_same(first, second)
    third = model.step(state, replace(now, outer=still), replace(then, outer=other))
    assert not torch.equal(first.thetao, third.thetao)


def test_plain_super_resolution_corrects_the_driver_and_forgets_the_region():
    networks = NetworksConfig(ilap=NONE, state=ODM, driver="state")
    model = make_model(networks, enabled=False, boundaries="closed")
    state, (now, then) = random_state(model), random_days(model, 1)
    assert_same(model.step(state, now, then), model._clean(then.outer))
    wake(model)
    found = model.step(state, now, then)
    assert not torch.equal(found.thetao, then.outer.thetao)
    assert_same(found, model.step(random_state(model), now, then))


def test_a_driver_that_is_needed_and_missing_is_refused():
    model = make_model()
    state, (now, then) = random_state(model), random_days(model, 1)
    with pytest.raises(UserError, match=r"driver .* Conditions.outer"):
        model.step(state, now, replace(then, outer=None))


def test_a_gate_without_a_skeleton_is_refused():
    with pytest.raises(UserError, match=r"networks.gate: .* skeleton.enabled"):
        make_model(GATED, enabled=False, boundaries="closed")


def test_moving_the_origin_of_longitude_changes_nothing():
    """One box across the date line, written as 150 to 190 E and as 210 to 170 W."""
    east, west = make_model(west=150.0), make_model(west=-210.0)
    wake(east)
    west.load_state_dict(east.state_dict())
    state, (now, then) = random_state(east), random_days(east, 1)
    assert_same(east.step(state, now, then), west.step(state, now, then))


def test_edges_are_not_joined():
    """What lies at one edge of the box reaches the other through the networks' view alone."""
    model = make_model(GATE_ALONE)
    state, (now, then) = random_state(model), random_days(model, 1)
    found = model.step(state, now, then)
    moved = {name: x.clone() for name, x in state.items()}
    moved["thetao"][..., -1] += 1.0
    again = model.step(OceanState(**moved), now, then)
    same = (found.thetao == again.thetao)[..., : model.grid.nx // 2]
    assert same.all()
    assert u_mask(model.wet.numpy(), model.grid.periodic, True)[..., 0].any()
    assert v_mask(model.wet.numpy(), True)[:, -1].any()


def test_bfloat16_networks_leave_the_fluxes_in_float32():
    model = make_model(GATED.model_copy(update={"precision": "bfloat16"}))
    state = random_state(model)
    now, then = random_days(model, 1, outer=state)
    day = model.skeleton(state, now.forcing, then.forcing)
    found = model.step(state, now, then)
    assert torch.equal(found.thetao, torch.where(model.wet, day.thetao, 0.0))


def test_a_copy_has_a_gate_of_its_own():
    import copy

    model = make_model()
    twin = copy.deepcopy(model)
    wake(twin)
    geometry, normaliser = twin.gate._shared
    assert geometry is twin.skeleton.geometry and normaliser is twin.normaliser
    assert not any(k.startswith("gate._shared") for k in model.state_dict())

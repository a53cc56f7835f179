"""Precision, memory format, compilation, and the spectral inversion in place of a network."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import partial

import pytest
import torch

from hybridom.conditions import Conditions
from hybridom.config import NetworksConfig
from hybridom.errors import UserError
from hybridom.physics.vorticity import relative_vorticity
from hybridom.state import Forcing, OceanState
from hybridom.stepper import HybridOM
from tests.test_stepper import (
    NONE,
    SMALL,
    assert_same,
    make_model,
    random_conditions,
    random_state,
    unrolled,
    wake,
)

STILL = SMALL.model_copy(update={"drop_path": 0.0})
# float32 rounds to 2^-24, bfloat16 to 2^-9. An increment has passed some twenty layers, whose
# roundings are independent of one another: sqrt(20) 2^-9 is 0.9 %, and the largest layers take
# part with weights of more than one.
ROUNDING = 0.03

SETTINGS: dict[str, dict[str, object]] = {
    "float32": {},
    "channels_last": {"channels_last": True},
    "bfloat16": {"precision": "bfloat16"},
    "both": {"precision": "bfloat16", "channels_last": True},
}
each_setting = pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS.keys())
each_memory = pytest.mark.parametrize("memory", [False, True], ids=["kept", "checkpoint"])


@pytest.fixture(autouse=True)
def _repeatable():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def awake(
    memory: bool = False, drop_path: float = 0.0, core: bool = True, **setting: object
) -> HybridOM:
    """A model with random weights, the same under every setting."""
    torch.manual_seed(0)
    small = STILL.model_copy(update={"checkpoint": memory, "drop_path": drop_path})
    model = make_model(NetworksConfig(ilap=small, state=small, **setting), enabled=core)
    wake(model)
    return model


def given(model: HybridOM, days: int = 2) -> tuple[OceanState, list[Conditions]]:
    torch.manual_seed(1)
    return random_state(model), random_conditions(model, days)


def gradients(model: HybridOM, seed: int = 2) -> list[torch.Tensor]:
    """Of a loss over every day of a window, in training."""
    state, days = given(model)
    model.train().zero_grad()
    torch.manual_seed(seed)
    sum(x.channels().square().mean() for x in model.unroll(state, days)).backward()
    return [p.grad.clone() for p in model.parameters()]


@each_memory
@each_setting
def test_training_validation_and_forecast_give_the_same_bits(setting, memory) -> None:
    model = awake(memory, **setting)
    state, days = given(model)
    training = unrolled(model.train(), state, days)
    validation = unrolled(model.eval(), state, days)
    with torch.inference_mode():
        forecast = unrolled(model, state, days)
    for a, b, c in zip(training, validation, forecast, strict=True):
        assert a.thetao.requires_grad and a.thetao.dtype == torch.float32
        assert_same(a, b)
        assert_same(b, c)


@each_setting
def test_an_untrained_model_is_the_skeleton_bit_for_bit(setting) -> None:
    model = make_model(NetworksConfig(ilap=SMALL, state=SMALL, **setting))
    state, (now, then) = given(model, 1)
    day = model.skeleton(state, now.forcing, then.forcing)
    expected = OceanState(day.thetao, day.so, state.uo, state.vo, day.zos)
    assert_same(model.train().step(state, now, then), model._clean(expected))


@pytest.mark.parametrize("name", ["channels_last", "bfloat16", "both"])
def test_a_step_of_lower_precision_is_near_that_of_float32(name) -> None:
    setting = SETTINGS[name]
    exact, other, still = (
        awake(),
        awake(**setting),
        make_model(NetworksConfig(ilap=NONE, state=NONE)),
    )
    state, (now, then) = given(exact, 1)
    with torch.no_grad():
        base, a, b = (model.eval().step(state, now, then) for model in (still, exact, other))
    limit = ROUNDING if "precision" in setting else 2e-5
    for key, x in (a - base).items():
        gap = (getattr(b - base, key) - x).norm() / x.norm()
        assert gap < limit, (key, gap)
        assert name == "channels_last" or gap > 1e-4, (key, gap)


def test_the_gradient_of_bfloat16_is_near_that_of_float32() -> None:
    """A gradient sums roundings of both directions over all cells; small ones cancel more."""
    gaps = []
    for a, b in zip(gradients(awake()), gradients(awake(**SETTINGS["both"])), strict=True):
        assert b.dtype == torch.float32
        gaps.append(((a - b).norm() / a.norm()).item())
    assert max(gaps) < 0.25 and sum(gaps) / len(gaps) < 0.08


@each_setting
def test_checkpointing_drops_the_same_paths_again(setting) -> None:
    plain, recomputed = (gradients(awake(m, drop_path=0.5, **setting)) for m in (False, True))
    other = gradients(awake(True, drop_path=0.5, **setting), seed=3)
    assert all(torch.equal(a, b) for a, b in zip(plain, recomputed, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(recomputed, other, strict=True))


def test_gradients_come_from_every_day_under_checkpointing_and_bfloat16() -> None:
    model = awake(True, **SETTINGS["both"])
    state, days = given(model, 3)
    outputs = {name: [] for name in model.networks()}
    for name, network in model.networks().items():
        network.register_forward_hook(
            lambda module, x, y, name=name: y.retain_grad() or outputs[name].append(y)
        )
    last = unrolled(model, state, days)[-1]
    last.channels().square().mean().backward()
    for name, network in model.networks().items():
        assert [bool(y.grad.any()) for y in outputs[name]] == [True] * 3, name
        for label, weight in network.named_parameters():
            assert weight.grad.isfinite().all() and weight.grad.any(), (name, label)


@each_setting
def test_only_the_networks_see_the_setting(setting) -> None:
    model = awake(**setting)
    low = "precision" in setting
    seen = []
    for network in model.networks().values():
        network.register_forward_pre_hook(
            lambda module, x: seen.append(
                (
                    torch.is_autocast_enabled("cpu"),
                    x[0].dtype,
                    x[0].is_contiguous(memory_format=torch.channels_last),
                )
            )
        )
    model.skeleton.register_forward_pre_hook(
        lambda module, x: seen.append(torch.is_autocast_enabled("cpu"))
    )
    state, days = given(model, 1)
    unrolled(model, state, days)
    kind = torch.bfloat16 if low else torch.float32
    assert seen == [False] + [(low, kind, "channels_last" in setting)] * 2


def test_names_shapes_and_types_of_weights_do_not_depend_on_the_setting() -> None:
    plain = awake().state_dict()
    for setting in (*SETTINGS.values(), {"compile": True}):
        weights = awake(True, **setting).state_dict()
        assert list(weights) == list(plain)
        for name, x in weights.items():
            assert torch.equal(x, plain[name]) and x.is_contiguous(), name
            assert x.dtype == torch.float32


def test_networks_are_those_with_parameters() -> None:
    model = make_model()
    assert model.networks() == {"ilap": model.ilap, "state": model.state}
    assert make_model(NetworksConfig(ilap=NONE, state=SMALL)).networks().keys() == {"state"}
    assert make_model(NetworksConfig(ilap=NONE, state=NONE)).networks() == {}


# torch.compile


def first(x: Forcing | OceanState, size: int) -> Forcing | OceanState:
    """The first few of a batch."""
    if isinstance(x, Forcing):
        return Forcing({name: field[:size] for name, field in x.fields.items()})
    return x.map(lambda field: field[:size])


def compare_compiled(batches: Sequence[int], **sizes: object) -> None:
    """A compiled State against the same one run as it is.

    Args:
        batches: Sizes of what it is given in a forecast; in training it is given 2.
        sizes: Of the network.
    """
    small = STILL.model_copy(update=sizes)
    models = []
    for compile_it in (False, True):
        torch.manual_seed(0)
        networks = NetworksConfig(ilap=NONE, state=small, compile=compile_it, **SETTINGS["both"])
        models.append(make_model(networks, enabled=False))
        wake(models[-1])
    for a, b in zip(*map(gradients, models), strict=True):
        assert b.any() and (a - b).norm() < 0.25 * a.norm()
    state, days = given(models[0], 1)
    with torch.no_grad():
        for size in batches:
            start = first(state, size)
            window = [
                Conditions(
                    *(first(x, size) for x in (d.forcing, d.climatology, d.forcing_climatology))
                )
                for d in days
            ]
            (a,), (b,) = (unrolled(model.eval(), start, window) for model in models)
            change = (a - start).channels()
            assert (b - a).channels().norm() < ROUNDING * change.norm()


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch):
    """Compilation that makes graphs and leaves out code: seconds instead of minutes."""
    torch.compiler.reset()
    torch._dynamo.utils.counters.clear()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    yield torch._dynamo.utils.counters
    torch.compiler.reset()


def test_a_network_is_one_graph_that_gives_what_the_network_gives(graphs) -> None:
    compare_compiled((2, 1), spatial_layers=1, checkpoint=True)
    assert graphs["stats"]["unique_graphs"] >= 3 and not graphs["graph_break"]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_code_gives_what_the_network_gives() -> None:
    # each layer takes seconds to compile, and as many again for each size of a batch
    torch.compiler.reset()
    compare_compiled((), spatial_layers=1)


# the spectral inversion

SPECTRAL = NetworksConfig(ilap=NONE.model_copy(update={"name": "spectral"}), state=NONE)
TERMS = ("geostrophic_advection", "planetary", "stretching", "wind_stress", "viscosity")
kernels = pytest.mark.parametrize("kernels", ["plain", "auto"])


@kernels
def test_without_a_change_of_vorticity_currents_persist_bit_for_bit(kernels) -> None:
    model = make_model(SPECTRAL, kernels=kernels, **dict.fromkeys(TERMS, False))
    state, days = given(model)
    for later in unrolled(model, state, days):
        assert torch.equal(later.uo, state.uo) and torch.equal(later.vo, state.vo)
        assert not torch.equal(later.thetao, state.thetao)


@kernels
def test_currents_are_those_of_the_vorticity_that_the_skeleton_adds(kernels) -> None:
    model = make_model(SPECTRAL, kernels=kernels)
    assert not list(model.parameters()) and model.networks() == {}
    state, (now, then) = given(model, 1)
    later = model.step(state, now, then)
    g = model.skeleton.geometry
    u, v = g.interp_x_to_u(state.uo), g.interp_y_to_v(state.vo)
    start = relative_vorticity(u, v, g)
    after = model.skeleton(state, now.forcing, then.forcing).vorticity
    du, dv = model.inversion(after - start)
    assert du.abs().max() > 1e-4
    torch.testing.assert_close(later.uo, state.uo + du, rtol=0, atol=1e-6)
    torch.testing.assert_close(later.vo, state.vo + dv, rtol=0, atol=1e-6)


def test_gradients_of_a_later_day_pass_the_inversion() -> None:
    model = make_model(NetworksConfig(ilap=SPECTRAL.ilap, state=STILL))
    wake(model)
    state, days = given(model)
    start = state.map(lambda x: x.clone().requires_grad_())
    unrolled(model, start, days)[-1].uo.square().sum().backward()
    for name, x in start.items():
        assert x.grad.isfinite().all() and x.grad.any(), name
    for weight in model.parameters():
        assert weight.grad.isfinite().all() and weight.grad.any()


@pytest.mark.parametrize(
    ("networks", "core", "message"),
    [
        ({"ilap": {"name": "spectral"}}, False, "spectral needs the skeleton's vorticity"),
        ({"state": {"name": "spectral"}}, True, "networks.state.name: spectral .* ilap alone"),
        ({"ilap": {"name": "spectral", "embed": 32}}, True, r"ilap\.embed: spectral has no sizes"),
    ],
)
def test_a_misplaced_inversion_is_refused_in_one_line(networks, core, message) -> None:
    with pytest.raises(UserError, match=message) as failure:
        make_model(NetworksConfig.model_validate(networks), enabled=core)
    assert "\n" not in str(failure.value)


def test_the_inversion_follows_the_model_to_another_device() -> None:
    model = make_model(SPECTRAL)
    state, days = given(model, 1)
    later = unrolled(model.to("meta"), state.to("meta"), [day.to("meta") for day in days])
    assert later[0].uo.device.type == "meta"

"""What the physics tests share. README.md here says which property is tested where."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator

import pytest
import torch

from hybridom.config import SkeletonConfig
from hybridom.physics.advection import limited_fluxes
from hybridom.physics.fluxes import convergence, face_fluxes
from hybridom.physics.skeleton import Skeleton

CONFIGURATIONS = {
    "published": SkeletonConfig(),
    "second-order": SkeletonConfig(advection="tvd", scheme="rk3", sea_surface="continuity"),
}


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """The fields are small, and other test processes share the machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def transport() -> Callable[..., torch.Tensor]:
    """Tendency of a field under the upwind weights of a flow, by the scheme of a name."""

    def tendency(c, weights, g, scheme):
        found = convergence(face_fluxes(c, weights, g), g)
        if scheme == "tvd":
            found = found + convergence(limited_fluxes(c, weights, g), g)
        return found

    return tendency


@pytest.fixture(params=CONFIGURATIONS.values(), ids=CONFIGURATIONS.keys())
def config(request: pytest.FixtureRequest) -> SkeletonConfig:
    """The published schemes, then those of higher order with a moving sea surface."""
    return request.param


@pytest.fixture(params=["plain", "fused"])
def kernels(request: pytest.FixtureRequest) -> str:
    """Both forms of the day; the fused one is that of the CPU."""
    found = importlib.util.find_spec("hybridom.physics.fused.cpu") is not None
    if request.param == "fused" and not found:
        pytest.skip("there are no fused kernels for the CPU")
    return request.param


@pytest.fixture
def rounding(config: SkeletonConfig, kernels: str) -> float:
    """Largest relative error, over a day, of a tracer that no term changes.

    The plain form interpolates between stages of the Runge-Kutta scheme, which keeps equal values;
    the fused form adds a third and two thirds of them, or a quarter and three.
    """
    return 24 * 2.0**-53 if (kernels, config.scheme) == ("fused", "rk3") else 0.0


@pytest.fixture
def make_skeleton(kernels: str) -> Callable[..., Skeleton]:
    """Skeleton of an ocean by both kernels, in float64 unless another type is given."""

    def make(ocean, config=CONFIGURATIONS["published"], dtype=torch.float64) -> Skeleton:
        chosen = config.model_copy(update={"kernels": kernels})
        return Skeleton(ocean.grid, ocean.wet, chosen, dtype)

    return make


@pytest.fixture
def run(make_skeleton: Callable[..., Skeleton]) -> Callable[..., dict[str, torch.Tensor]]:
    """Fields by name one day after a state under random wind."""

    def after(ocean, config=CONFIGURATIONS["published"], seed=1, number=0.2, state=None):
        state = state or ocean.state(seed, number=number)
        core = make_skeleton(ocean, config)
        return vars(core(state, ocean.forcing(seed), ocean.forcing(seed + 9)))

    return after

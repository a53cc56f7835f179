"""The fused day on CPUs against the plain form, and its threads.

The adjoint has its own file. Land holds NaN here, so that nothing is read there.
"""

from __future__ import annotations

import dataclasses
import os
import threading

import numpy as np
import pytest
import torch

from hybridom.config import SkeletonConfig
from hybridom.grid import Grid
from hybridom.physics.continuity import vertical_velocity
from hybridom.physics.fused import cpu, threads
from hybridom.physics.skeleton import Skeleton
from hybridom.physics.vorticity import relative_vorticity

TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-6}
CONFIGURATIONS = {
    "ab2": {},
    "rk3": {"scheme": "rk3", "substeps": 5},
    "tvd": {"advection": "tvd"},
    "tvd rk3": {"advection": "tvd", "scheme": "rk3", "substeps": 3},
    "open": {"boundaries": "open", "sea_surface": "continuity"},
    "open tvd": {"boundaries": "open", "advection": "tvd"},
    "two passes": {"substeps": 2 * cpu.PASS - 1, "ab2_offset": 0.0},
    "one substep": {"substeps": 1},
    "mixing": {"horizontal_diffusivity": 3e4, "vertical_diffusivity": 1e-3},
    "no mixing": {"horizontal_diffusivity": 0.0, "vertical_diffusivity": 0.0, "viscosity": False},
    "no advection": {"geostrophic_advection": False},
    "no planetary": {"planetary": False},
    "no stretching": {"stretching": False, "wind_stress": False},
    "no geostrophy": {"geostrophic_advection": False, "planetary": False},
}


def with_land(state, ocean, value):
    """The state with a value on land."""
    wet = ocean.geometry.wet
    fields = {n: torch.where(wet if x.dim() > 3 else wet[0], x, value) for n, x in state.items()}
    return dataclasses.replace(state, **fields)


def days(ocean, dtype=torch.float64, batch=1, number=0.2, **options):
    """The skeleton's day by the plain and by the fused form."""
    state = with_land(ocean.state(5, batch, number), ocean, torch.nan).map(lambda x: x.to(dtype))
    winds = (ocean.forcing(seed, batch) for seed in (6, 7))
    winds = [
        dataclasses.replace(w, fields={n: x.to(dtype) for n, x in w.fields.items()}) for w in winds
    ]
    for kernels in ("plain", "fused"):
        config = SkeletonConfig(kernels=kernels, **options)
        yield vars(Skeleton(ocean.grid, ocean.wet, config, dtype)(state, *winds))


def assert_equal_days(plain, fused, tolerance):
    for name, expected in plain.items():
        error = (fused[name] - expected).abs().max() / expected.abs().max()
        assert error <= tolerance, name


@pytest.mark.parametrize("options", CONFIGURATIONS.values(), ids=CONFIGURATIONS.keys())
def test_the_fused_day_is_the_plain_one(ocean, options):
    assert_equal_days(*days(ocean, **options), TOLERANCE[torch.float64])


@pytest.mark.parametrize("name", ["ab2", "rk3", "tvd", "tvd rk3", "two passes"])
def test_the_fused_day_is_the_plain_one_in_single_precision(ocean, name):
    found = days(ocean, torch.float32, **CONFIGURATIONS[name])
    assert_equal_days(*found, TOLERANCE[torch.float32])


@pytest.mark.parametrize("scheme", ["upwind", "tvd"])
def test_windows_do_not_mix(make_ocean, scheme):
    ocean = make_ocean("realistic")
    assert_equal_days(*days(ocean, batch=3, advection=scheme), TOLERANCE[torch.float64])


@pytest.mark.parametrize("scheme", ["upwind", "tvd"])
@pytest.mark.parametrize(
    "grid",
    [
        Grid.regular(10.0, (10.0, 30.0), (0.0, 30.0), (5.0, 15.0)),
        Grid.regular(90.0, depths=(5.0, 15.0, 40.0)),
        Grid.regular(10.0, (10.0, 40.0), (0.0, 20.0), (5.0,)),
        Grid.regular(36.0, (-18.0, 54.0), depths=(5.0,)),
    ],
    ids=["2x3", "2x4 around the globe", "3x2, one level", "2x10 around the globe, one level"],
)
def test_grids_may_be_tiny(make_ocean, grid, scheme):
    ocean = make_ocean(grid=grid)
    found = days(ocean, advection=scheme, horizontal_diffusivity=1e3)
    assert_equal_days(*found, TOLERANCE[torch.float64])


@pytest.fixture
def torch_threads():
    """Sets the number of threads; the former one comes back at the end."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


MANY = 16  # threads, for each of which there should be a tile


@pytest.fixture
def small_tiles(monkeypatch):
    """Tiles that are smaller than what the stages of a pass reach."""
    monkeypatch.setattr(cpu, "COLUMNS", 8)
    monkeypatch.setattr(cpu, "CELLS", 1)
    monkeypatch.setattr(cpu, "PASS", 6)


@pytest.mark.parametrize("name", ["ab2", "rk3", "tvd", "tvd rk3"])
def test_tiles_change_nothing(ocean, name, small_tiles, torch_threads):
    torch_threads(MANY)
    core = Skeleton(ocean.grid, ocean.wet, SkeletonConfig(), torch.float64)
    tiles = list(cpu._tiles(core.fused.tables.flags.numpy(), 6, 1, 1))
    assert len(tiles) >= 4
    assert_equal_days(*days(ocean, **CONFIGURATIONS[name]), TOLERANCE[torch.float64])


@pytest.mark.parametrize("count", [1, 3, 4, MANY])
def test_tiles_cover_the_grid_and_share_its_ocean(torch_threads, count):
    torch_threads(count)
    latitude, longitude = np.meshgrid(np.linspace(-90, 90, 328), np.arange(720), indexing="ij")
    flags = np.zeros((23, 328, 720), np.uint8)
    flags[:, (longitude % 360 < 250) & (latitude > -70)] = 1
    tiles = list(cpu._tiles(flags, 12, 1, 1))
    covered, ocean = np.zeros((328, 720), int), []
    for tile in tiles:
        covered[tile.south : tile.north, tile.west : tile.east] += 1
        ocean.append(int(flags[0, tile.south : tile.north, tile.west : tile.east].sum()))
    assert (covered == 1).all()
    assert len(tiles) >= count and max(ocean) < 1.1 * np.mean(ocean)


@pytest.mark.parametrize("name", ["ab2", "rk3", "open", "tvd", "open tvd", "tvd rk3"])
def test_what_work_memory_holds_has_no_effect(ocean, name, monkeypatch):
    monkeypatch.setattr(
        threads._Workers, "take", lambda self, size: np.full(size + threads.ALIGNMENT, 255, "u1")
    )
    monkeypatch.setattr(
        threads._Workers, "take_result", lambda self, size: np.full(size, 255, "u1")
    )
    assert np.isnan(np.full(8, 255, "u1").view(np.float64))
    assert_equal_days(*days(ocean, **CONFIGURATIONS[name]), TOLERANCE[torch.float64])


def test_memory_of_results_is_used_again_when_nobody_holds_it():
    threads._workers.results.clear()
    first = threads.empty((4, 1000), torch.float64)
    second = threads.empty((4, 1000), torch.float64)
    place, view = first.data_ptr(), first[1:]
    assert second.data_ptr() != place
    del first
    third = threads.empty((4, 1000), torch.float64)
    assert third.data_ptr() != place  # a view is left
    del view
    fourth = threads.empty((2000, 2), torch.float64)
    assert fourth.data_ptr() == place and fourth.shape == (2000, 2)


@pytest.mark.parametrize("name", ["ab2", "tvd rk3"])
def test_no_bit_depends_on_the_number_of_threads(make_ocean, name, small_tiles, torch_threads):
    ocean, found = make_ocean("channel"), []
    for count in (1, MANY):
        torch_threads(count)
        found.append(list(days(ocean, batch=2, **CONFIGURATIONS[name]))[1])
    for field, expected in found[0].items():
        assert torch.equal(found[1][field], expected), field


def test_callers_do_not_share_work_memory(make_ocean, small_tiles, torch_threads):
    """Two threads of Python step different oceans at once."""
    torch_threads(2)
    oceans = [make_ocean("channel"), make_ocean("realistic")]
    expected = [list(days(ocean))[1] for ocean in oceans]
    found = [[], []]

    def step(at):
        for _ in range(5):
            found[at].append(list(days(oceans[at]))[1])

    callers = [threading.Thread(target=step, args=(at,)) for at in range(2)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    for results, one in zip(found, expected, strict=True):
        assert len(results) == 5
        assert all(torch.equal(r[name], one[name]) for r in results for name in one)


def test_a_failure_in_a_task_is_raised_after_all_have_ended(torch_threads):
    torch_threads(2)
    ended = []

    def fail():
        raise ValueError("here")

    with pytest.raises(ValueError, match="here"):
        threads.run([fail, lambda: ended.append(1)])
    threads.run([lambda: ended.append(2)] * 3)
    assert ended in ([1, 2, 2, 2], [2, 2, 2])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_process_has_threads_of_its_own(torch_threads):
    torch_threads(2)
    threads.run([lambda: None] * 4)
    child = os.fork()
    if child == 0:
        ended = []
        threads.run([lambda: ended.append(1)] * 4)
        os._exit(len(ended))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 4


def test_work_memory_is_aligned_apart_and_used_again():
    shapes = [((3, 5), np.dtype(np.float32)), ((7,), np.dtype(np.uint8)), ((0, 2), np.dtype(float))]
    with threads.Memory(shapes) as first, threads.Memory(shapes) as second:
        for arrays, value in ((first, 1), (second, 2)):
            for array, (shape, dtype) in zip(arrays, shapes, strict=True):
                assert array.shape == shape and array.dtype == dtype
                assert array.size == 0 or array.ctypes.data % threads.ALIGNMENT == 0
                array[...] = value
        assert all((array == 1).all() for array in first)
        places = {arrays[0].ctypes.data for arrays in (first, second)}
    with threads.Memory(shapes) as third:
        assert third[0].ctypes.data in places


@pytest.mark.parametrize("options", [{}, {"boundaries": "open"}], ids=["closed", "open"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_flow_is_that_of_the_operators(ocean, options, dtype):
    core = Skeleton(ocean.grid, ocean.wet, SkeletonConfig(**options), dtype)
    g = core.geometry
    uo, vo = (
        torch.where(g.wet, x.to(dtype), torch.nan) for x in (ocean.field(1, 3), ocean.field(2, 3))
    )
    u, v = g.interp_x_to_u(g.clean(uo)), g.interp_y_to_v(g.clean(vo))
    expected = (u, v, vertical_velocity(u, v, g), relative_vorticity(u, v, g))
    for found, field in zip(core.fused.flow(uo, vo), expected, strict=True):
        assert (found - field).abs().max() <= TOLERANCE[dtype] * field.abs().max()


@pytest.mark.parametrize("options", [{}, {"boundaries": "open"}], ids=["closed", "open"])
def test_derivatives_of_the_flow_are_those_of_the_operators(ocean, options):
    core = Skeleton(ocean.grid, ocean.wet, SkeletonConfig(**options), torch.float64)
    g = core.geometry
    centred = [torch.where(g.wet, ocean.field(n, 2), torch.nan).requires_grad_() for n in (1, 2)]
    u, v = g.interp_x_to_u(g.clean(centred[0])), g.interp_y_to_v(g.clean(centred[1]))
    plain = (u, v, vertical_velocity(u, v, g), relative_vorticity(u, v, g))
    generator = torch.Generator().manual_seed(3)
    out = [torch.randn(x.shape, generator=generator, dtype=x.dtype) for x in plain]
    expected = torch.autograd.grad(plain, centred, out)
    found = torch.autograd.grad(core.fused.flow(*centred), centred, out)
    for a, b in zip(found, expected, strict=True):
        assert (a - b).abs().max() <= 1e-13 * b.abs().max()

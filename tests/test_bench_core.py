"""The measurement of the skeleton's day: complete, consistent, the same work in all forms."""

from __future__ import annotations

import json
import os
import re
import statistics
from pathlib import Path

import numpy as np
import pytest
import torch

from hybridom.bench import core, memory, variants
from hybridom.bench.bandwidth import day_floor, mark, spans, triad_bandwidth
from hybridom.bench.ocean import InventedOcean
from hybridom.bench.variants import Case, Job, Kept, first_day
from hybridom.cli import EXIT_USER_ERROR, main
from hybridom.config import SkeletonConfig, load
from hybridom.errors import UserError
from hybridom.grid import Grid

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "config" / "test.yaml"
CPU = torch.device("cpu")
TIMED = {"seconds", "median", "fastest", "times_plain", "floor_percent", "difference"}
MEMORY = {"start_memory_mb", "peak_memory_mb", "first_seconds"}


@pytest.fixture
def config():
    return load(CONFIG)


def job(config, variant: str = "plain", phase: str = "forward_backward") -> Job:
    return Job(config, torch.float32, variant, phase, torch.get_num_threads())


def assert_consistent(found) -> None:
    """Every figure of a result that follows from others does."""
    floor = found["floor"]
    pass_bytes = sum(floor["read"].values()) + sum(floor["written"].values())
    assert floor["day"] == found["substeps"] * pass_bytes
    assert floor["seconds"] == pytest.approx(floor["day"] / found["bandwidth_gb_per_s"] / 1e9)
    for phases in found["variants"].values():
        assert set(phases) == {"forward", "forward_backward"}
        for phase, row in phases.items():
            extra = {"kept_mb", "backward"} if phase == "forward_backward" else set()
            assert set(row) == TIMED | MEMORY | extra
            assert len(row["seconds"]) >= found["repeats"]
            assert row["median"] == statistics.median(row["seconds"])
            assert 0 < row["fastest"] == min(row["seconds"]) <= row["median"]
            plain = found["variants"]["plain"][phase]
            for part, of_plain in ((row, plain), (row.get("backward"), plain.get("backward"))):
                if part is not None:
                    percent = 100 * floor["seconds"] / part["median"]
                    assert part["floor_percent"] == pytest.approx(percent)
                    ratio = of_plain["median"] / part["median"]
                    assert part["times_plain"] == pytest.approx(ratio)
            assert row["peak_memory_mb"] >= row["start_memory_mb"] > 0
            assert row["first_seconds"] > 0
        both = phases["forward_backward"]
        assert set(both["backward"]) == {"median", "times_plain", "floor_percent"}
        assert both["backward"]["median"] < max(both["seconds"])


def test_it_prints_a_table_and_writes_the_documented_object(capsys, tmp_path):
    output = tmp_path / "core.json"
    words = ["bench", "core", "--config", str(CONFIG), "--variants", "plain,fused"]
    assert main([*words, "--repeats", "2", "--json", str(output)]) == 0
    found = json.loads(output.read_text())
    documented = {"device", "threads", "torch", "numba", "triton", "grid", "wet_share", "dtype"}
    documented |= {"substeps", "scheme", "advection", "fastest_current", "transport_number"}
    documented |= {"transport_limit", "bandwidth_gb_per_s", "floor", "repeats", "variants"}
    assert set(found) == documented
    assert documented <= set(re.findall(r"\w+", str(core.__doc__)))
    assert found["grid"] == [4, 15, 30] and found["dtype"] == "float32"
    assert found["substeps"] == 4 and found["repeats"] == 2
    assert 0 < found["transport_number"] <= found["transport_limit"]
    assert_consistent(found)
    plain, fused = (found["variants"][name] for name in ("plain", "fused"))
    assert plain["forward_backward"]["kept_mb"] > fused["forward_backward"]["kept_mb"] > 0
    assert plain["forward"]["difference"] == 0 < fused["forward"]["difference"] < 1e-5
    assert 0 < fused["forward_backward"]["difference"] < 1e-4
    table = capsys.readouterr().out
    assert f"{found['bandwidth_gb_per_s']:.1f} GB/s" in table
    rows = [line.split() for line in table.splitlines() if line.startswith(("plain", "fused"))]
    assert len(rows) == 6 and f"{plain['forward']['median']:.4f}" in rows[0]
    assert f"{fused['forward_backward']['backward']['median']:.4f}" in rows[5]
    assert f"{fused['forward_backward']['kept_mb']:.1f}" in rows[4]


@pytest.mark.slow
def test_the_compiled_form_gives_the_fields_and_gradients_of_the_plain_one():
    # each further substep and term takes long to compile; physics/test_skeleton_gradients has all
    terms = ("geostrophic_advection", "planetary", "viscosity", "wind_stress")
    fewer = [f"skeleton.{term}=false" for term in terms]
    config = load(CONFIG, ["skeleton.substeps=1", *fewer])
    result = core.bench_core(config, ["plain", "compiled"], 1, torch.float64, 2**20)
    for row in result["variants"]["compiled"].values():
        if "skipped" in row:
            pytest.skip(row["skipped"])
        assert row["difference"] < 1e-11
    assert_consistent(json.loads(json.dumps(result)))


def test_forms_that_cannot_be_had_say_why(config, monkeypatch, capsys):
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert "there is no no-such-compiler" in first_day(job(config, "compiled"))["skipped"]
    monkeypatch.setattr(memory, "available_memory", lambda: 0.1)
    assert "the graph keeps more than" in first_day(job(config))["skipped"]
    assert "skipped" not in first_day(job(config, phase="forward"))
    command = ["bench", "core", "--config", str(CONFIG), "--variants", "plain,numba"]
    assert main(command) == EXIT_USER_ERROR
    assert "'numba' is unknown; known are plain, compiled, fused" in capsys.readouterr().err


def test_a_process_that_is_killed_leaves_a_reason_and_the_others_are_measured(config, monkeypatch):
    def give_up(config, case, variant, phase):
        if phase == "forward":
            return first_day(job(config, variant, phase))
        with monkeypatch.context() as patch:
            patch.setattr(core, "first_day", os._exit)
            patch.setattr(core, "Job", lambda *_: 1)
            return original(config, case, variant, phase)

    original = core._first_day
    monkeypatch.setattr(core, "_first_day", give_up)
    result = core.bench_core(config, ["plain"], 1, stream_bytes=2**20)
    plain = result["variants"]["plain"]
    assert "ended the process" in plain["forward_backward"]["skipped"]
    assert plain["forward"]["times_plain"] == 1 and "kept_mb" not in plain["forward"]
    assert plain["forward_backward"]["skipped"] in core.table(result)


def test_the_floor_is_one_pass_a_stage():
    cells, u, v, w = 3 * 4 * 6, 3 * 4 * 7, 3 * 5 * 6, 4 * 4 * 6
    ab2 = day_floor((3, 4, 6), SkeletonConfig(substeps=5), torch.float32)
    assert ab2.day == 5 * (4 * (12 * cells + u + v + w) + cells)
    rk3 = day_floor((3, 4, 6), SkeletonConfig(substeps=2, scheme="rk3"), torch.float64)
    fields = 3 * 3 + 2 * 3 + 3 * 3  # read, those at the beginning of the substep, written
    assert rk3.day == 2 * (8 * (fields * cells + 3 * (u + v + w)) + 3 * cells)


def test_bandwidth_counts_three_streams(monkeypatch):
    assert triad_bandwidth(CPU, torch.float64, 2**16) > 0
    assert spans([1.0, 1.5, 4.0], CPU) == [0.5, 2.5] and mark(CPU) < mark(CPU)
    monkeypatch.setattr("hybridom.bench.bandwidth.spans", lambda marks, device: [2.0])
    assert triad_bandwidth(CPU, torch.float32, 4000) == 3 * 4000 / 2.0


def test_the_ocean_has_continents_shelves_and_smooth_currents():
    grid = Grid.regular(2.0, (-80, 84), depths=(5, 50, 200, 600))
    ocean = InventedOcean(grid)
    share = (ocean.wet * grid.area).sum(axis=(1, 2)) / grid.area.sum()
    np.testing.assert_allclose(share[[0, -1]], [0.70, 0.63], atol=0.002)
    assert not (ocean.wet[1:] & ~ocean.wet[:-1]).any()
    state = ocean.state(0.5)
    u, v = state.uo[0].numpy(), state.vo[0].numpy()
    assert np.hypot(u, v).max() == pytest.approx(0.5)
    for _, field in state.items():
        assert field.isfinite().all() and field.dtype == torch.float64
    for field in (state.thetao[0].numpy(), state.so[0].numpy(), u, v):
        assert not field[~ocean.wet].any()
    warm = state.thetao[0, 0].numpy()[ocean.wet[0]]
    assert -5 < warm.min() < 5 < 25 < warm.max() < 35
    again = InventedOcean(grid).state(0.5)
    assert all(
        torch.equal(a, b) for (_, a), (_, b) in zip(state.items(), again.items(), strict=True)
    )


def test_currents_are_slowed_until_the_substeps_are_stable():
    few = load(ROOT / "config" / "global_05.yaml", ["grid.resolution=2", "skeleton.substeps=3"])
    case = Case(few, torch.float32, CPU)
    assert case.speed in [2.0**-n for n in range(1, 7)]
    assert 0 < case.transport_number <= case.transport_limit
    # the speed above would not have done
    faster = InventedOcean(case.grid).state(2 * case.speed).to(torch.float32)
    with pytest.raises(UserError, match="transport number"):
        case.model("plain").check_stability(faster)


def test_substeps_that_no_current_bears_are_refused(config):
    config = config.model_copy(
        update={"skeleton": config.skeleton.model_copy(update={"horizontal_diffusivity": 1e7})}
    )
    with pytest.raises(UserError, match=r"set skeleton\.substeps to \d+ or more"):
        Case(config, torch.float32, CPU)


def test_kept_storages_are_counted_once_and_only_while_they_are_kept():
    kept = Kept(limit=1e6)
    x = torch.ones(100, dtype=torch.float64, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(kept.pack, kept.unpack):
        y = x * x  # saves x twice
        assert kept.bytes == 800
        z = y.sin().sum()  # saves y
    assert kept.bytes == 1600
    (gradient,) = torch.autograd.grad(z, x)
    torch.testing.assert_close(gradient, 2 * x * (x * x).cos())
    del y, z
    assert kept.bytes == 0
    small = Kept(limit=799)
    with (
        torch.autograd.graph.saved_tensors_hooks(small.pack, small.unpack),
        pytest.raises(MemoryError),
    ):
        x * x


def test_a_result_that_is_no_number_differs():
    nan = torch.tensor([1.0, float("nan")])
    assert np.isnan(core._difference((nan, nan), (torch.ones(2), nan.nan_to_num())))
    assert core._difference((torch.tensor([1.0, 2.5]),), (torch.tensor([1.0, 2.0]),)) == 0.25


def test_variants_keep_their_order():
    assert variants.require_variants("fused,plain") == ["plain", "fused"]
    with pytest.raises(UserError, match="''"):
        variants.require_variants("")


def test_memory_of_the_machine_and_of_this_process():
    assert 10 < memory.resident_memory() <= memory.peak_memory()
    assert memory.available_memory() > 10


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux only")
def test_a_peak_can_be_forgotten():
    memory.forget_peak()  # or the array would lie in memory that earlier tests have freed
    before = memory.resident_memory()
    held = np.ones(10_000_000)
    assert memory.peak_memory() > before + 70
    del held
    memory.forget_peak()
    assert memory.peak_memory() < before + 40

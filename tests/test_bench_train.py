"""The measurement of training: complete, consistent, closed forms, and failures that are told."""

from __future__ import annotations

import itertools
import json
import re
import statistics
import time
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from hybridom.bench import memory, peak, train, train_count
from hybridom.bench.ocean import InventedOcean
from hybridom.bench.step import unit_statistics
from hybridom.bench.train_data import Sea, batch_in_memory, open_scene
from hybridom.bench.train_parts import PARTS, Timeline
from hybridom.bench.train_table import table
from hybridom.bench.train_trial import Trial, Waiting, fill_zeros
from hybridom.bench.train_variants import VARIANTS, require_variants, with_overrides
from hybridom.cli import EXIT_USER_ERROR, main
from hybridom.config import load
from hybridom.errors import UserError
from hybridom.grid import Grid
from tests.training import world as tiny_world

CONFIG = Path(__file__).parents[1] / "config" / "test.yaml"
CPU = torch.device("cpu")
COUNTED = {"flop", "counted_memory_mb"}
TRAITS = {"precision", "arithmetic", "kernels", "channels_last", "compile", "checkpoint"}
TRAITS |= {"overrides", "parameters"}
TIMED = {"seconds", "median", "fastest", "waiting_percent", "parts", "first_seconds"}
TIMED |= {"start_memory_mb", "peak_memory_mb"}
RATES = {"samples_per_second", "days_per_second", "times_first", "tflop_per_s", "peak_percent"}
RATES |= {"peak_tflop_per_s", "vendor_tflop_per_s", "vendor_percent"}


@pytest.fixture(autouse=True)
def _one_thread():
    """Small tensors are faster, and sums repeatable, on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _small_peak(monkeypatch):
    """Processors without bfloat16 arithmetic take seconds for a large product."""
    monkeypatch.setitem(peak.SIDE, "cpu", 64)


@pytest.fixture(scope="module")
def config():
    return load(CONFIG)


@pytest.fixture(scope="module")
def sea(config):
    return Sea(config)


def counted(config, days: int):
    """FLOP and bytes on the configured grid."""
    box = config.grid
    grid = Grid.regular(box.resolution, box.lat, box.lon, box.depths)
    scales = unit_statistics(grid.nz, config.forcing_names)
    return train_count.count(config, grid, InventedOcean(grid).wet, scales, days)


def assert_consistent(found) -> None:
    """Every figure of a result that follows from others does."""
    windows = found["batch"] * found["accumulate"]
    first = next(iter(found["variants"].values()))
    for row in found["variants"].values():
        assert set(row) == COUNTED | TRAITS | TIMED | RATES
        assert len(row["seconds"]) == found["repeats"]
        assert row["median"] == statistics.median(row["seconds"])
        assert 0 < row["fastest"] == min(row["seconds"]) <= row["median"]
        assert row["samples_per_second"] == pytest.approx(windows / row["median"])
        assert row["days_per_second"] == pytest.approx(found["days"] * windows / row["median"])
        ratio = first["median"] / row["median"]
        assert row["times_first"] == pytest.approx(ratio)
        useful = row["flop"]["forward"] + row["flop"]["backward"]
        speed = useful * windows / row["median"] / 1e12
        assert row["tflop_per_s"] == pytest.approx(speed)
        assert row["peak_percent"] == pytest.approx(100 * speed / row["peak_tflop_per_s"])
        assert 0 <= row["waiting_percent"] < 100
        parts = tuple(p for p in PARTS if p != "gate")  # there is none
        assert tuple(row["parts"]) == parts
        assert all(row["parts"][p] > 0 for p in parts)
        assert row["peak_memory_mb"] >= row["start_memory_mb"] > 0
        sizes = row["counted_memory_mb"]
        total = sizes["weights"] + sizes["window"] + sizes["step"]
        assert sizes["total"] == pytest.approx(total)


def test_it_prints_a_table_and_writes_the_documented_object(capsys, tmp_path):
    output = tmp_path / "train.json"
    words = ["bench", "train", "--config", str(CONFIG), "--variants", "reference,bf16"]
    options = ["--repeats", "2", "--days", "2", "--folder", str(tmp_path), "--json", str(output)]
    assert main([*words, *options]) == 0
    found = json.loads(output.read_text())
    documented = {"device", "threads", "torch", "numba", "triton", "grid", "wet_share", "days"}
    documented |= {"batch", "accumulate", "substeps", "repeats", "data", "variants"}
    assert set(found) == documented
    head = set(re.findall(r"\w+", str(train.__doc__)))
    assert documented | COUNTED | TRAITS | TIMED | RATES | {"skipped"} <= head
    assert found["grid"] == [4, 15, 30] and found["days"] == 2 and found["batch"] == 2
    assert list(found["variants"]) == ["reference", "bf16"]
    assert_consistent(found)
    assert found["data"]["source"] == "synthetic" and found["data"]["note"] is None
    assert found["data"]["window_mb"] == pytest.approx(2 * 3 * 4 * (4 * 4 + 1 + 3) * 450 / 1e6)
    reference, bf16 = found["variants"].values()
    assert (reference["precision"], reference["kernels"]) == ("float32", "plain")
    assert (bf16["precision"], bf16["kernels"]) == ("bfloat16", "fused") and bf16["channels_last"]
    assert reference["flop"] == bf16["flop"]
    assert reference["counted_memory_mb"]["step"] > bf16["counted_memory_mb"]["step"]
    rows = [x.split() for x in capsys.readouterr().out.splitlines() if x.startswith("bf16")]
    assert len(rows) == 4 and rows[0][1] == f"{bf16['samples_per_second']:.4g}"
    assert rows[1][-1] == f"{sum(bf16['parts'].values()):.3g}"
    assert list(tmp_path.iterdir()) == [output]


def test_a_count_runs_nothing(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(Trial, "step", None)
    output = tmp_path / "count.json"
    words = ["bench", "train", "--config", str(CONFIG), "--count", "--json", str(output)]
    assert main([*words, "--variants", "configured,cheap", "--days", "1"]) == 0
    found = json.loads(output.read_text())
    configured, cheap = found["variants"].values()
    assert set(configured) == {"overrides", "flop", "counted_memory_mb"}
    assert cheap["flop"]["forward"] < configured["flop"]["forward"]
    assert f"{configured['flop']['backward'] / 1e12:.4g}" in capsys.readouterr().out


@pytest.mark.parametrize(("groups", "transposed"), [(1, False), (8, False), (2, True)])
def test_the_flop_of_a_convolution_are_those_of_its_sums(groups, transposed):
    kind = nn.ConvTranspose2d if transposed else nn.Conv2d
    layer = kind(8, 16, 3, stride=2, padding=1, groups=groups)
    x = torch.randn(2, 8, 10, 12, requires_grad=True)
    with FlopCounterMode(display=False, custom_mapping=train_count.FORMULAS) as counter:
        y = layer(x)
        forward = counter.get_total_flops()
        y.sum().backward()
    cells = 10 * 12 if transposed else 5 * 6
    assert forward == 2 * 2 * cells * 9 * 8 * 16 // groups
    assert counter.get_total_flops() == 3 * forward


def test_the_flop_of_attention_are_those_of_its_products():
    query, key, value = (torch.randn(2, 3, n, 8, requires_grad=True) for n in (5, 7, 7))
    with FlopCounterMode(display=False, custom_mapping=train_count.FORMULAS) as counter:
        y = nn.functional.scaled_dot_product_attention(query, key, value)
        assert counter.get_total_flops() == 2 * 2 * (2 * 3 * 5 * 7 * 8)
        y.sum().backward()
    # derivatives of both products, and where the kernel kept none, the scores once more
    assert counter.get_total_flops() in (6 * 2 * 1680, 7 * 2 * 1680)


def test_the_flop_of_a_window_are_those_of_its_days(config, monkeypatch):
    def single(_, inputs, outputs, mask, periodic):
        return nn.Conv2d(inputs, outputs, 3, padding=1)

    monkeypatch.setattr("hybridom.stepper.build", single)
    config = with_overrides(config, ["networks.ilap.name=none"])
    flop, size = counted(config, days=3)
    nz, cells, forcing = 4, 15 * 30, 2 * 3
    outputs = 4 * nz + 1
    inputs = 3 * outputs + forcing + 5
    day = 2 * cells * 9 * inputs * outputs
    assert flop.forward == 3 * day
    # nothing asks for derivatives with respect to the first day
    assert flop.backward == (1 + 2 + 2) * day and flop.recomputed == 0
    parameters = 9 * inputs * outputs + outputs
    assert size.weights >= 4 * 4 * parameters
    assert size.window == 4 * 2 * 4 * 2 * (outputs + 3) * cells  # batch 2, 4 days, both kinds


def test_what_is_recomputed_is_counted_and_saves_memory(config):
    keep, keep_size = counted(config, 2)
    again = ["networks.ilap.checkpoint=true", "networks.state.checkpoint=true"]
    recompute, size = counted(with_overrides(config, again), 2)
    assert (recompute.forward, recompute.backward) == (keep.forward, keep.backward)
    assert keep.recomputed == 0 < recompute.recomputed < keep.forward
    assert recompute.useful == keep.forward + keep.backward
    assert size.step < 0.7 * keep_size.step and size.window == keep_size.window


def test_storages_are_counted_once_and_while_they_live():
    known = torch.ones(1000)
    living = train_count.Living()
    living.know([known])
    with living:
        x = known * 2  # 4000 bytes
        y = x.view(10, 100)[2:]
        z = y + 1  # 3200
        assert living.now == 7200
        del x, y
        assert living.now == 3200
        known.add_(1)
        z = z.double()  # 6400 beside the 3200
        assert living.now == 6400
    assert living.most == 9600


def test_parts_follow_one_another(monkeypatch):
    clock = itertools.count(0.0, 1.0)
    monkeypatch.setattr("hybridom.bench.train_parts.mark", lambda _: next(clock))
    timeline = Timeline(CPU)
    for part in ("update", "data", "glue", "state", "glue", "backward"):
        timeline.begin(part)
    timeline.move("update")  # at 6
    timeline.move("update")  # at 7, which is when it really begins
    found = timeline.seconds()
    assert found["glue"] == 2 and found["state"] == 1 and found["backward"] == 2
    assert found["update"] == 1 + 1 and sum(found.values()) == 8


def test_the_parts_of_a_step_are_the_step(config, sea):
    with open_scene(config, 2, "memory", 0) as scene:
        trial = Trial(with_overrides(config, train.STILL), scene, CPU)

        def slow():
            for batch in scene.batches:
                time.sleep(0.1)
                yield batch

        model = trial.optimisation.model
        terms = dict(model.named_children())
        trial.step(scene.batches)
        begin = time.perf_counter()
        parts = trial.parts(slow())
        whole = time.perf_counter() - begin
        assert parts["data"] >= 0.1
        assert 0.9 * whole < sum(parts.values()) <= whole
        assert all(parts[p] > 0 for p in ("skeleton", "ilap", "state", "loss", "backward"))
        # nothing is left behind that would be measured with the next step
        assert dict(model.named_children()) == terms
        seconds, waiting = trial.step(slow())
        assert 0.1 <= waiting < seconds


def test_waiting_is_counted():
    def slow():
        for n in range(3):
            time.sleep(0.02)
            yield n

    waiting = Waiting(slow())
    assert list(waiting) == [0, 1, 2]
    assert waiting.seconds >= 0.06


def test_layers_that_begin_at_zero_are_filled_and_no_others():
    layers = nn.Sequential(nn.Conv2d(2, 3, 1), nn.Conv2d(3, 2, 1))
    nn.init.zeros_(layers[1].weight)
    before = layers[0].weight.clone()
    fill_zeros(layers)
    assert torch.equal(layers[0].weight, before)
    assert 0 < layers[1].weight.abs().max() < 0.01


def known_count(*_: object):
    """In the place of a count that takes seconds."""
    return train_count.Flop(20, 40, 10), train_count.Bytes(1_000_000, 2_000_000, 3_000_000)


def test_a_variant_that_fails_says_why_and_the_others_are_measured(config, monkeypatch):
    monkeypatch.setattr(train, "count", known_count)

    def step(self, batches):
        if self.config.skeleton.kernels == "fused" and self.taken == 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore")
        return original(self, batches)

    original = Trial.step
    monkeypatch.setattr(Trial, "step", step)
    monkeypatch.setitem(VARIANTS, "cheap", ("networks.state.embed=12",))
    result = train.bench_train(config, ["reference", "fused", "cheap"], 1, 1, "memory")
    reference, fused, cheap = result["variants"].values()
    assert fused["skipped"] == "CUDA out of memory. Tried to allocate 2.00 GiB."
    assert "embed = 12" in cheap["skipped"] and "median" not in cheap
    assert reference["times_first"] == 1 and "median" not in fused
    assert reference["tflop_per_s"] == pytest.approx(60e-12 * 2 / reference["median"])
    text = table(result)
    assert fused["skipped"] in text and cheap["skipped"] in text


def test_what_would_not_fit_is_not_tried(config, monkeypatch):
    monkeypatch.setattr(train, "count", known_count)
    monkeypatch.setattr(memory, "available_memory", lambda: 5.0)
    result = train.bench_train(config, ["reference"], 1, 1, "memory")
    row = result["variants"]["reference"]
    assert re.fullmatch(r"needs 0\.0 GB by count, 0\.0 GB are at hand", row["skipped"])
    assert row["flop"]["forward"] == 20 and row["skipped"] in table(result)


def test_stores_that_would_be_too_large_are_not_written(config, tmp_path):
    with open_scene(config, 2, "synthetic", 0.1, tmp_path) as scene:
        assert scene.source == "memory" and "0 MB, over --store-mb 0" in str(scene.note)
        assert scene.rate(2) is None and list(tmp_path.iterdir()) == []
        assert next(scene.batches).state.thetao.shape == (2, 3, 4, 15, 30)


def test_stores_hold_the_days_that_are_kept_in_memory(config, sea, tmp_path):
    with open_scene(config, 1, "synthetic", 100, tmp_path) as scene:
        assert scene.windows == 8 and scene.rate(2) > 0
        stored = next(scene.batches)
        kept = batch_in_memory(sea, config, 1)
        for name, x in stored.state.items():
            y = getattr(kept.state, name)
            # windows begin on days of both kinds
            same = [torch.equal(a, y[0]) or torch.equal(a, y[0].flip(0)) for a in x]
            assert all(same), name
        assert not torch.equal(stored.state.so[0, 0], stored.state.so[0, 1])
        assert len(list(tmp_path.iterdir())) == 1
    assert list(tmp_path.iterdir()) == []


def test_stores_of_ones_own_are_read_as_configured(tmp_path, capsys):
    world = tiny_world.make_world(tmp_path)
    own, _ = world.config()
    with open_scene(own, 2, "stores", 0) as scene:
        assert scene.source == "stores" and scene.windows == 38  # 40 days of the period
        assert (scene.wet == world.wet).all()
        found = Trial(own, scene, CPU).step(scene.batches)
        assert found[0] > found[1] > 0
    words = ["bench", "train", "--config", str(CONFIG), "--data", "stores"]
    missing = ["--set", f"paths.resources={tmp_path}/none"]
    assert main([*words, *missing]) == EXIT_USER_ERROR
    assert "grid.nc" in capsys.readouterr().err


def test_variants_are_names_in_their_order():
    assert require_variants("fused,reference") == ["fused", "reference"]
    with pytest.raises(UserError, match="'' is unknown; known are configured, reference"):
        require_variants("")
    with pytest.raises(UserError, match="once"):
        require_variants("bf16,bf16")


@pytest.mark.parametrize("name", VARIANTS)
def test_variants_override_what_they_say(config, name):
    changed = with_overrides(config, VARIANTS[name])
    assert (changed == config) == (name == "configured")
    assert changed.networks.compile == (name == "compiled")
    assert changed.networks.state.skip == ("add" if name == "cheap" else "concat")
    low = name in ("bf16", "compiled", "cheap")
    assert (changed.networks.precision == "bfloat16") == changed.networks.channels_last == low


def test_torchrun_is_refused(config, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="without torchrun"):
        train.bench_train(config, ["reference"], 1)


def test_without_networks_there_is_nothing_to_measure(config):
    none = with_overrides(config, ["networks.ilap.name=none", "networks.state.name=none"])
    with open_scene(none, 1, "memory", 0) as scene, pytest.raises(UserError, match="nothing to"):
        Trial(none, scene, CPU)
    found = train.count_train(none, ["configured"], 1)["variants"]["configured"]
    assert found["skipped"] == "all networks are switched off: nothing to train"


def test_a_peak_is_two_flop_a_sum(monkeypatch):
    assert peak.measured_peak(CPU, "float32") > 0
    monkeypatch.setattr(peak, "spans", lambda marks, device: [0.5])
    assert peak.measured_peak(CPU, "bfloat16") == pytest.approx(2 * 64**3 / 0.5 / 1e12)
    assert peak.arithmetic("float32", CPU) == "float32"
    assert peak.arithmetic("bfloat16", torch.device("cuda")) == "bfloat16"
    assert peak.vendor_peak("NVIDIA H100 80GB HBM3", "bfloat16") == 989.4
    assert peak.vendor_peak("AMD EPYC", "float32") is None

"""How fast the configured model trains, and what a step of training is made of.

The JSON object of `bench_train` holds
    device, threads             where it ran
    torch, numba, triton        versions; null where a package is absent
    grid, wet_share             [levels, rows, columns], and the part of the cells that is ocean
    days, batch, accumulate     days unrolled, windows a micro-batch, micro-batches a step
    substeps, repeats           of the numerical ocean a day; timed turns of each variant
    data                        source (see `train_data.open_scene`), note, windows (different
                                ones), window_mb, workers, samples_per_second (of the loader with
                                nothing else to do; null without stores)
    variants                    name -> what was measured
and for each variant
    overrides                   what it changes in the configuration
    precision, arithmetic       of the networks; what their products compute in
    kernels, channels_last, compile, checkpoint
                                checkpoint: networks that recompute activations
    parameters                  component -> trainable numbers
    flop                        forward, backward, recomputed: FLOP of the networks for a window
    counted_memory_mb           weights, window, step, total: see `train_count.Bytes`
    start_memory_mb             memory before the variant was there,
    peak_memory_mb              and the most in its first two steps: of a GPU what torch's allocator
                                gave out (peak_reserved_mb: what it held), else of the process
    first_seconds               making the model and its first step, compilation included
    seconds                     of every timed step
    median, fastest             s a step
    samples_per_second, days_per_second
                                windows, and days of windows, by the median
    times_first                 samples_per_second over that of the first variant
    waiting_percent             part of the timed steps spent waiting for data
    tflop_per_s                 flop without recomputing, by the median
    peak_tflop_per_s            of a large matrix product, measured here in the same arithmetic
    peak_percent                tflop_per_s over it
    vendor_tflop_per_s, vendor_percent
                                the same of the vendor's number; null where that is not known
    parts                       part of a step (`train_parts`) -> s, medians of steps of their own
or skipped, the reason why the variant could not be measured.
"""

from __future__ import annotations

import logging
import os
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from hybridom.bench.bandwidth import device_name
from hybridom.bench.core import version
from hybridom.bench.ocean import InventedOcean
from hybridom.bench.peak import measured_peak, vendor_peak
from hybridom.bench.step import MEGABYTE, unit_statistics
from hybridom.bench.train_count import Bytes, Flop, count
from hybridom.bench.train_data import Scene, Source, open_scene
from hybridom.bench.train_trial import Trial, first_step, forget_garbage, require_memory, traits
from hybridom.bench.train_variants import VARIANTS, with_overrides
from hybridom.bench.variants import attempt
from hybridom.config import Config
from hybridom.errors import UserError
from hybridom.grid import Grid, Mask

log = logging.getLogger(__name__)

# Weights hardly move: invented days teach nothing, and a model that learned them might blow up.
STILL = ("training.learning_rate=1e-12", "training.final_learning_rate=0")

Found = dict[str, dict[str, Any]]


def bench_train(
    config: Config,
    variants: Sequence[str],
    repeats: int,
    days: int | None = None,
    source: Source = "synthetic",
    store_mb: float = 4000.0,
    folder: Path | None = None,
) -> dict[str, Any]:
    """Measure training; the head of this file describes what is returned.

    Args:
        config: The configuration.
        variants: Of `train_variants.VARIANTS`.
        repeats: Timed turns of each variant, one after another.
        days: Days to unroll; None for those of the last stage of the curriculum.
        source: Where the data come from, see `train_data.open_scene`.
        store_mb: Largest size of synthetic stores before compression, MB.
        folder: Where temporary stores lie; None for the system's folder.

    Raises:
        UserError: As `open_scene`; torchrun started several processes.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError("bench train: one process is measured; start it without torchrun")
    days = days or config.training.curriculum[-1].days
    config = with_overrides(config, STILL)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with open_scene(config, days, source, store_mb, folder) as scene:
        alone = scene.rate(config.training.batch)
        found, trials = _prepare(config, scene, variants, days, device)
        _time(found, trials, scene, repeats)
        _take_apart(found, trials, scene, repeats)
    windows = config.training.batch * config.training.accumulate
    peaks: dict[str, float] = {}
    for row in found.values():
        if "skipped" not in row:
            _add_rates(row, windows, days, device, peaks)
    _compare(found)
    return {
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        **_circumstances(config, scene.grid, scene.wet, days),
        "repeats": repeats,
        "data": {
            "source": scene.source,
            "note": scene.note,
            "windows": scene.windows,
            "window_mb": scene.window_mb,
            "workers": config.training.num_workers if scene.source != "memory" else 0,
            "samples_per_second": alone,
        },
        "variants": found,
    }


def count_train(config: Config, variants: Sequence[str], days: int | None = None) -> dict[str, Any]:
    """Count FLOP and memory of a step without taking it, for any device.

    Args: As `bench_train`.

    Returns:
        As `bench_train`, without device and data; of each variant `overrides`, `flop` and
        `counted_memory_mb`, or `skipped`.
    """
    days = days or config.training.curriculum[-1].days
    box = config.grid
    grid = Grid.regular(box.resolution, box.lat, box.lon, box.depths)
    wet = InventedOcean(grid).wet
    scales = unit_statistics(grid.nz, config.forcing_names)
    found: Found = {}
    for name in variants:

        def counted(overrides: Sequence[str] = VARIANTS[name]) -> dict[str, Any]:
            return _counted(*count(with_overrides(config, overrides), grid, wet, scales, days))

        found[name] = {"overrides": list(VARIANTS[name])} | attempt(counted)
    return _circumstances(config, grid, wet, days) | {"variants": found}


def _circumstances(config: Config, grid: Grid, wet: Mask, days: int) -> dict[str, Any]:
    return {
        **{name: version(name) for name in ("torch", "numba", "triton")},
        "grid": list(grid.shape),
        "wet_share": float(wet.mean()),
        "days": days,
        "batch": config.training.batch,
        "accumulate": config.training.accumulate,
        "substeps": config.skeleton.substeps if config.skeleton.enabled else 0,
    }


def _prepare(
    config: Config, scene: Scene, variants: Sequence[str], days: int, device: torch.device
) -> tuple[Found, dict[str, Trial]]:
    """Count each variant, make it, and take its first step."""
    found: Found = {}
    trials: dict[str, Trial] = {}
    for name in variants:
        found[name] = {"overrides": list(VARIANTS[name])}
        counted: list[Any] = []

        def begin(name: str = name, counted: list[Any] = counted) -> dict[str, Any]:
            variant = with_overrides(config, VARIANTS[name])
            counted += count(variant, scene.grid, scene.wet, scene.statistics, days)
            require_memory(counted[1], device)
            trial, row = first_step(variant, scene, device)
            trials[name] = trial
            return traits(trial) | row

        found[name] |= attempt(begin)
        if counted:
            found[name] |= _counted(*counted)
        seconds = found[name].get("first_seconds")
        outcome = found[name].get("skipped") or f"the first step took {seconds:.1f} s"
        log.info("%s: %s", name, outcome)
        forget_garbage(device)
    return found, trials


def _counted(flop: Flop, bytes_: Bytes) -> dict[str, Any]:
    sizes = asdict(bytes_) | {"total": bytes_.total}
    return {
        "flop": asdict(flop),
        "counted_memory_mb": {name: size / MEGABYTE for name, size in sizes.items()},
    }


def _time(found: Found, trials: dict[str, Trial], scene: Scene, repeats: int) -> None:
    """Time all variants in turn."""
    steps: dict[str, list[tuple[float, float]]] = {name: [] for name in trials}

    def turn(trial: Trial, taken: list[tuple[float, float]]) -> dict[str, Any]:
        # What was made in advance while another variant computed would hide the waiting.
        lead = scene.lead // trial.config.training.accumulate
        for _ in range(lead):
            trial.step(scene.batches)
        taken += [trial.step(scene.batches) for _ in range(max(1, lead))]
        return {}

    for _ in range(repeats):
        _each(found, trials, lambda name, trial: turn(trial, steps[name]))
    for name in trials:
        seconds, waiting = zip(*steps[name], strict=True)
        found[name] |= {
            "seconds": list(seconds),
            "median": statistics.median(seconds),
            "fastest": min(seconds),
            "waiting_percent": 100 * sum(waiting) / sum(seconds),
        }


def _take_apart(found: Found, trials: dict[str, Trial], scene: Scene, repeats: int) -> None:
    """Time the parts of a step, in steps of their own."""
    for _ in range(scene.lead if trials else 0):
        next(scene.batches)

    def parts(trial: Trial) -> dict[str, Any]:
        taken = [trial.parts(scene.batches) for _ in range(repeats)]
        return {"parts": {p: statistics.median(t[p] for t in taken) for p in taken[0]}}

    _each(found, trials, lambda _, trial: parts(trial))


def _each(
    found: Found, trials: dict[str, Trial], work: Callable[[str, Trial], dict[str, Any]]
) -> None:
    """Do some work with every variant; one that fails says why and takes no further part."""
    for name in list(trials):
        row = attempt(lambda name=name: work(name, trials[name]))  # type: ignore[misc]
        found[name] |= row
        if "skipped" in row:
            del trials[name]
            forget_garbage(next(iter(trials.values())).device if trials else None)


def _add_rates(
    row: dict[str, Any], windows: int, days: int, device: torch.device, peaks: dict[str, float]
) -> None:
    """Add what follows from the median; `peaks` keeps measured peaks by arithmetic."""
    kind = row["arithmetic"]
    if kind not in peaks:
        peaks[kind] = measured_peak(device, kind)
    samples = windows / row["median"]
    useful = row["flop"]["forward"] + row["flop"]["backward"]
    speed = samples * useful / 1e12
    vendor = vendor_peak(device_name(device), kind)
    row |= {
        "samples_per_second": samples,
        "days_per_second": samples * days,
        "tflop_per_s": speed,
        "peak_tflop_per_s": peaks[kind],
        "peak_percent": 100 * speed / peaks[kind],
        "vendor_tflop_per_s": vendor,
        "vendor_percent": None if vendor is None else 100 * speed / vendor,
    }


def _compare(found: Found) -> None:
    """Add the ratios to the first variant, where that could be measured."""
    first = next(iter(found.values())).get("samples_per_second")
    for row in found.values():
        if first is not None and "samples_per_second" in row:
            row["times_first"] = row["samples_per_second"] / first

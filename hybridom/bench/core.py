"""How long the skeleton's day takes in its plain, compiled and fused form, beside the hardware.

The JSON object of `bench_core` holds
    device, threads             where it ran
    torch, numba, triton        versions; null where a package is absent
    grid, wet_share             [levels, rows, columns], and the part of the cells that is ocean
    dtype, substeps, scheme, advection
    fastest_current             m s-1
    transport_number            largest of a substep, and
    transport_limit             the largest stable one
    bandwidth_gb_per_s          memory bandwidth by a triad, the better of before and after
    floor                       read, written: field to bytes of a substep; stages of a substep;
                                bytes of a day; seconds that they take at the bandwidth
    repeats                     timed turns of each form
    variants                    form of the day -> phase -> what was measured
and for the phases forward (without a graph) and forward_backward
    seconds                     of every timed day
    median, fastest             s
    times_plain                 median of the plain form over this one
    floor_percent               floor's seconds over the median, in per cent
    backward                    median, times_plain and floor_percent of the part after the forward
                                pass (forward_backward only)
    start_memory_mb             memory before the first day,
    peak_memory_mb              and the most during it, in a process of its own (a GPU's: in this)
    kept_mb                     what the graph keeps for the backward pass (forward_backward only)
    first_seconds               first day in that process, compilation included
    difference                  largest difference of a result (of a gradient) from the plain form,
                                as a part of the largest value of that field
or skipped, the reason why a form or a phase could not be measured. What needs the plain form is
absent where that was not asked for.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, Any

import torch

from hybridom.bench.bandwidth import (
    GIGABYTE,
    STREAM_BYTES,
    day_floor,
    device_name,
    mark,
    spans,
    triad_bandwidth,
)
from hybridom.bench.variants import (
    PHASES,
    Case,
    Day,
    Job,
    Results,
    first_day,
    first_day_on_gpu,
)

if TYPE_CHECKING:
    from hybridom.config import Config, StageConfig

TURN = 0.5  # s; a form that is faster takes several days in its turn, most of them with warm caches
CACHE = "TORCHINDUCTOR_CACHE_DIR"

Found = dict[str, dict[str, dict[str, Any]]]


def bench_core(
    config: Config | StageConfig,
    variants: Sequence[str],
    repeats: int,
    dtype: torch.dtype = torch.float32,
    stream_bytes: int = STREAM_BYTES,
) -> dict[str, Any]:
    """Measure the skeleton's day; the head of this file describes what is returned.

    Args:
        config: With the sections grid, forcing and skeleton.
        variants: Forms of the day, of `variants.VARIANTS`.
        repeats: Timed turns of each form.
        dtype: Type of all numbers.
        stream_bytes: Size of each array of the triad.

    Raises:
        UserError: The configured substeps are too long for any current.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    case = Case(config, dtype, device)
    with _empty_compile_cache():
        found: Found = {
            variant: {p: _first_day(config, case, variant, p) for p in PHASES}
            for variant in variants
        }
        before = triad_bandwidth(device, dtype, stream_bytes)
        _time(case, found, repeats)
    bandwidth = max(before, triad_bandwidth(device, dtype, stream_bytes))
    floor = day_floor(case.grid.shape, case.config, dtype)
    seconds = floor.day / bandwidth
    _compare(found, seconds)
    return {
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        **{name: version(name) for name in ("torch", "numba", "triton")},
        "grid": list(case.grid.shape),
        "wet_share": float(case.wet.mean()),
        "dtype": str(dtype).removeprefix("torch."),
        **case.config.model_dump(include={"substeps", "scheme", "advection"}),
        "fastest_current": case.speed,
        "transport_number": case.transport_number,
        "transport_limit": case.transport_limit,
        "bandwidth_gb_per_s": bandwidth / GIGABYTE,
        "floor": dataclasses.asdict(floor) | {"seconds": seconds},
        "repeats": repeats,
        "variants": found,
    }


@contextlib.contextmanager
def _empty_compile_cache() -> Iterator[None]:
    """Let `torch.compile` begin with nothing, so that its time is that of a first use."""
    old = os.environ.get(CACHE)
    with tempfile.TemporaryDirectory(prefix="hybridom-bench-") as folder:
        os.environ[CACHE] = folder
        try:
            yield
        finally:
            if old is None:
                del os.environ[CACHE]
            else:
                os.environ[CACHE] = old


def version(package: str) -> str | None:
    """Of an installed package; None where it is absent."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _first_day(
    config: Config | StageConfig, case: Case, variant: str, phase: str
) -> dict[str, Any]:
    """Memory and first time; on a CPU by a new process, since a peak never goes down again."""
    job = Job(config, case.dtype, variant, phase, torch.get_num_threads())
    if case.device.type == "cuda":
        return first_day_on_gpu(job, case)
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            return pool.submit(first_day, job).result()
    except BrokenProcessPool:
        return {"skipped": "the system ended the process, most likely for want of memory"}


def _time(case: Case, found: Found, repeats: int) -> None:
    """Time all forms in turn, after a first day of each, which is compared with the plain form."""
    measured = [(v, p) for v, phases in found.items() for p in PHASES if "skipped" not in phases[p]]
    models = {variant: case.model(variant) for variant, _ in measured}
    plain: dict[str, Results] = {}
    for variant, phase in measured:
        results = _results(case, models[variant], phase)
        if variant == "plain":
            plain[phase] = results
        if phase in plain:
            found[variant][phase]["difference"] = _difference(results, plain[phase])
    days: dict[tuple[str, str], list[list[float]]] = {key: [] for key in measured}
    for _ in range(repeats):
        for variant, phase in measured:
            days[variant, phase] += _turn(case, models[variant], phase)
    for (variant, phase), parts in days.items():
        seconds = [sum(part) for part in parts]
        row = found[variant][phase]
        row |= {"seconds": seconds, "median": statistics.median(seconds), "fastest": min(seconds)}
        if phase == "forward_backward":
            row["backward"] = {"median": statistics.median(part[1] for part in parts)}


def _results(case: Case, model: Day, phase: str) -> Results:
    """Fields after the day, or gradients with respect to the state."""
    return case.forward(model) if phase == "forward" else case.backward(*case.with_graph(model))


def _difference(results: Results, expected: Results) -> float:
    """Largest difference, as a part of the largest value of its field."""
    parts = [
        (a - b).abs().max() / b.abs().max().clamp_min(torch.finfo(b.dtype).tiny)
        for a, b in zip(results, expected, strict=True)
    ]
    return float(torch.stack(parts).max())  # where one is not a number, neither is the largest


def _turn(case: Case, model: Day, phase: str) -> list[list[float]]:
    """Seconds of the parts (forward, backward) of one day, or of several that fill `TURN`."""
    begin = time.perf_counter()
    days: list[list[float]] = []
    while not days or time.perf_counter() - begin < TURN:
        marks = [mark(case.device)]
        if phase == "forward":
            case.forward(model)
        else:
            graph = case.with_graph(model)
            marks.append(mark(case.device))
            case.backward(*graph)
        marks.append(mark(case.device))
        days.append(spans(marks, case.device))
    return days


def _compare(found: Found, floor_seconds: float) -> None:
    """Add the ratios to the plain form and to the floor."""
    plain = found.get("plain", {})
    for phases in found.values():
        for phase, row in phases.items():
            _add_ratios(row, plain.get(phase, {}), floor_seconds)
            part, of_plain = (r.get("backward", {}) for r in (row, plain.get(phase, {})))
            _add_ratios(part, of_plain, floor_seconds)


def _add_ratios(row: dict[str, Any], plain: dict[str, Any], floor_seconds: float) -> None:
    if "median" in row:
        row["floor_percent"] = 100 * floor_seconds / row["median"]
        if "median" in plain:
            row["times_plain"] = plain["median"] / row["median"]


def table(result: dict[str, Any]) -> str:
    """The result of `bench_core` as text."""
    nz, ny, nx = result["grid"]
    floor = result["floor"]
    versions = ", ".join(f"{n} {result[n] or '-'}" for n in ("torch", "numba", "triton"))
    stages = floor["stages"] * result["substeps"]
    lines = [
        f"device    {result['device']}, {result['threads']} threads, {versions}",
        f"ocean     {nz} x {ny} x {nx} cells, {result['wet_share']:.0%} wet, {result['dtype']}",
        f"day       {result['substeps']} substeps of {result['scheme']}, {result['advection']}; "
        f"transport number {result['transport_number']:.2f} of {result['transport_limit']:.2f}",
        f"memory    {result['bandwidth_gb_per_s']:.1f} GB/s by a triad of three arrays",
        f"floor     {floor['day'] / GIGABYTE:.3f} GB a day in {stages} passes: "
        f"{floor['seconds']:.4f} s",
        "",
        f"{'':10}{'':19}{'s a day':>9}{'fastest':>9}{'x plain':>9}{'floor %':>9}{'peak MB':>9}"
        f"{'kept MB':>9}{'first s':>9}{'differs':>9}",
    ]
    for variant, phases in result["variants"].items():
        for phase, row in phases.items():
            head = f"{variant:10}{phase.replace('_', ' + '):19}"
            lines.append(head + (_cells(row) if "skipped" not in row else f"  {row['skipped']}"))
            if "backward" in row:
                lines.append(f"{variant:10}{'  backward alone':19}{_cells(row['backward'])}")
    return "\n".join(lines)


def _cells(row: dict[str, Any]) -> str:
    formats = {
        "median": ".4f",
        "fastest": ".4f",
        "times_plain": ".2f",
        "floor_percent": ".1f",
        "peak_memory_mb": ".0f",
        "kept_mb": ".1f",
        "first_seconds": ".1f",
        "difference": ".0e",
    }
    return "".join(f"{format(row[n], f) if n in row else '-':>9}" for n, f in formats.items())

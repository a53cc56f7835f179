"""Memory, arithmetic and hours of training and of forecasts."""

from __future__ import annotations

from collections.abc import Sequence

from hybridom.config import Config
from hybridom.data.history import WORKING_BYTES
from hybridom.grid import Grid
from hybridom.operations.cost_item import EXA, GIGA, TERA, Cost
from hybridom.operations.cost_trace import Trace
from hybridom.variables import PROGNOSTIC, VARIABLES

FLOAT = 4  # bytes
SKELETON_FLOP = 100.0  # of a cell and pass, counted from the equations (docs/performance.md)
BACKWARD = 2.0  # arithmetic of a backward pass over that of its forward pass
HOUR = 3600.0
# Resident memory of one process by itself, measured on a CPU: of a stage of preparation, of a rank
# of training, and of a loader process.
STAGE, RANK, LOADER = 0.4e9, 1.2e9, 0.5e9
PREFETCH = 2  # batches that a loader process makes in advance
TENSOR_BYTES = 300  # around each tensor of a checkpoint, measured
SMALL_BYTES = 16e3  # of its grid, statistics and plain values, measured


def host_memory(config: Config, grid: Grid) -> list[Cost]:
    """Main memory of preparation and of training.

    Args:
        config: The configuration.
        grid: Its grid.
    """
    days = config.periods.train.length
    day = _day_bytes(grid, (*PROGNOSTIC, *config.forcing_names))
    working = min(float(WORKING_BYTES), days * day)
    settings = config.training
    outer = 0.0 if config.region is None else _day_bytes(grid, PROGNOSTIC)
    window = (_longest(config) + 1) * (2 * day + outer)
    # The driver's analyses are held on the cells of the region.
    held = (days + config.periods.validation.length + 365) * day + days * outer
    cache = held if settings.cache == "memory" else 0.0
    loaders = settings.num_workers * (LOADER + PREFETCH * settings.batch * window)
    rank = RANK + cache + loaders + 2 * settings.batch * window
    return [
        Cost(
            "memory",
            "host, one stage of preparation",
            (STAGE + working) / GIGA,
            "GB",
            "estimated",
            "0.4 GB of the process (measured) + at most 2.4 GB of sums, the limit in the code",
        ),
        Cost(
            "memory",
            f"host, training, {settings.ranks} processes",
            settings.ranks * rank / GIGA,
            "GB",
            "estimated",
            "each 1.2 GB (measured without CUDA, whose libraries add 2 to 3) + loaders, "
            f"{settings.num_workers} x (0.5 GB + 2 batches) + 2 batches"
            + (" + all days in memory" if cache else "")
            + (" + those of the driver" if cache and outer else ""),
        ),
    ]


def gpu_memory(config: Config, found: Trace) -> list[Cost]:
    """Memory of one GPU in training.

    Args:
        config: The configuration.
        found: Its trace.
    """
    days = _longest(config)
    sharded = config.training.parallel == "fsdp" and config.training.ranks > 1
    weights = found.weights / (config.training.ranks if sharded else 1)
    step = found.window.of(days) + found.step.of(days)
    sizes = ", ".join(f"{name} {size:,}" for name, size in found.parameters.items())
    bytes_ = "weights, 2 moments" + (", average" if config.training.ema > 0 else "")
    return [
        Cost("memory", "parameters", float(found.size), "", "counted", sizes),
        Cost(
            "memory",
            "GPU, weights and optimiser",
            weights / GIGA,
            "GB",
            "counted",
            f"4 bytes x parameters x ({bytes_}), and constants"
            + (f", shared by {config.training.ranks} GPUs" if sharded else ""),
        ),
        Cost(
            "memory",
            f"GPU, {config.training.batch} window(s) of {days} days",
            step / GIGA,
            "GB",
            "estimated",
            "batch, activations, gradients: all tensors that live at once, traced for 1 and 2 "
            f"days and continued to {days}",
        ),
        Cost(
            "memory",
            "GPU, both",
            (weights + step) / GIGA,
            "GB",
            "estimated",
            "their sum; kernels' own memory, gaps and CUDA come on top: plan a third more",
        ),
    ]


def checkpoints(config: Config, grid: Grid, found: Trace) -> list[Cost]:
    """Resumable checkpoints on the disk.

    Args:
        config: The configuration.
        grid: Its grid.
        found: Its trace.
    """
    size = checkpoint_bytes(config, grid, found)
    policy = config.training.checkpoint
    forever = 0 if policy.every is None else _steps(config) // policy.every
    number = policy.keep + int(policy.best) + forever
    copies = "weights, 2 moments" + (", average" if config.training.ema > 0 else "")
    return [
        Cost(
            "storage",
            "one resumable checkpoint",
            size / GIGA,
            "GB",
            "counted",
            f"4 bytes x parameters x ({copies}), mask and constants",
        ),
        Cost(
            "storage",
            "all checkpoints that are kept",
            (number * size + final_bytes(grid, found)) / GIGA,
            "GB",
            "counted",
            f"newest {policy.keep}, best {int(policy.best)}, forever {forever} and the result; "
            "one more while it is written",
        ),
    ]


def checkpoint_bytes(config: Config, grid: Grid, found: Trace) -> float:
    """Bytes of one resumable checkpoint."""
    copies = 2 + (config.training.ema > 0)
    tensors = (copies + 1) * found.tensors  # each with the count of its steps
    return final_bytes(grid, found) + copies * FLOAT * found.size + tensors * TENSOR_BYTES


def final_bytes(grid: Grid, found: Trace) -> float:
    """Bytes of the checkpoint that a finished training leaves, with its mask (a byte a cell)."""
    nz, ny, nx = grid.shape
    return found.stored + nz * ny * nx + found.tensors * TENSOR_BYTES + SMALL_BYTES


def arithmetic(config: Config, grid: Grid, found: Trace) -> list[Cost]:
    """Operations of a step and of the whole training.

    Args:
        config: The configuration.
        grid: Its grid.
        found: Its trace.
    """
    rows = []
    for days in sorted({stage.days for stage in config.training.curriculum}):
        rows.append(
            Cost(
                "work",
                f"one window of {days} day{'s' if days > 1 else ''}, networks",
                found.flop(days) / TERA,
                "TFLOP",
                "counted",
                "forward + backward, 2 for each multiplication and addition; without what "
                "checkpointing does again",
            )
        )
    days = _longest(config)
    skeleton = days * (1 + BACKWARD) * skeleton_flop(config, grid)
    rows.append(
        Cost(
            "work",
            f"the same {days} days, numerical ocean",
            skeleton / TERA,
            "TFLOP",
            "estimated",
            "100 x cells x substeps, forward and twice that backward; it waits for memory, not "
            "for arithmetic",
        )
    )
    settings = config.training
    rows.append(
        Cost(
            "work",
            "the whole training",
            training_flop(config, grid, found) / EXA,
            "EFLOP",
            "estimated",
            f"{_steps(config):,} steps x {settings.ranks} ranks x {settings.batch} x "
            f"{settings.accumulate} windows, by stages of the curriculum, and validation",
        )
    )
    return rows


def hours(config: Config, grid: Grid, found: Trace, gpu_tflops: float) -> list[Cost]:
    """GPU hours and hours on the clock.

    Args:
        config: The configuration.
        grid: Its grid.
        found: Its trace.
        gpu_tflops: What a GPU achieves on this model, 1e12 FLOP per second.
    """
    rate = gpu_tflops * TERA
    training = training_flop(config, grid, found) / rate / HOUR
    starts = len(config.forecast.start_dates())
    days = starts * config.forecast.days
    forecasts = days * (found.forward.more + skeleton_flop(config, grid)) / rate / HOUR
    ranks = config.training.ranks
    return [
        Cost(
            "hours",
            "training",
            training,
            "GPU h",
            "estimated",
            f"operations / {gpu_tflops:g} TFLOP/s (--gpu-tflops); waiting for data comes on top",
        ),
        Cost(
            "hours",
            f"training on {ranks} GPU{'s' if ranks > 1 else ''}, on the clock",
            training / ranks,
            "h",
            "estimated",
            "GPU hours / training.ranks, as if nothing were lost between GPUs",
        ),
        Cost(
            "hours",
            "making the forecasts",
            forecasts,
            "GPU h",
            "estimated",
            f"{starts} starts x {config.forecast.days} days x forward operations / "
            f"{gpu_tflops:g} TFLOP/s; reading and writing come on top",
        ),
    ]


def training_flop(config: Config, grid: Grid, found: Trace) -> float:
    """FLOP of the whole training, validation included, recomputing not."""
    settings, ocean = config.training, skeleton_flop(config, grid)
    windows = settings.ranks * settings.batch * settings.accumulate
    steps = sum(
        stage.steps * (found.flop(stage.days) + stage.days * (1 + BACKWARD) * ocean)
        for stage in settings.curriculum
    )
    checks = _steps(config) // settings.validation.every * settings.validation.starts
    return windows * steps + checks * settings.validation.days * (found.forward.more + ocean)


def skeleton_flop(config: Config, grid: Grid) -> float:
    """FLOP of the numerical ocean for a day."""
    if not config.skeleton.enabled:
        return 0.0
    nz, ny, nx = grid.shape
    passes = config.skeleton.substeps * (3 if config.skeleton.scheme == "rk3" else 1)
    return SKELETON_FLOP * nz * ny * nx * passes


def _longest(config: Config) -> int:
    """Days of the longest windows."""
    return max(stage.days for stage in config.training.curriculum)


def _steps(config: Config) -> int:
    return sum(stage.steps for stage in config.training.curriculum)


def _day_bytes(grid: Grid, names: Sequence[str]) -> float:
    """Bytes of a day of some variables in single precision."""
    fields = sum(grid.nz if VARIABLES[name].has_depth else 1 for name in names)
    return float(FLOAT * fields * grid.ny * grid.nx)

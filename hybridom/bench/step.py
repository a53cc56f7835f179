"""How long one model day takes, and how much memory, on random data.

The JSON object of `bench_step` holds
    device, torch, threads      where it ran
    grid                        [levels, rows, columns]
    parameters                  trainable numbers of the model
    batch, days, repeats        windows at once, days unrolled, timed repetitions
    forward, forward_backward   each {"seconds_per_day": median, "fastest": least,
                                "peak_memory_mb": most memory held}
A model day is one day of one window: the time of an unroll over batch x days. Memory is what the
allocator of a GPU held at most; on a CPU it is the largest resident size of the process so far,
which includes Python and PyTorch themselves.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from hybridom.bench import memory
from hybridom.conditions import Conditions
from hybridom.grid import Grid
from hybridom.normalisation import KINDS
from hybridom.state import Forcing, OceanState
from hybridom.stepper import HybridOM
from hybridom.variables import PROGNOSTIC, VARIABLES

if TYPE_CHECKING:
    from hybridom.config import Config, StageConfig

MEGABYTE = 1e6
# Mean and spread of the random fields: a quiet ocean under an ordinary atmosphere, in the units of
# `variables`.
OCEAN = {"thetao": (10.0, 0.1), "so": (35.0, 0.02), "uo": (0.0, 0.01), "vo": (0.0, 0.01)}
ATMOSPHERE = {
    "u10": (0.0, 5.0),
    "v10": (0.0, 5.0),
    "t2m": (285.0, 5.0),
    "msl": (101_325.0, 500.0),
    "d2m": (281.0, 5.0),
    "ssr": (180.0, 30.0),
    "strd": (340.0, 20.0),
    "mtpr": (3e-5, 5e-6),
    "msnlwrf": (-55.0, 20.0),
    "msnswrf": (180.0, 30.0),
    "msshf": (-15.0, 15.0),
    "mslhf": (-90.0, 50.0),
    "metss": (0.0, 0.1),
    "mntss": (0.0, 0.1),
    "mer": (-3.6e-5, 2e-5),
}


@dataclass(frozen=True)
class Case:
    """A model on random data.

    Attributes:
        model: The configured model on an ocean without land.
        state: First state, (batch, nz, ny, nx).
        conditions: days + 1 sets of forcing, climatology and, in a region, the driver's states.
    """

    model: HybridOM
    state: OceanState
    conditions: list[Conditions]

    @property
    def days(self) -> int:
        """Days that are unrolled."""
        return len(self.conditions) - 1

    @property
    def batch(self) -> int:
        """Windows at once."""
        return self.state.zos.shape[0]

    def forward(self) -> None:
        """Unroll without gradients."""
        with torch.no_grad():
            for _ in self.model.unroll(self.state, self.conditions):
                pass

    def forward_backward(self) -> None:
        """Unroll, and take the gradient of the mean square of every day."""
        self.model.zero_grad(set_to_none=True)
        loss = torch.zeros((), device=self.state.zos.device)
        for state in self.model.unroll(self.state, self.conditions):
            loss = loss + state.channels().square().mean()
        loss.backward()


def build_case(config: Config | StageConfig, days: int, device: torch.device) -> Case:
    """The configured model and random data for it, the same on every call.

    Args:
        config: With the sections grid, forcing, region, skeleton, networks and training.
        days: Days to unroll.
        device: Where everything lies.
    """
    box = config.grid
    grid = Grid.regular(box.resolution, box.lat, box.lon, box.depths)
    wet = np.ones(grid.shape, dtype=bool)
    names = config.forcing_names
    torch.manual_seed(0)
    model = HybridOM(
        grid, wet, unit_statistics(grid.nz, names), names, config.skeleton, config.networks
    ).to(device)
    batch = config.training.batch
    state = random_state(batch, grid, device)
    conditions = [
        Conditions(
            random_forcing(batch, grid, names, device),
            random_state(batch, grid, device),
            random_forcing(batch, grid, names, device),
        )
        for _ in range(days + 1)
    ]
    if config.region is not None:
        # drawn last, so that all else is what it is without a driver
        conditions = [replace(x, outer=random_state(batch, grid, device)) for x in conditions]
    return Case(model, state, conditions)


def unit_statistics(nz: int, forcing_names: tuple[str, ...]) -> dict[str, torch.Tensor]:
    """Statistics with mean 0 and every deviation 1, (nz,) where a variable has depth."""
    shape = {
        name: (nz,) if VARIABLES[name].has_depth else () for name in (*PROGNOSTIC, *forcing_names)
    }
    return {
        f"{name}_{kind}": torch.full(size, 0.0 if kind == "mean" else 1.0, dtype=torch.float64)
        for name, size in shape.items()
        for kind in KINDS
    }


def random_state(batch: int, grid: Grid, device: torch.device) -> OceanState:
    """A random quiet ocean, (batch, nz, ny, nx)."""
    fields = {
        name: mean + spread * torch.randn(batch, *grid.shape, device=device)
        for name, (mean, spread) in OCEAN.items()
    }
    return OceanState(**fields, zos=0.1 * torch.randn(batch, grid.ny, grid.nx, device=device))


def random_forcing(batch: int, grid: Grid, names: tuple[str, ...], device: torch.device) -> Forcing:
    """A random atmosphere, (batch, ny, nx)."""
    fields = {}
    for name in names:
        mean, spread = ATMOSPHERE[name]
        fields[name] = mean + spread * torch.randn(batch, grid.ny, grid.nx, device=device)
    return Forcing(fields)


def peak_memory(device: torch.device) -> float:
    """Most memory held so far, MB (see the head of this file)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / MEGABYTE
    return memory.peak_memory()


def measure(
    work: Callable[[], None], model_days: int, repeats: int, device: torch.device
) -> dict[str, float]:
    """Time `work` `repeats` times, after one run that is not counted."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    seconds = []
    for _ in range(repeats + 1):
        begin = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append((time.perf_counter() - begin) / model_days)
    return {
        "seconds_per_day": statistics.median(seconds[1:]),
        "fastest": min(seconds[1:]),
        "peak_memory_mb": peak_memory(device),
    }


def bench_step(config: Config | StageConfig, days: int, repeats: int) -> dict[str, Any]:
    """Measure the configured model; the head of this file describes what is returned."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    case = build_case(config, days, device)
    model_days = case.batch * case.days
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "grid": list(case.state.thetao.shape[1:]),
        "parameters": sum(p.numel() for p in case.model.parameters() if p.requires_grad),
        "batch": case.batch,
        "days": days,
        "repeats": repeats,
        "forward": measure(case.forward, model_days, repeats, device),
        "forward_backward": measure(case.forward_backward, model_days, repeats, device),
    }


def table(result: dict[str, Any]) -> str:
    """The result of `bench_step` as text."""
    nz, ny, nx = result["grid"]
    lines = [
        f"device      {result['device']}, {result['threads']} threads, torch {result['torch']}",
        f"model       {nz} x {ny} x {nx} cells, {result['parameters']:,} parameters",
        f"work        {result['days']} days of {result['batch']} windows, "
        f"{result['repeats']} repeats",
        "",
        f"{'':18}{'s per model day':>16}{'fastest':>12}{'peak MB':>10}",
    ]
    for key in ("forward", "forward_backward"):
        row = result[key]
        lines.append(
            f"{key.replace('_', ' + '):18}{row['seconds_per_day']:16.4f}{row['fastest']:12.4f}"
            f"{row['peak_memory_mb']:10.0f}"
        )
    return "\n".join(lines)

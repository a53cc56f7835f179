"""One day of the skeleton in its several forms, and the memory that each takes."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from hybridom.bench import memory
from hybridom.bench.ocean import InventedOcean
from hybridom.bench.step import peak_memory, random_forcing
from hybridom.errors import UserError
from hybridom.grid import Grid
from hybridom.physics.skeleton import Skeleton
from hybridom.physics.stability import stability_limit
from hybridom.state import OceanState

if TYPE_CHECKING:
    from hybridom.config import Config, StageConfig

VARIANTS = ("plain", "compiled", "fused")
PHASES = ("forward", "forward_backward")
FASTEST_CURRENT = 1.0  # m s-1, halved until the configured substeps are stable
HALVINGS = 6
SPARE = 0.9  # part of the available memory that a graph may keep

Day = Callable[..., Any]
Results = tuple[Tensor, ...]


def require_variants(text: str) -> list[str]:
    """The forms of the day that are named in `text`, with commas between.

    Raises:
        UserError: One of them is unknown, or none is named.
    """
    names = text.split(",")
    unknown = [name for name in names if name not in VARIANTS]
    if unknown:
        known = ", ".join(VARIANTS)
        raise UserError(f"--variants {text}: {unknown[0]!r} is unknown; known are {known}")
    return [name for name in VARIANTS if name in names]


class Case:
    """The configured skeleton on an invented ocean.

    Attributes:
        grid: The grid.
        wet: Ocean cells (nz, ny, nx).
        state: Start of the day (1, nz, ny, nx).
        speed: Of its fastest current, m s-1.
        transport_number: See `Skeleton.check_stability`.
        transport_limit: Largest stable one.
    """

    def __init__(
        self, config: Config | StageConfig, dtype: torch.dtype, device: torch.device
    ) -> None:
        """Invent the ocean.

        Args:
            config: With the sections grid, forcing and skeleton.
            dtype: Type of all numbers.
            device: Where they lie.

        Raises:
            UserError: The configured substeps are too long even for slow currents.
        """
        box = config.grid
        self.grid = Grid.regular(box.resolution, box.lat, box.lon, box.depths)
        self.dtype, self.device, self.config = dtype, device, config.skeleton
        ocean = InventedOcean(self.grid)
        self.wet = ocean.wet
        self.transport_limit = stability_limit(self.config)
        self.state, self.speed, self.transport_number = self._stable_state(ocean)
        torch.manual_seed(0)
        self.forcing = tuple(
            random_forcing(1, self.grid, config.forcing_names, device).to(dtype) for _ in range(2)
        )

    def model(self, variant: str) -> Day:
        """The skeleton in one of `VARIANTS`; `skeleton.kernels` of the configuration is not used.

        Raises:
            UserError: There is no compiler for `compiled`.
        """
        skeleton = self._skeleton("fused" if variant == "fused" else "plain")
        if variant != "compiled":
            return skeleton
        _require_compiler(self.device)
        return torch.compile(skeleton)

    def forward(self, model: Day) -> Results:
        """Fields after the day."""
        with torch.no_grad():
            return self._call(model, self.state)

    def with_graph(self, model: Day) -> tuple[OceanState, Results]:
        """As `forward`, for a backward pass from the results to the first of what is returned."""
        leaves = self.state.map(lambda x: x.detach().requires_grad_())
        return leaves, self._call(model, leaves)

    def backward(self, leaves: OceanState, results: Results) -> Results:
        """Gradients with respect to the five fields of the state, from random cotangents."""
        fields = [field for _, field in leaves.items()]
        return torch.autograd.grad(results, fields, self.cotangents)

    @cached_property
    def cotangents(self) -> Results:
        """Random derivatives of some loss with respect to the results."""
        shapes = [self.state.thetao, self.state.so, self.state.zos, self.state.thetao]
        return tuple(torch.randn_like(x) for x in shapes)

    def _call(self, model: Day, state: OceanState) -> Results:
        day = model(state, *self.forcing)
        return day.thetao, day.so, day.zos, day.vorticity

    def _skeleton(self, kernels: str) -> Skeleton:
        config = self.config.model_copy(update={"kernels": kernels})
        return Skeleton(self.grid, self.wet, config, self.dtype).to(self.device)

    def _stable_state(self, ocean: InventedOcean) -> tuple[OceanState, float, float]:
        plain = self._skeleton("plain")
        for halvings in range(HALVINGS + 1):
            speed = FASTEST_CURRENT / 2**halvings
            state = ocean.state(speed).to(self.device, self.dtype)
            try:
                return state, speed, plain.check_stability(state)
            except UserError as error:
                refused = error
        raise refused


def _require_compiler(device: torch.device) -> None:
    """Refuse where `torch.compile` has no C++ compiler to hand its loops to."""
    default = "clang++" if sys.platform == "darwin" else "g++"
    compiler = os.environ.get("CXX", default)
    if device.type == "cpu" and shutil.which(compiler) is None:
        raise UserError(f"torch.compile needs a C++ compiler, and there is no {compiler}")


@dataclass(frozen=True)
class Job:
    """One form of the day in one phase, to be run in a process of its own.

    Attributes:
        config: As for `Case`.
        dtype: As for `Case`.
        variant: One of `VARIANTS`.
        phase: One of `PHASES`.
        threads: Of torch.
    """

    config: Config | StageConfig
    dtype: torch.dtype
    variant: str
    phase: str
    threads: int


class Kept:
    """Adds up the distinct storages that a graph keeps for its backward pass.

    Args:
        limit: Bytes above which the graph is given up, before the system ends the process.
    """

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.bytes = 0
        self._uses: Counter[int] = Counter()

    def pack(self, tensor: Tensor) -> _Saved:
        """Hook for what is saved; what the graph drops again is no longer counted."""
        saved = _Saved(tensor, self)
        if self.bytes > self.limit:
            raise MemoryError(f"the graph keeps more than the {self.limit / 1e9:.1f} GB at hand")
        return saved

    def unpack(self, saved: _Saved) -> Tensor:
        """Hook for what is asked for again."""
        return saved.tensor

    def add(self, storage: torch.UntypedStorage, uses: int) -> None:
        """Count one use more of a storage (1), or one less (-1)."""
        key = storage.data_ptr()
        before, after = self._uses[key], self._uses[key] + uses
        self._uses[key] = after
        self.bytes += storage.nbytes() * (bool(after) - bool(before))


class _Saved:
    """A saved tensor, which is counted as long as the graph holds it."""

    def __init__(self, tensor: Tensor, kept: Kept) -> None:
        self.tensor, self._kept = tensor, kept
        kept.add(tensor.untyped_storage(), 1)

    def __del__(self) -> None:
        self._kept.add(self.tensor.untyped_storage(), -1)


def first_day(job: Job) -> dict[str, Any]:
    """Take the first day in this process, on the CPU, and say what memory it took.

    Returns:
        `start_memory_mb` (before the day: Python, torch, grid, state), `peak_memory_mb` (the
        largest during the day), `first_seconds` (with compilation) and, with a backward
        pass, `kept_mb`; or `skipped`, the reason why there is no such day.
    """
    torch.set_num_threads(job.threads)
    limit = SPARE * memory.available_memory() * memory.MEGABYTE
    return attempt(lambda: _day(job, Case(job.config, job.dtype, torch.device("cpu")), limit))


def first_day_on_gpu(job: Job, case: Case) -> dict[str, Any]:
    """As `first_day`, of the memory that torch takes from a GPU, in this process."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(case.device)
    return attempt(lambda: _day(job, case, float("inf")))


def attempt(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The result of `work`, or the reason why a form of the day cannot be had here."""
    try:
        return work()
    except (UserError, MemoryError, torch.OutOfMemoryError) as error:
        reason = str(error)
    except RuntimeError as error:
        # imported late: it takes a hundred megabytes, which would count for every form
        from torch._dynamo.exc import TorchDynamoException

        if not isinstance(error, TorchDynamoException):
            raise
        reason = f"torch.compile: {error}"
    return {"skipped": reason.strip().partition("\n")[0]}


def _day(job: Job, case: Case, limit: float) -> dict[str, Any]:
    model = case.model(job.variant)
    backward = job.phase == "forward_backward"
    if backward:
        _ = case.cotangents  # made here, so that they are there at the start
    kept = Kept(limit)
    memory.forget_peak()
    found = {"start_memory_mb": memory_now(case.device)}
    begin = time.perf_counter()
    if backward:
        with torch.autograd.graph.saved_tensors_hooks(kept.pack, kept.unpack):
            graph = case.with_graph(model)
        found["kept_mb"] = kept.bytes / memory.MEGABYTE
        case.backward(*graph)
    else:
        case.forward(model)
    if case.device.type == "cuda":
        torch.cuda.synchronize(case.device)
    found["first_seconds"] = time.perf_counter() - begin
    return found | {"peak_memory_mb": peak_memory(case.device)}


def memory_now(device: torch.device) -> float:
    """Memory in use, MB: what torch's allocator gave out on a GPU, else that of the process."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device) / memory.MEGABYTE
    return memory.resident_memory()

"""One optimiser step: gradients over a global batch, clipping, update, average."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from hybridom import checkpoint
from hybridom.config import TrainingConfig
from hybridom.errors import UserError
from hybridom.stepper import HybridOM
from hybridom.training.average import Average
from hybridom.training.distributed import Ranks
from hybridom.training.losses import StateLoss
from hybridom.training.monitor import Monitor
from hybridom.training.rollout import Rollout
from hybridom.training.sampler import chunk_seed
from hybridom.training.schedule import Schedule
from hybridom.training.sharding import Shards, share_of, whole
from hybridom.training.stop import GO_ON, SAVE, STOP
from hybridom.variables import PROGNOSTIC

if TYPE_CHECKING:
    from hybridom.data.datasets import Batch


class NotFinite(UserError):
    """The loss or its gradient is not finite; the weights are as before the step."""


@dataclass(frozen=True)
class StepResult:
    """What one optimiser step reports, the same on every process.

    Attributes:
        loss: The number that was minimised.
        errors: Error of each variable, mean over processes, micro-batches, days and windows.
        learning_rate: Rate of the step.
        gradient_norm: Norm of the gradient before clipping.
        gradient_norms: That of each component of the model.
        update_ratios: |w_new - w_old| / |w_old| of each component.
        wait: Seconds in which a process waited for its windows, mean over processes.
        stop: The largest `stop` that a process gave.
    """

    loss: float
    errors: dict[str, float]
    learning_rate: float
    gradient_norm: float
    gradient_norms: dict[str, float]
    update_ratios: dict[str, float]
    wait: float
    stop: int


class Optimisation:
    """Weights, optimiser and average of a run.

    AdamW with decoupled weight decay on matrices and kernels; gains and biases are not decayed.
    Several processes hold all weights each (`training.parallel: ddp`) or shards of them (`fsdp`).

    Args:
        model: The model, with at least one parameter, on the device of `ranks`, and with the same
            weights on every process.
        loss: The loss, on the same device.
        settings: Section `training`.
        ranks: The processes that share each batch.
    """

    def __init__(
        self, model: HybridOM, loss: StateLoss, settings: TrainingConfig, ranks: Ranks
    ) -> None:
        self.model, self.loss, self.settings, self.ranks = model, loss, settings, ranks
        self.rollout = Rollout(model, loss)
        self.parallel: DistributedDataParallel | None = None
        self.shards: Shards | None = None
        components = model.networks()
        if ranks.size > 1 and settings.parallel == "fsdp":
            self.shards = Shards(components.values(), ranks)
        elif ranks.size > 1:
            # Buffers are constants, the same everywhere, and every parameter takes part in every
            # window, so neither broadcasting nor a search for unused ones is needed. The graph is
            # not static: windows grow along the curriculum.
            self.parallel = DistributedDataParallel(
                self.rollout, forward_sync_buffers=False, gradient_as_bucket_view=True
            )
        # Sharding has put others in the place of the parameters that were there.
        self.parameters = dict(model.named_parameters())
        weights = list(self.parameters.values())
        groups: list[dict[str, Any]] = [
            {"params": [p for p in weights if p.ndim > 1]},
            {"params": [p for p in weights if p.ndim <= 1], "weight_decay": 0.0},
        ]
        self.optimiser = torch.optim.AdamW(
            groups, lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.average = Average(weights, settings.ema) if settings.ema > 0 else None
        self.monitor = Monitor(weights, components, ranks, self.shards is not None)
        self.schedule = Schedule(
            settings.learning_rate,
            settings.final_learning_rate,
            settings.warmup_steps,
            sum(stage.steps for stage in settings.curriculum),
        )

    # steps

    def take_step(self, batches: Iterator[Batch], step: int, stop: int) -> StepResult:
        """Take optimiser step `step`, counted from 0.

        Args:
            batches: This process's micro-batches; `accumulate` of them are drawn.
            step: Number of steps taken before.
            stop: What this process asks of all: `GO_ON`, `SAVE` or `STOP`.

        Raises:
            NotFinite: Loss or gradient is not finite, on all processes alike; the weights are as
                before the step.
        """
        self.model.train()
        self.optimiser.zero_grad()
        found, wait = self._accumulate_gradients(batches, step)
        means = torch.cat([found, found.new_tensor([wait])]) / self.ranks.size
        asked = found.new_tensor([stop == SAVE, stop == STOP])
        errors, waits, asked = self.ranks.add(torch.cat([means, asked])).split([len(found), 1, 2])
        norms = self.monitor.gradient_norms()

        # One transfer from the device, and no other before the weights change.
        totals = self.loss.total(errors)[None], self.loss.by_variable(errors)
        loss, *rest = torch.cat([*totals, norms, waits, asked]).tolist()
        by_variable = dict(zip(PROGNOSTIC, rest, strict=False))
        norm, *by_component = rest[len(PROGNOSTIC) : -3]
        require_finite(step + 1, loss, by_variable, norm)

        nn.utils.clip_grads_with_norm_(self.parameters.values(), self.settings.clip, norms[0])
        rate = self.schedule(step)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        ratios = self.monitor.update_ratios(self.optimiser.step)
        if self.average is not None:
            self.average.update()
        self.loss.update(errors)
        return StepResult(
            loss,
            by_variable,
            rate,
            norm,
            dict(zip(ratios, by_component, strict=True)),
            ratios,
            wait=rest[-3],
            stop=STOP if rest[-1] else SAVE if rest[-2] else GO_ON,
        )

    def _accumulate_gradients(self, batches: Iterator[Batch], step: int) -> tuple[Tensor, float]:
        """Backward passes over this process's micro-batches.

        Returns:
            Mean error of each channel (C,), and the seconds spent waiting for windows.
        """
        count = self.settings.accumulate
        errors, wait = torch.zeros((), device=self.ranks.device), 0.0
        for micro in range(count):
            chunk = micro * self.ranks.size + self.ranks.rank
            torch.manual_seed(chunk_seed(self.settings.seed, step, chunk))
            begin = time.perf_counter()
            batch = draw(batches)
            wait += time.perf_counter() - begin
            with self._exchange(last=micro == count - 1):
                found = (self.parallel or self.rollout)(batch.to(self.ranks.device)) / count
                self.loss.total(found).backward()
            errors = errors + found.detach()
        if self.shards is not None:
            self.shards.release()
        return errors, wait

    def _exchange(self, last: bool) -> AbstractContextManager[None]:
        """Let gradients travel between processes once a step, with the last micro-batch."""
        if self.shards is not None:
            self.shards.exchange(last)
        if last or self.parallel is None:
            return nullcontext()
        return self.parallel.no_sync()

    def release(self) -> None:
        """Let go of the group of processes; no further step can be taken.

        Whatever holds the group last takes it down. The reducer of DistributedDataParallel would
        do so without letting go of the interpreter, for which a thread of gloo may wait while it
        tidies up after its last sum: each would wait for the other for ever.
        """
        self.parallel = None

    # weights

    @contextmanager
    def averaged(self) -> Iterator[HybridOM]:
        """The model with the averaged weights, where an average is kept, while the block runs.

        All processes have to enter; inside, each may run the model as often as it likes.
        """
        with nullcontext() if self.average is None else self.average.swapped():
            if self.shards is not None:
                self.shards.gather()
            try:
                yield self.model
            finally:
                if self.shards is not None:
                    self.shards.release()

    def weights(self, averaged: bool) -> dict[str, Tensor]:
        """State of the model, with the averaged weights if so asked and an average is kept.

        Returns:
            Whole tensors on the CPU on the first process, none elsewhere; all have to call this.
            They may share the memory of the model and change with its next step.
        """
        found = dict(self.model.state_dict())
        if averaged and self.average is not None:
            found |= self._average_by_name(self.average)
        return self._on_first(found)

    def start_from(self, weights: Mapping[str, Tensor], path: Path) -> None:
        """Begin with the weights of another run.

        Args:
            weights: State of its model.
            path: Where it comes from, for messages.

        Raises:
            UserError: A weight is missing, unknown or of another shape.
        """
        shares = {name: self._share(name, x) for name, x in weights.items()}
        checkpoint.restore_weights(self.model, shares, path)
        if self.average is not None:
            self.average = Average(list(self.parameters.values()), self.settings.ema)

    def state(self) -> dict[str, Any]:
        """What a resumable checkpoint needs beside the weights of the model.

        Returns:
            Whole tensors on the first process, nothing elsewhere; all have to call this.
        """
        average = None
        if self.average is not None:
            weights = self._on_first(self._average_by_name(self.average))
            average = {"weights": weights, "updates": self.average.updates}
        optimiser = self.optimiser.state_dict()
        moments = {i: self._on_first(x) for i, x in optimiser["state"].items()}
        if not self.ranks.first:
            return {}
        return {
            "average": average,
            "optimiser": optimiser | {"state": moments},
            "loss": self.loss.state(),
        }

    def restore(self, contents: Mapping[str, Any], path: Path) -> None:
        """Inverse of `state`, and the weights of the model.

        Args:
            contents: Contents of a resumable checkpoint of the same configuration, whatever the
                number of processes that wrote it and the way they shared the weights.
            path: Where they come from, for messages.
        """
        self.start_from(contents["model"], path)
        if self.average is not None:
            for name, mean in self._average_by_name(self.average).items():
                mean.copy_(self._share(name, contents["average"]["weights"][name]))
            self.average.updates = contents["average"]["updates"]
        optimiser = contents["optimiser"]
        parameters = [p for group in self.optimiser.param_groups for p in group["params"]]
        moments = {
            i: {k: share_of(x, parameters[i]) if x.ndim else x for k, x in kept.items()}
            for i, kept in optimiser["state"].items()
        }
        self.optimiser.load_state_dict(optimiser | {"state": moments})
        self.loss.restore(contents["loss"])

    def _average_by_name(self, average: Average) -> dict[str, Tensor]:
        return dict(zip(self.parameters, average.weights, strict=True))

    def _share(self, name: str, x: Tensor) -> Tensor:
        """This process's part of a whole entry of the model's state."""
        return share_of(x, self.parameters[name]) if name in self.parameters else x

    def _on_first(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Whole tensors on the CPU of the first process, one after the other; none elsewhere."""
        found = {}
        for name, x in tensors.items():
            gathered = whole(x.detach())
            if self.ranks.first:
                found[name] = gathered.cpu()
        return found


def draw(batches: Iterator[Batch]) -> Batch:
    """The next micro-batch.

    Raises:
        UserError: A window cannot be read, or a loader process was killed.
    """
    try:
        return next(batches)
    except UserError as error:
        # A loader process puts its traceback before the message.
        raise UserError(str(error).rsplit(f"{UserError.__name__}: ", 1)[-1].strip()) from None
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise UserError(
            "training: a loader process was killed, perhaps for want of memory; lower "
            "training.num_workers or ask for more memory, then start again"
        ) from None


def require_finite(step: int, loss: float, errors: dict[str, float], gradient: float) -> None:
    """Refuse to go on with a loss or gradient that is not finite.

    Raises:
        NotFinite: Names the step, and the variables whose error is not finite.
    """
    if math.isfinite(loss) and math.isfinite(gradient):
        return
    if math.isfinite(loss):
        what = f"the gradient norm is {gradient}"
    else:
        names = [name for name, x in errors.items() if not math.isfinite(x)]
        what = f"the loss is {loss} (not finite in {', '.join(names)})"
    raise NotFinite(
        f"training step {step}: {what}; the weights were not changed and earlier checkpoints are "
        "kept; lower training.learning_rate or check the data with `hybridom prepare check`"
    )

"""One optimiser step: gradients over a global batch, clipping, update, average."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from hybridom import checkpoint
from hybridom.config import TrainingConfig
from hybridom.errors import UserError
from hybridom.stepper import HybridOM
from hybridom.training.average import moving_average
from hybridom.training.distributed import Ranks
from hybridom.training.losses import StateLoss
from hybridom.training.rollout import Rollout
from hybridom.training.sampler import chunk_seed
from hybridom.training.schedule import Schedule
from hybridom.variables import PROGNOSTIC

if TYPE_CHECKING:
    from hybridom.data.datasets import Batch


@dataclass(frozen=True)
class StepResult:
    """What one optimiser step reports, the same on every process.

    Attributes:
        loss: Weighted sum of `errors`.
        errors: Error of each variable, mean over processes, micro-batches, days and windows.
        learning_rate: Rate of the step.
        gradient_norm: Norm of the gradient before clipping.
        stop: Whether any process was asked to stop.
    """

    loss: float
    errors: dict[str, float]
    learning_rate: float
    gradient_norm: float
    stop: bool


class Optimisation:
    """Weights, optimiser and average of a run.

    AdamW with decoupled weight decay on matrices and kernels; gains and biases are not decayed.

    Args:
        model: The model, with at least one parameter, on the device of `ranks`.
        loss: The loss, on the same device.
        settings: Section `training`.
        ranks: The processes that share each batch.
    """

    def __init__(
        self, model: HybridOM, loss: StateLoss, settings: TrainingConfig, ranks: Ranks
    ) -> None:
        self.model, self.loss, self.settings, self.ranks = model, loss, settings, ranks
        self.rollout = Rollout(model, loss)
        # Buffers are constants, the same everywhere, and every parameter takes part in every
        # window, so neither broadcasting nor a search for unused ones is needed. The graph is not
        # static: windows grow along the curriculum.
        self.parallel = (
            DistributedDataParallel(self.rollout, forward_sync_buffers=False)
            if ranks.size > 1
            else None
        )
        self.parameters = list(model.parameters())
        groups: list[dict[str, Any]] = [
            {"params": [p for p in self.parameters if p.ndim > 1]},
            {"params": [p for p in self.parameters if p.ndim <= 1], "weight_decay": 0.0},
        ]
        self.optimiser = torch.optim.AdamW(
            groups, lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.average = moving_average(model, settings.ema) if settings.ema > 0 else None
        self.schedule = Schedule(
            settings.learning_rate,
            settings.final_learning_rate,
            settings.warmup_steps,
            sum(stage.steps for stage in settings.curriculum),
        )

    @property
    def best(self) -> HybridOM:
        """The model to validate and to hand out: averaged where an average is kept."""
        if self.average is None:
            return self.model
        return cast(HybridOM, self.average.module)

    def take_step(self, batches: Iterator[Batch], step: int, stop: bool) -> StepResult:
        """Take optimiser step `step`, counted from 0.

        Args:
            batches: This process's micro-batches; `accumulate` of them are drawn.
            step: Number of steps taken before.
            stop: Whether this process was asked to stop.

        Raises:
            UserError: Loss or gradient is not finite; the weights are as before the step.
        """
        self.model.train()
        self.optimiser.zero_grad()
        errors = self._accumulate_gradients(batches, step)
        flag = errors.new_tensor([float(stop)])
        totals = self.ranks.add(torch.cat([errors / self.ranks.size, flag]))
        norm = nn.utils.clip_grad_norm_(self.parameters, self.settings.clip)

        loss = float(self.loss.total(totals[:-1]))
        by_variable = dict(zip(PROGNOSTIC, totals[:-1].tolist(), strict=True))
        require_finite(step + 1, loss, by_variable, float(norm))

        rate = self.schedule(step)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.step()
        if self.average is not None:
            self.average.update_parameters(self.model)
        return StepResult(loss, by_variable, rate, float(norm), bool(totals[-1] > 0))

    def _accumulate_gradients(self, batches: Iterator[Batch], step: int) -> Tensor:
        """Backward passes over this process's micro-batches; mean error of each variable (V,)."""
        count = self.settings.accumulate
        errors = torch.zeros(len(PROGNOSTIC), device=self.ranks.device)
        for micro in range(count):
            chunk = micro * self.ranks.size + self.ranks.rank
            torch.manual_seed(chunk_seed(self.settings.seed, step, chunk))
            batch = next(batches).to(self.ranks.device)
            with self._exchange(last=micro == count - 1):
                found = (self.parallel or self.rollout)(batch) / count
                self.loss.total(found).backward()
            errors += found.detach()
        return errors

    def _exchange(self, last: bool) -> AbstractContextManager[None]:
        """Let gradients travel between processes once a step, with the last micro-batch."""
        if last or self.parallel is None:
            return nullcontext()
        return self.parallel.no_sync()

    def state(self) -> dict[str, Any]:
        """What a resumable checkpoint needs beside the weights of the model."""
        average = None if self.average is None else self.average.state_dict()
        return {"average": average, "optimiser": self.optimiser.state_dict()}

    def restore(self, contents: dict[str, Any], path: Path) -> None:
        """Inverse of `state`, and the weights of the model.

        Args:
            contents: Contents of a resumable checkpoint of the same configuration.
            path: Where they come from, for messages.
        """
        checkpoint.restore_weights(self.model, contents["model"], path)
        if self.average is not None:
            checkpoint.restore_weights(self.average, contents["average"], path)
        self.optimiser.load_state_dict(contents["optimiser"])


def require_finite(step: int, loss: float, errors: dict[str, float], gradient: float) -> None:
    """Refuse to go on with a loss or gradient that is not finite.

    Raises:
        UserError: Names the step, and the variables whose error is not finite.
    """
    if math.isfinite(loss) and math.isfinite(gradient):
        return
    if math.isfinite(loss):
        what = f"the gradient norm is {gradient}"
    else:
        names = [name for name, x in errors.items() if not math.isfinite(x)]
        what = f"the loss is {loss} (not finite in {', '.join(names)})"
    raise UserError(
        f"training step {step}: {what}; the weights were not changed and earlier checkpoints are "
        "kept; lower training.learning_rate or check the data with `hybridom prepare check`"
    )

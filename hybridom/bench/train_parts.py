"""Where the time of an optimiser step goes.

The parts follow one another without a gap, so that they add up to the step:
    data        waiting for the next batch
    copy        from there to the model's first day: moving the batch to the device
    skeleton, gate, ilap, state, loss
                forward, all days together; `gate` in regions that have one, with its correction
    glue        the rest of the forward pass: normalisation, masks, concatenation
    backward    until the last gradient is there; with activation checkpointing it recomputes
                what the forward pass did not keep, with the fused core the day's fields
    update      clipping, AdamW, the moving average, and reading the loss
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from hybridom.bench.bandwidth import mark, spans
from hybridom.data.datasets import Batch
from hybridom.training.optimise import Optimisation

PARTS = (
    *("data", "copy", "skeleton", "gate", "ilap", "state", "loss"),
    *("glue", "backward", "update"),
)
# Attribute of the model -> the part that its forward pass is.
TERMS = {
    "skeleton": "skeleton",
    "gate": "gate",
    "ilap": "ilap",
    "inversion": "ilap",
    "state": "state",
}


class Timeline:
    """Moments at which one part of a step gives way to another.

    Args:
        device: Where the work is done.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._parts: list[str] = []
        self._marks: list[Any] = []

    def begin(self, part: str) -> None:
        """From now on time belongs to `part`."""
        self._parts.append(part)
        self._marks.append(mark(self._device))

    def move(self, part: str) -> None:
        """As `begin`, or the beginning of `part` put off until now where it has begun already."""
        if self._parts[-1] == part:
            self._parts.pop()
            self._marks.pop()
        self.begin(part)

    @property
    def part(self) -> str:
        """What time belongs to."""
        return self._parts[-1]

    def seconds(self) -> dict[str, float]:
        """Seconds of each of `PARTS` until now; waits for the device."""
        marks = [*self._marks, mark(self._device)]
        found = dict.fromkeys(PARTS, 0.0)
        for part, span in zip(self._parts, spans(marks, self._device), strict=True):
            found[part] += span
        return found


class Watched(nn.Module):
    """A term of the model whose forward pass begins a part, and ends it again.

    It takes the term's place, since hooks of a compiled module would be compiled with it.
    """

    def __init__(self, part: str, term: nn.Module, timeline: Timeline) -> None:
        super().__init__()
        self.term = term
        self._part, self._timeline = part, timeline

    def forward(self, *args: Any) -> Any:
        self._timeline.begin(self._part)
        found = self.term(*args)
        self._timeline.begin("glue")
        return found

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("term"), name)


def step_parts(
    optimisation: Optimisation, batches: Iterator[Batch], step: int, device: torch.device
) -> dict[str, float]:
    """Seconds of each of `PARTS` that the model has, in optimiser step `step`, which is taken."""
    timeline = Timeline(device)
    timeline.begin("update")
    with _watched(optimisation, timeline):
        optimisation.take_step(_watched_batches(batches, timeline), step, False)
    found = timeline.seconds()
    if optimisation.model.gate is None:
        del found["gate"]
    return found


def _watched_batches(batches: Iterator[Batch], timeline: Timeline) -> Iterator[Batch]:
    while True:
        timeline.begin("data")
        batch = next(batches)
        timeline.begin("copy")
        yield batch


@contextlib.contextmanager
def _watched(optimisation: Optimisation, timeline: Timeline) -> Iterator[None]:
    """Let the parts of a step be known to `timeline`."""
    model, rollout = optimisation.model, optimisation.rollout
    terms = {n: m for n in TERMS if isinstance(m := getattr(model, n), nn.Module)}
    handles = [
        rollout.register_forward_pre_hook(lambda *_: timeline.begin("glue")),
        rollout.register_forward_hook(lambda *_: timeline.begin("backward")),
        rollout.loss.register_forward_pre_hook(lambda *_: timeline.begin("loss")),
        rollout.loss.register_forward_hook(lambda *_: timeline.begin("glue")),
    ]
    # Whichever parameter comes last ends the backward pass.
    handles += [
        p.register_post_accumulate_grad_hook(lambda _: timeline.move("update"))
        for p in model.parameters()
    ]
    for name, term in terms.items():
        setattr(model, name, Watched(TERMS[name], term, timeline))
    try:
        yield
    finally:
        for name, term in terms.items():
            setattr(model, name, term)
        for handle in handles:
            handle.remove()

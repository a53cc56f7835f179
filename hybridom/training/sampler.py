"""Which windows go into which optimiser step, as a pure function of seed and position."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class StreamSampler:
    """Batch sampler over an endless stream of shuffled epochs, cut into equal batches.

    Epochs follow one another without a gap: each visits every window once in its own order, and
    a batch may straddle two of them. There is therefore no short last batch, ranks always have
    equal shares, and none waits at a collective. A global batch of `ranks * accumulate * batch`
    windows is dealt in chunks of `batch`: micro-batch m of rank r takes chunk m * ranks + r, so two
    ranks, or one rank that accumulates twice, see the same windows in the same step.

    The order depends on (`seed`, `stage`, epoch) only; `position` restores the middle of an epoch,
    also when the number of ranks has changed.

    Attributes:
        windows: Number of windows in the data set.
        batch: Windows in one micro-batch of one rank.
        accumulate: Micro-batches of one rank in one optimiser step.
        rank: This process.
        ranks: Number of processes.
        seed: Seed of the run.
        stage: Index of the curriculum stage, so that stages are shuffled independently.
        position: Windows that all ranks together have consumed in this stage.
        steps: Optimiser steps to yield batches for.
    """

    windows: int
    batch: int
    accumulate: int
    rank: int
    ranks: int
    seed: int
    stage: int
    position: int
    steps: int

    @property
    def global_batch(self) -> int:
        """Windows in one optimiser step over all ranks."""
        return self.batch * self.accumulate * self.ranks

    def __len__(self) -> int:
        """Number of micro-batches that one rank still gets in this stage."""
        return self.steps * self.accumulate

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the window indices of this rank's micro-batches, in order."""
        epoch, order = -1, np.empty(0, dtype=np.int64)
        for micro in range(len(self)):
            first = self.position + (micro * self.ranks + self.rank) * self.batch
            chunk = []
            for place in range(first, first + self.batch):
                if place // self.windows != epoch:
                    epoch = place // self.windows
                    order = self.order(epoch)
                chunk.append(int(order[place % self.windows]))
            yield chunk

    def order(self, epoch: int) -> np.ndarray:
        """Permutation of the window indices in one epoch."""
        return np.random.default_rng([self.seed, self.stage, epoch]).permutation(self.windows)


def chunk_seed(seed: int, step: int, chunk: int) -> int:
    """Seed of the random layers (drop-path) for one chunk of one optimiser step.

    Deriving it from the position instead of carrying a generator along makes a resumed run, and a
    run on another number of ranks, draw what the uninterrupted run would have drawn.
    """
    return int(np.random.SeedSequence([seed, step, chunk]).generate_state(1, np.uint64)[0] >> 1)

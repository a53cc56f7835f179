"""Requests to stop from outside, such as a time limit of the queue."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import Self

EXIT_STOPPED = 85  # exit status of a training that saved itself and can be resumed
SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
# What a process asks of all at a step; the largest counts.
GO_ON, SAVE, STOP = 0, 1, 2


class StopRequest:
    """Remembers that SIGTERM or SIGUSR1 arrived while the block ran.

    The signal itself interrupts nothing: the loop looks at `pending` between two steps, where all
    processes can agree on where to stop.
    """

    def __init__(self) -> None:
        self.pending = False

    def __enter__(self) -> Self:
        self._previous = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.pending = True


def leave_signals_to_parent(worker: int) -> None:
    """Let a loader process outlive a signal to the whole job; the trainer ends it when it is done.

    Args:
        worker: Number of the loader process.
    """
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)

"""torchrun whose processes find their libraries imported already, and are its own in all else.

A launcher has threads by the time it starts its processes, and should not fork then. So it forks a
nursery before it has any. The nursery forks each process twice: without a parent it falls to the
launcher, which adopts whatever was begun below it, and is its child for signals and for waiting.
"""

from __future__ import annotations

import ctypes
import json
import os
import runpy
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

LAUNCHER = "torch.distributed.run"
ADOPT = 36  # PR_SET_CHILD_SUBREAPER of Linux
PAUSE = 0.01  # seconds between two looks


def fork_ranks() -> bool:
    """Let the launcher that this process becomes fork what it starts.

    Returns:
        False in the launcher; True in a process that it started, once that has run.
    """
    if ctypes.CDLL(None).prctl(ADOPT, 1, 0, 0, 0) != 0:
        return False  # no Linux: started as ever
    launcher = os.getpid()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    if os.fork() == 0:
        ours.close()
        run(*_nursery(theirs, launcher))
        return True
    theirs.close()
    from torch.distributed.elastic.multiprocessing.subprocess_handler import subprocess_handler

    Rank.link = ours
    subprocess_handler.Popen = Rank
    return False


def _nursery(link: socket.socket, launcher: int) -> tuple[list[str], dict[str, str]]:
    """Fork as long as the launcher asks; in each process, what it is to run and its variables."""
    while request := link.recv(1 << 20):
        middle = os.fork()
        if middle == 0:
            if os.fork() != 0:
                os._exit(0)
            os.setsid()
            while os.getppid() != launcher:
                time.sleep(PAUSE)
            link.send(str(os.getpid()).encode())
            link.close()
            command, environment = json.loads(request)
            return command, environment
        os.waitpid(middle, 0)
    os._exit(0)


def run(command: list[str], environment: dict[str, str]) -> None:
    """Be `python -u -m MODULE ARGUMENTS` or `python -u FILE ARGUMENTS`."""
    os.environ.clear()
    os.environ.update(environment)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    python, unbuffered, *words = command
    assert (python, unbuffered) == (sys.executable, "-u"), command
    if words[0] == "-m":
        sys.argv[1:] = words[2:]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = words
        runpy.run_path(words[0], run_name="__main__")


class Rank:
    """What torchrun uses of `subprocess.Popen`."""

    link: socket.socket

    def __init__(
        self,
        args: Sequence[str],
        env: dict[str, str],
        stdout: None,
        stderr: None,
        start_new_session: bool,
    ) -> None:
        assert (stdout, stderr, start_new_session) == (None, None, True)
        self.args = args
        self.returncode: int | None = None
        self.link.send(json.dumps([args, env]).encode())
        self.pid = int(self.link.recv(16))

    def poll(self) -> int | None:
        """The exit status, negative for a signal; None as long as it runs."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout: float) -> int:
        """The exit status, once there is one."""
        deadline = time.monotonic() + timeout
        while (status := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(self.args, timeout)
            time.sleep(PAUSE)
        return status

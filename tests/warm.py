"""Commands as processes of their own that find their libraries imported already.

Importing takes most of the time of a short command. A server imports once and forks for each
command, which then runs as `python -m MODULE ARGUMENTS` does, to the exit of its interpreter.
Tests start commands through `server`; the shells of the workflow's jobs through `hybridom_folder`.
"""

from __future__ import annotations

import functools
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path

from tests.warm_ranks import LAUNCHER, fork_ranks

ROOT = Path(__file__).parents[1]
SNAKEMAKE = (
    "snakemake.cli",
    "snakemake.assets",
    "snakemake.report.html_reporter",
    # what the Snakefile imports
    "hybridom.config",
    "hybridom.figures",
    "hybridom.layout",
    "hybridom.operations.failures",
    "hybridom.twin.states",
)
# What the stages of the workflow import.
HYBRIDOM = (
    "hybridom.cli",
    "hybridom.bench.core",
    "hybridom.bench.train",
    "hybridom.data.checks",
    "hybridom.data.prepare",
    "hybridom.evaluation.averages",
    "hybridom.evaluation.case",
    "hybridom.evaluation.scores",
    "hybridom.figures.curves",
    "hybridom.figures.maps",
    "hybridom.forecast",
    "hybridom.training.loop",
    "hybridom.twin.run",
    "torch._dynamo",
)
# torchrun, and what its processes import.
TORCHRUN = (LAUNCHER, "hybridom.cli", "hybridom.training.loop", "torch._dynamo")
LAST_WORDS = 1.0  # seconds that a process has to say where it was before it is killed

# A `hybridom` that starts at once: it hands its streams to the server and ends as the command does.
SHIM = """#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
    server.connect({address!r})
    request = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
    socket.send_fds(server, [request], [0, 1, 2])
    status = int(server.recv(16) or 1)
if status < 0:
    os.kill(os.getpid(), -status)
sys.exit(status)
"""


class Command:
    """A command that was started."""

    def __init__(self, server: Server, pid: int, output: Path) -> None:
        self._server, self.pid, self._output = server, pid, output

    def running(self) -> bool:
        """Whether the process is still there."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def send(self, number: int, *, group: bool = False) -> None:
        """Send a signal; with `group`, to all processes of the session that it began."""
        (os.killpg if group else os.kill)(self.pid, number)

    def wait(self, seconds: float | None = None) -> int:
        """The exit status, negative for a signal.

        If that takes longer, the command and all that it began say where they are and are killed,
        and the test fails; the next command finds the server ready.
        """
        if not self._server.answers(seconds):
            self.end()
            said = self._output.read_text(errors="replace")[-20_000:]
            raise AssertionError(f"not ended after {seconds} s: {self._output}\n{said}")
        return self._server.ended()

    def end(self) -> None:
        """Kill the command and what it began; each says first where it was."""
        for number, pause in ((signal.SIGABRT, LAST_WORDS), (signal.SIGKILL, 0.0)):
            for pid in (self.pid, *descendants(self.pid)):
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            time.sleep(pause)
        self._server.ended()


def descendants(pid: int) -> list[int]:
    """Processes that a process began, and those that they began."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in map(int, task.read_text().split()):
                found += [child, *descendants(child)]
    return found


class Server:
    """Runs commands one after the other, on one core, with these modules imported."""

    def __init__(self, modules: tuple[str, ...]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.warm", *modules],
            cwd=ROOT,
            env=warm_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,  # what was read ahead would be missed by `answers`
        )
        self._running: Command | None = None

    def start(
        self,
        module: str,
        arguments: list[str],
        output: Path | str = os.devnull,
        *,
        session: bool = False,
        commands: Path | None = None,
    ) -> Command:
        """Start `python -m module arguments` in the root of the project.

        Args:
            module: Module with a `__main__`.
            arguments: What follows on the command line.
            output: File to which both streams are appended.
            session: Whether it begins a session of its own.
            commands: Folder of programs that take the place of those beside this Python.
        """
        if self._running is not None:  # a test failed before it could wait
            self._running.end()
        assert self._process.stdin is not None
        folder = None if commands is None else str(commands)
        request = json.dumps([module, arguments, str(output), session, folder])
        self._process.stdin.write(f"{request}\n".encode())
        self._running = Command(self, self._answer(), Path(output))
        return self._running

    def run(
        self, module: str, arguments: list[str], commands: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run to the end; stdout holds both streams."""
        with tempfile.NamedTemporaryFile("r", encoding="utf-8") as output:
            status = self.start(module, arguments, output.name, commands=commands).wait()
            return subprocess.CompletedProcess([module, *arguments], status, output.read())

    def answers(self, seconds: float | None) -> bool:
        """Whether the server says something within so many seconds."""
        return bool(select.select([self._process.stdout], [], [], seconds)[0])

    def ended(self) -> int:
        """The exit status of the command that runs, once it has ended."""
        self._running = None
        return self._answer()

    def _answer(self) -> int:
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())


@functools.cache
def server(*modules: str) -> Server:
    """The server of these modules; it ends with this process."""
    return Server(modules)


def warm_environment() -> dict[str, str]:
    """One core; a process that is aborted says where it was."""
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONFAULTHANDLER": "1"}


def prepare(modules: Sequence[str]) -> None:
    """Import what commands need."""
    for module in modules:
        import_module(module)
    gc.freeze()  # or each command would look through all of it once more at its end


def serve(modules: list[str]) -> None:
    """Answer each request with the number of its process, and then with its exit status."""
    prepare(modules)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            return become(*json.loads(line))
        print(pid, flush=True)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def become(
    module: str, arguments: list[str], output: str, session: bool, commands: str | None
) -> None:
    """Be the command; its exit, or its error, then ends this interpreter as any other."""
    if session:
        os.setsid()
    if commands is not None:
        folders = (commands, str(Path(sys.executable).parent), os.environ["PATH"])
        os.environ["PATH"] = os.pathsep.join(folders)
        sys.executable = f"{commands}/python"  # beside which the Snakefile looks first
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for stream in (1, 2):
        os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
    if module == LAUNCHER and fork_ranks():
        return
    sys.argv[1:] = arguments
    runpy.run_module(module, run_name="__main__", alter_sys=True)


@contextmanager
def hybridom_folder() -> Iterator[Path]:
    """A folder with a `hybridom` for shells, whose libraries are imported already."""
    with tempfile.TemporaryDirectory(prefix="warm-") as name:  # an address has few characters
        folder = Path(name)
        address = str(folder / "address")
        shim = folder / "hybridom"
        shim.write_text(SHIM.format(python=sys.executable, address=address))
        python = folder / "python"
        python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        for program in (shim, python):
            program.chmod(0o755)
        process = subprocess.Popen(
            [sys.executable, "-c", f"from tests.warm import listen; listen({address!r})"],
            cwd=ROOT,
            env=warm_environment(),
            stdout=subprocess.PIPE,
        )
        try:
            assert process.stdout is not None and process.stdout.readline()
            yield folder
        finally:
            process.kill()
            process.communicate()


def listen(address: str) -> None:
    """Run what each shim asks for, side by side."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as door:
        door.bind(address)
        door.listen()
        print("who comes now has to wait", flush=True)
        prepare(HYBRIDOM)
        while True:
            guest, _ = door.accept()
            with suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:  # those that attended earlier ones
                    pass
            if os.fork() == 0:
                return attend(guest)
            guest.close()


def attend(guest: socket.socket) -> None:
    """Run the command of one shim and tell it the exit status; it dies with the shim."""
    request, streams, _, _ = socket.recv_fds(guest, 1 << 20, 3)
    pid = os.fork()
    if pid == 0:
        guest.close()
        for stream, given in enumerate(streams):
            os.dup2(given, stream)
        sys.argv[1:], directory, environment = json.loads(request)
        os.chdir(directory)
        os.environ.clear()
        os.environ.update(environment)
        return runpy.run_module("hybridom", run_name="__main__", alter_sys=True) and None
    threading.Thread(target=kill_with, args=(guest, pid), daemon=True).start()
    _, status = os.waitpid(pid, 0)
    with suppress(OSError):
        guest.send(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def kill_with(guest: socket.socket, pid: int) -> None:
    """Kill a process once nobody waits for it."""
    if not guest.recv(1):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    serve(sys.argv[1:])

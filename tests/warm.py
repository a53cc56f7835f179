"""Commands as processes of their own that find their libraries imported already.

Importing takes most of the time of a short command. A server imports once and forks for each
command, which then runs as `python -m MODULE ARGUMENTS` does, to the exit of its interpreter.
"""

from __future__ import annotations

import functools
import json
import os
import runpy
import select
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).parents[1]
SNAKEMAKE = (
    "snakemake.cli",
    "snakemake.assets",
    "snakemake.report.html_reporter",
    # what the Snakefile imports
    "hybridom.config",
    "hybridom.figures",
    "hybridom.layout",
    "hybridom.twin.states",
)


class Command:
    """A command that was started."""

    def __init__(self, server: Server, pid: int) -> None:
        self._server, self.pid = server, pid

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
        """The exit status, negative for a signal; the test fails if that takes longer."""
        assert self._server.answers(seconds), f"not ended after {seconds} s"
        return self._server.answer()


class Server:
    """Runs commands one after the other, on one core, with these modules imported."""

    def __init__(self, modules: tuple[str, ...]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.warm", *modules],
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(
        self,
        module: str,
        arguments: list[str],
        output: Path | str = os.devnull,
        *,
        session: bool = False,
    ) -> Command:
        """Start `python -m module arguments` in the root of the project.

        Args:
            module: Module with a `__main__`.
            arguments: What follows on the command line.
            output: File to which both streams are appended.
            session: Whether it begins a session of its own.
        """
        assert self._process.stdin is not None
        request = json.dumps([module, arguments, str(output), session])
        print(request, file=self._process.stdin, flush=True)
        return Command(self, self.answer())

    def run(self, module: str, arguments: list[str]) -> subprocess.CompletedProcess[str]:
        """Run to the end; stdout holds both streams."""
        with tempfile.NamedTemporaryFile("r", encoding="utf-8") as output:
            status = self.start(module, arguments, output.name).wait()
            return subprocess.CompletedProcess([module, *arguments], status, output.read())

    def answers(self, seconds: float | None) -> bool:
        """Whether the server says something within so many seconds."""
        return bool(select.select([self._process.stdout], [], [], seconds)[0])

    def answer(self) -> int:
        """The next number that the server says."""
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())


@functools.cache
def server(*modules: str) -> Server:
    """The server of these modules; it ends with this process."""
    return Server(modules)


def serve(modules: list[str]) -> None:
    """Answer each request with the number of its process, and then with its exit status."""
    for module in modules:
        import_module(module)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            return become(*json.loads(line))
        print(pid, flush=True)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def become(module: str, arguments: list[str], output: str, session: bool) -> None:
    """Be the command; its exit, or its error, then ends this interpreter as any other."""
    if session:
        os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for stream in (1, 2):
        os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
    sys.argv[1:] = arguments
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    serve(sys.argv[1:])

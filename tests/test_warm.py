"""One command that goes wrong in a test does not reach the next."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.warm import Server, descendants, server

ENDLESS = ["-n1", "-r1", "-s", "import subprocess, time", "time.sleep(600)"]
PARENT = [*ENDLESS[:-1], "subprocess.run(['sleep', '600'])"]


@pytest.fixture
def idle() -> Server:
    return server("timeit")


def assert_ready(idle: Server) -> None:
    done = idle.run("timeit", ["-n1", "-r1", "print('here')"])
    assert done.returncode == 0 and done.stdout.startswith("here\n")
    assert idle.run("timeit", ["--nothing"]).returncode == 2


def test_what_does_not_end_says_where_it_was_and_is_killed_with_what_it_began(
    idle: Server, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    command = idle.start("timeit", PARENT, log)
    while not (begun := descendants(command.pid)):
        time.sleep(0.01)
    with pytest.raises(AssertionError, match=r"not ended after 0\.1 s(.|\n)*subprocess\.py"):
        command.wait(0.1)
    assert not command.running()
    assert not [pid for pid in begun if Path(f"/proc/{pid}/exe").exists()]
    assert_ready(idle)


def test_what_nobody_waits_for_ends_with_the_next_command(idle: Server) -> None:
    command = idle.start("timeit", ENDLESS)
    assert_ready(idle)
    assert not command.running()

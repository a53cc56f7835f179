"""Jobs of several processes: the numbers of one process, and one end for all."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from hybridom.errors import UserError
from hybridom.layout import Layout
from hybridom.training import distributed, loop
from hybridom.training.optimise import NotFinite, Optimisation
from tests.training import world as tiny
from tests.warm import LAUNCHER, TORCHRUN, Command, server

SCRIPT = Path(__file__).with_name("ranks.py")
FSDP = "training.parallel=fsdp"
ENDLESS = "training.curriculum=[{days: 1, steps: 2000}]"
SHORT = "training.curriculum=[{days: 2, steps: 3}]"
HALF, TOTAL = 5, 10  # steps
SECONDS = 20.0  # for a whole job to end once one of its processes has
# Means over windows and cells; a bias is the difference of large numbers.
CLOSE = ("step", "days", "loss", "learning_rate", "gradient_norm", "update_", "rmse_", "pers")


def torchrun(log: Path, *arguments: str) -> Command:
    """Start a job of two processes on this node."""
    log.touch()
    words = ["--standalone", "--nproc-per-node=2", *arguments]
    return server(*TORCHRUN).start(LAUNCHER, words, log)


def settings(experiment: str, *overrides: str) -> list[str]:
    """One start to validate, so that the second process has none."""
    return [
        f"experiment={experiment}",
        "training.validation={every: 5, leads: [1, 2], starts: 1}",
        f"training.checkpoint={{minutes: 60, every: {HALF}, keep: 100, best: false}}",
        *overrides,
    ]


def alone(world, experiment: str, *overrides: str) -> Layout:
    """Train in this process."""
    config, layout = world.config(*settings(experiment, *overrides)[1:], experiment=experiment)
    loop.train(config, layout)
    return layout


@pytest.fixture(scope="module", autouse=True)
def _no_threads():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def single(world) -> Layout:
    """One process that takes two micro-batches a step; drop-path is on."""
    return alone(world, "single", "training.accumulate=2")


@pytest.fixture(scope="module")
def pairs(world, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Layout]:
    """Runs of two processes: either way from the start, and each from the middle of the other."""
    half = f"train/checkpoints/step_{HALF:09d}.pt"
    checkpointed = "networks.state.checkpoint=true"
    runs: dict[str, tuple[list[str], str | None]] = {
        "ddp": ([], None),
        "fsdp": ([FSDP], None),
        "ddp after fsdp": ([], f"../fsdp/{half}"),
        "fsdp after ddp": ([FSDP], f"../ddp/{half}"),
        "fsdp recomputing": ([FSDP, SHORT, checkpointed], None),
        "ddp accumulating": ([SHORT, "training.accumulate=2"], None),
        "fsdp accumulating": ([FSDP, SHORT, "training.accumulate=2"], None),
    }
    names = {name: name.replace(" ", "-") for name in runs}
    listed = [
        (settings(names[name], "training.ranks=2", *more), source)
        for name, (more, source) in runs.items()
    ]
    log = tmp_path_factory.mktemp("pairs") / "log"
    job = torchrun(log, str(SCRIPT), "train", str(world.file), json.dumps(listed))
    assert job.wait(580) == 0, log.read_text()
    return {name: world.config(experiment=names[name])[1] for name in runs}


def assert_close(a: Layout, b: Layout, steps: int = TOTAL) -> None:
    """Same weights, average, losses, norms and scores of the last steps to 1e-6."""
    rows = [list(csv.DictReader(x.train_log.open())) for x in (a, b)]
    for x, y in zip(rows[0][-steps:], rows[1][-steps:], strict=True):
        for name in (name for name in x if name.startswith(CLOSE)):
            assert (x[name] == y[name] == "") or float(x[name]) == pytest.approx(
                float(y[name]), rel=1e-6
            ), name
    x, y = (tiny.contents(layout.checkpoint)["model"] for layout in (a, b))
    torch.testing.assert_close(x, y, rtol=0.0, atol=1e-6)
    last = sorted(p.name for p in a.checkpoints_dir.glob("step_*.pt"))[-1]
    x, y = (tiny.contents(layout.checkpoints_dir / last) for layout in (a, b))
    for part in ("model", "average", "optimiser"):
        torch.testing.assert_close(x[part], y[part], rtol=0.0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("way", ["ddp", "fsdp"])
def test_two_processes_equal_one_that_accumulates_twice(single, pairs, way: str) -> None:
    """What is dropped depends on the windows, not on who computes them."""
    assert_close(pairs[way], single)


@pytest.mark.slow
@pytest.mark.parametrize("order", ["ddp after fsdp", "fsdp after ddp"])
def test_either_way_goes_on_from_checkpoints_of_the_other(single, pairs, order: str) -> None:
    assert not (pairs[order].checkpoints_dir / "step_000000001.pt").exists()
    assert_close(pairs[order], single, steps=TOTAL - HALF)


@pytest.mark.slow
def test_one_process_goes_on_from_shards(single, pairs, world) -> None:
    _, layout = world.config(experiment="one-after-fsdp")
    layout.checkpoints_dir.mkdir(parents=True)
    shutil.copy(pairs["fsdp"].checkpoints_dir / f"step_{HALF:09d}.pt", layout.checkpoints_dir)
    alone(world, "one-after-fsdp", "training.accumulate=2")
    assert_close(layout, single, steps=TOTAL - HALF)


@pytest.mark.slow
def test_shards_accumulate_and_recompute(pairs, world) -> None:
    assert_close(pairs["fsdp accumulating"], pairs["ddp accumulating"], steps=3)
    four = alone(world, "four", SHORT, "training.accumulate=4")
    assert_close(pairs["fsdp accumulating"], four, steps=3)
    two = alone(world, "recomputed", SHORT, "training.accumulate=2")
    assert_close(pairs["fsdp recomputing"], two, steps=3)


def ends(job: Command, log: Path) -> tuple[int, str]:
    """Exit status and log of a job in which something went wrong, which has to end soon."""
    deadline = time.monotonic() + 200
    while "step 2/" not in log.read_text() and "step_000000002.pt" not in log.read_text():
        assert time.monotonic() < deadline and job.running(), log.read_text()
        time.sleep(0.05)
    status = job.wait(SECONDS)
    return status, log.read_text()


def start_failing(world, log: Path, how: str, where: str, *overrides: str) -> Command:
    """Start a training of two processes that goes wrong after two steps."""
    every = "training.checkpoint={minutes: 60, every: 1, keep: 2, best: false}"
    given = [f"experiment={how}-{where}", ENDLESS, "training.ranks=2", every, *overrides]
    command = ["train", f"--config={world.file}", *(f"--set={x}" for x in given)]
    return torchrun(log, str(SCRIPT), "fail", how, where, *command)


@pytest.mark.parametrize(
    ("how", "where"),
    [
        ("killed", "1"),
        pytest.param("killed-apart", "0", marks=pytest.mark.slow),
        pytest.param("killed-apart", "1", marks=pytest.mark.slow),
    ],
)
def test_a_killed_process_ends_the_job(world, tmp_path: Path, how: str, where: str) -> None:
    """Whether the other waits for it in a sum, or is busy and deaf with something else."""
    log = tmp_path / "log"
    status, text = ends(start_failing(world, log, how, where), log)
    assert status > 0
    assert text.count("hybridom: error") == 1
    assert f"process {where} ended before its time" in text
    assert "unexpected error" not in text
    root = text[text.index("Root Cause") :]
    assert f"rank      : {where} " in root and "Signal 9 (SIGKILL)" in root


@pytest.mark.slow
def test_processes_do_not_wait_for_ever(world, tmp_path: Path) -> None:
    log = tmp_path / "log"
    status, text = ends(start_failing(world, log, "hangs", "1"), log)
    assert status > 0
    assert text.count("hybridom: error") == 1
    assert "process 0 of 2 waited 0.1 minutes in vain" in text


@pytest.mark.parametrize(
    "where",
    [pytest.param("0", marks=pytest.mark.slow), "1", pytest.param("all", marks=pytest.mark.slow)],
)
def test_an_error_is_shown_once_and_named_in_the_summary(world, tmp_path: Path, where: str) -> None:
    log = tmp_path / "log"
    status, text = ends(start_failing(world, log, "user", where, FSDP), log)
    assert status > 0
    lines = [line for line in text.splitlines() if line.startswith("hybridom: error")]
    assert len(lines) == 1 and "store.zarr: unreadable" in lines[0]
    assert where == "all" or lines[0].endswith(f"said by process {where}")
    assert text.count("Traceback") == 1  # that of torchrun itself
    root = text[text.index("Root Cause") :]
    assert "traceback : store.zarr: unreadable" in root
    assert where == "all" or f"rank      : {where} " in root


@pytest.mark.slow
def test_a_mistake_of_the_program_has_one_traceback(world, tmp_path: Path) -> None:
    log = tmp_path / "log"
    status, text = ends(start_failing(world, log, "mistake", "all"), log)
    assert status > 0
    assert text.count("unexpected error") == 1
    assert text.count("RuntimeError: a mistake in process") == 1


@pytest.mark.slow
def test_a_mistake_in_the_configuration_is_shown_once(world, tmp_path: Path) -> None:
    log = tmp_path / "log"
    command = ["train", f"--config={world.file}", "--set=training.bach=3"]
    assert torchrun(log, "-m", "hybridom", *command).wait(200) > 0
    text = log.read_text()
    assert text.count("hybridom: error") == 1 and "training.bach" in text


def free_port() -> int:
    with socket.create_server(("localhost", 0)) as probe:
        return int(probe.getsockname()[1])


def start_nodes(world, folder: Path, *overrides: list[str]) -> list[subprocess.Popen[bytes]]:
    """Start two agents of one process each, which meet as on two nodes."""
    launch = ["--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=c10d", "--rdzv-id=tiny"]
    launch += [f"--rdzv-endpoint=localhost:{free_port()}", "-m", "hybridom", "train"]
    nodes = []
    for number, given in enumerate(overrides):
        command = [sys.executable, "-m", "torch.distributed.run", *launch]
        command += [f"--config={world.file}", *(f"--set={x}" for x in given)]
        log = (folder / f"log{number}").open("w")
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        nodes.append(subprocess.Popen(command, stdout=log, stderr=log, env=environment))
    return nodes


@pytest.mark.slow
def test_two_nodes_train_as_one_and_the_first_process_alone_writes(
    world, pairs, tmp_path: Path
) -> None:
    # Real nodes share their results; here what each writes goes where it can be told apart.
    places = [tmp_path / name for name in ("a", "b")]
    given = [settings("nodes", "training.ranks=2", f"paths.results={x}") for x in places]
    nodes = start_nodes(world, tmp_path, *given)
    try:
        for node in nodes:
            assert node.wait(300) == 0, (tmp_path / "log0").read_text()
    finally:
        for node in nodes:
            node.kill()
    logs = [(tmp_path / f"log{number}").read_text() for number in range(2)]
    assert sum("step 10/10" in text for text in logs) == 1
    (wrote,) = (x for x in places if any(p.is_file() for p in x.rglob("*")))
    _, layout = world.config(f"paths.results={wrote}", experiment="nodes")
    assert_close(layout, pairs["ddp"])


@pytest.mark.slow
def test_a_killed_process_ends_the_other_node_too(world, tmp_path: Path) -> None:
    given = settings("lost", "training.ranks=2", ENDLESS)
    nodes = start_nodes(world, tmp_path, given, given)
    _, layout = world.config(experiment="lost")
    try:
        deadline = time.monotonic() + 200
        while not list(layout.checkpoints_dir.glob("step_*.pt")):
            assert time.monotonic() < deadline and all(node.poll() is None for node in nodes)
            time.sleep(0.05)
        tasks = Path(f"/proc/{nodes[1].pid}/task/{nodes[1].pid}/children")
        os.kill(int(tasks.read_text().split()[0]), signal.SIGKILL)
        assert all(node.wait(SECONDS) > 0 for node in nodes)
    finally:
        for node in nodes:
            node.kill()


def test_processes_that_do_not_meet_are_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr(distributed, "RENDEZVOUS", timedelta(seconds=1))
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    monkeypatch.delenv("MASTER_PORT", raising=False)
    with pytest.raises(UserError, match=r"process 1 of 2 .*MASTER_ADDR.*torchrun"):
        distributed.connect().__enter__()
    port = free_port()
    monkeypatch.setenv("MASTER_ADDR", "localhost")
    monkeypatch.setenv("MASTER_PORT", str(port))
    with pytest.raises(UserError, match=rf"process 1 of 2 .* localhost:{port} .*--rdzv-endpoint"):
        distributed.connect().__enter__()


@pytest.mark.parametrize("ending", ["finished", "stopped", "not finite"])
def test_nothing_of_a_run_holds_its_group_of_processes_when_it_is_left(
    world, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    """The reducer as its last holder would wait for gloo's thread, and that for the interpreter."""
    reducers, held = [], []

    @contextmanager
    def connect() -> Iterator[distributed.Ranks]:
        # a group of one, which the run takes for two
        dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
        try:
            yield distributed.Ranks(0, 2, torch.device("cpu"))
        finally:
            held.extend(reducer() for reducer in reducers)
            dist.destroy_process_group()

    taken = Optimisation.take_step

    def take_step(self, *given):
        reducers.append(weakref.ref(self.parallel.reducer))
        if ending == "stopped":
            os.kill(os.getpid(), signal.SIGUSR1)
        if ending == "not finite":
            raise NotFinite("a number")
        return taken(self, *given)

    monkeypatch.setattr(loop, "connect", connect)
    monkeypatch.setattr(Optimisation, "take_step", take_step)
    short = "training.curriculum=[{days: 1, steps: 3}]"
    config, layout = world.config(short, experiment=f"left-{ending}".replace(" ", "-"))
    with nullcontext() if ending == "finished" else pytest.raises((SystemExit, UserError)):
        loop.train(config, layout)
    assert len(held) == len(reducers) > 0 and not any(held)


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(UserError, match=r"process 2 of this node has no GPU .*\(2 visible\)"):
        distributed.connect().__enter__()

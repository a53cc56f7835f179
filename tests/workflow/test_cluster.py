"""The workflow on a real SLURM: two nodes with GPUs that exist in name, two more to set down.

Runs that take long are begun together and watched by the tests one after the other.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml

from hybridom import checkpoint
from tests.workflow import slurm
from tests.workflow.conftest import ROOT, Workflow

REASON = slurm.reason_to_skip()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(REASON is not None, reason=str(REASON))]

PATIENCE = 900.0  # s for a run
LIMIT = 1  # minutes
# Long enough to be interrupted, with checkpoints all the way.
SECONDS = 75.0


@dataclass
class Run:
    """Snakemake in a directory of its own; with a profile, it submits to the cluster."""

    workflow: Workflow
    profile: Path | None = None
    environment: dict[str, str] | None = None
    _process: subprocess.Popen | None = None

    def start(self, *options: str, overrides: tuple[str, ...] = ()) -> Run:
        """Start it."""
        words = self.workflow.command(*options, overrides=overrides)[len(["--cores", "2"]) :]
        # as many cores as in a job of the cluster: sums of more threads differ in the last bits
        where = ["--cores", "1"] if self.profile is None else ["--profile", str(self.profile)]
        words = [*where, *words]
        self._log = self.workflow.directory / "snakemake.txt"
        with self._log.open("w") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "snakemake", *words],
                cwd=ROOT,
                env={**os.environ, **(self.environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self

    def wait(self) -> int:
        """Its exit status."""
        assert self._process is not None
        try:
            return self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.end()
            raise AssertionError(f"no end after {PATIENCE:g} s:\n{self.text[-4000:]}") from None

    def succeed(self) -> str:
        """Wait for its end and return what it printed; the test fails if it does."""
        assert self.wait() == 0, self.text[-6000:]
        return self.text

    def running(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def end(self) -> None:
        """Kill it, if it still runs."""
        if self._process is not None and self.running():
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    @property
    def text(self) -> str:
        """What it printed so far."""
        return self._log.read_text()

    def log(self, name: str) -> str:
        """The log of a rule, as far as there is one."""
        path = self.workflow.path(Path("logs") / name)
        return path.read_text() if path.exists() else ""

    def jobs(self, rule: str) -> pd.DataFrame:
        """Jobs of SLURM for one rule of this run, earlier ones of a requeued job too."""
        numbers = set(re.findall(r"SLURM jobid (\d+)", self.text))
        words = ["sacct", "--parsable2", "--duplicates", "--allocations"]
        words += ["--format", "JobID,Comment,State,AllocTRES,NodeList"]
        rows = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
        table = pd.DataFrame([x.split("|") for x in rows[1:]], columns=rows[0].split("|"))
        mine = table["JobID"].isin(numbers) & table["Comment"].str.startswith(f"rule_{rule}")
        return table[mine]

    def weights(self) -> dict[str, torch.Tensor]:
        """Weights of the trained model."""
        path = self.workflow.path(self.workflow.layout.checkpoint)
        return checkpoint.weights_of(checkpoint.load(path))


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The cluster; requeued jobs begin at once instead of after two minutes."""
    over = threading.Event()
    with slurm.cluster(tmp_path_factory.mktemp("slurm")):
        thread = threading.Thread(target=hurry, args=(over,), daemon=True)
        thread.start()
        yield
        over.set()
        thread.join()


def hurry(over: threading.Event) -> None:
    """Let jobs that wait for a time begin now."""
    while not over.wait(2.0):
        words = ["squeue", "--noheader", "--states", "PENDING", "--format", "%i %r"]
        for line in subprocess.run(words, capture_output=True, text=True).stdout.splitlines():
            number, _, reason = line.partition(" ")
            if reason == "BeginTime":
                start = ["scontrol", "update", f"JobId={number}", "StartTime=now"]
                subprocess.run(start, capture_output=True)


class Cluster:
    """Starts runs, and ends those that a failed test left."""

    def __init__(self, finished: Workflow, folder: Path) -> None:
        self.finished = finished
        self.folder = folder
        self.runs: list[Run] = []

    def profile(self, name: str, resources: dict | None = None, train: dict | None = None) -> Path:
        """A profile as a user makes it: the project's, with this cluster's values."""
        settings = yaml.safe_load((ROOT / "slurm" / "config.yaml").read_text())
        settings["default-resources"] |= {"slurm_account": slurm.ACCOUNT, "cores_per_gpu": 1}
        settings["default-resources"] |= {"gpus_per_node": 2, "mem_mb": 500, "runtime": 20}
        settings["default-resources"] |= resources or {}
        settings["set-resources"]["train"] |= {"runtime": 20, **(train or {})}
        settings["slurm-init-seconds-before-status-checks"] = 3
        settings["latency-wait"] = 20
        path = self.folder / name
        path.mkdir()
        (path / "config.yaml").write_text(yaml.safe_dump(settings))
        return path

    def run(self, name: str, *overrides: str, profile: Path | None = None, **settings) -> Run:
        """A run that finds everything up to training done, for an experiment of its own."""
        directory = self.folder / f"run_{name}"
        made = shutil.ignore_patterns(".snakemake", "results", "logs", "benchmarks")
        shutil.copytree(self.finished.directory, directory, ignore=made)
        own = (*self.finished.overrides, f"experiment={name}", *overrides)
        self.runs.append(Run(Workflow(directory, overrides=own), profile, **settings))
        return self.runs[-1]

    def empty(self, profile: Path) -> Run:
        """A run that finds nothing done."""
        directory = self.folder / "run_all"
        directory.mkdir()
        self.runs.append(Run(Workflow(directory), profile))
        return self.runs[-1]

    @cached_property
    def long(self) -> tuple[str, ...]:
        """Overrides of a training by one process that takes about `SECONDS` on this machine."""
        run = self.run("measured", *by_one_process(200)).start("--until", "train")
        run.succeed()
        record = pd.read_csv(run.workflow.path(run.workflow.layout.train_log))
        speed = (
            record["samples_per_second"].iloc[100:].median() / run.workflow.config.training.batch
        )
        return by_one_process(round(SECONDS * speed))


def by_one_process(steps: int) -> tuple[str, ...]:
    """Overrides of a training by one process that takes so many steps."""
    stages = f"training.curriculum=[{{days: 1, steps: {steps}}}]"
    return ("training.ranks=1", stages, f"training.validation.every={steps}")


@pytest.fixture(scope="module")
def cluster(nodes, finished, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The cluster, with everything up to training done in a run before."""
    made = Cluster(finished, tmp_path_factory.mktemp("cluster"))
    yield made
    for run in made.runs:
        run.end()


@pytest.fixture(scope="module")
def whole(cluster) -> Run:
    """The whole workflow, from nothing."""
    run = cluster.empty(cluster.profile("whole"))
    return run.start("all", "--resources", f"figures={slurm.CORES}", "downloads=4")


@pytest.fixture(scope="module")
def two_nodes(cluster) -> Run:
    """Training by two processes on two nodes."""
    profile = cluster.profile("two_nodes", {"gpus_per_node": 1})
    return cluster.run("two_nodes", profile=profile).start("--until", "train")


@pytest.fixture(scope="module")
def failing(cluster) -> Run:
    """Training that goes wrong by itself."""
    run = cluster.run("failing", "training.learning_rate=1e30", profile=cluster.profile("failing"))
    return run.start("--until", "train", "--retries", "0")


@pytest.fixture(scope="module")
def limited(cluster) -> Run:
    """Training that needs longer than its job may take."""
    profile = cluster.profile("limited", train={"runtime": LIMIT})
    return cluster.run("limited", *cluster.long, profile=profile).start("--until", "train")


@pytest.fixture(scope="module")
def killed(cluster) -> Run:
    """Training that SLURM ends at the limit, since the job cannot ask for the time that is left."""
    mute = cluster.folder / "mute"
    mute.mkdir()
    (mute / "squeue").write_text("#!/bin/sh\necho 'no answer' >&2\nexit 1\n")
    (mute / "squeue").chmod(0o755)
    run = cluster.run(
        "killed",
        *cluster.long,
        profile=cluster.profile("killed"),
        environment={"PATH": f"{mute}{os.pathsep}{os.environ['PATH']}"},
    ).start("--until", "train")
    threading.Thread(target=shorten, args=(run,), daemon=True).start()
    return run


def shorten(run: Run) -> None:
    """Let the first job of a training end now, once that has begun."""
    wait_until(lambda: "saved" in run.log("killed/train.log"), run)
    number = first_job(run)
    subprocess.run(["scontrol", "update", f"JobId={number}", "EndTime=now"], check=True)


@pytest.fixture(scope="module")
def fragile(cluster) -> Run:
    """Training on a node that is going to be lost."""
    profile = cluster.profile("fragile", train={"slurm_partition": "fragile"})
    return cluster.run("fragile", *cluster.long, profile=profile).start("--until", "train")


@pytest.fixture(scope="module")
def undisturbed(cluster) -> Run:
    """The long training, by one process without interruption and without SLURM."""
    return cluster.run("undisturbed", *cluster.long).start("--until", "train")


@pytest.fixture(scope="module")
def begun(fragile, limited, killed, undisturbed, two_nodes, failing, whole) -> None:
    """All runs, side by side."""


@pytest.fixture(scope="module")
def expected(begun, undisturbed) -> dict[str, torch.Tensor]:
    """Weights at the end of the long training."""
    undisturbed.succeed()
    return undisturbed.weights()


def assert_same(found: dict, expected: dict, tolerance: float = 0.0) -> None:
    """Weights are the same, bit for bit or within a tolerance."""
    assert set(found) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0.0, atol=tolerance, msg=name)


def test_a_lost_node_is_survived(begun, fragile, request):
    log = "fragile/train.log"
    wait_until(lambda: "saved" in fragile.log(log), fragile)
    lost = lose_node_of(first_job(fragile))
    fragile.succeed()
    assert "going on" in fragile.log(log) or "resum" in fragile.log(log)
    assert fragile.jobs("train")["NodeList"].iloc[-1] != lost
    assert_same(fragile.weights(), request.getfixturevalue("expected"))


def test_a_failing_rule_shows_the_end_of_its_log_and_what_to_do(begun, failing):
    assert failing.wait() != 0
    shown = failing.text.partition("hybridom: ")[2]
    last = failing.log("failing/train.log").strip().splitlines()[-1]
    assert "hybridom: error: training step" in failing.log("failing/train.log")
    assert last in shown
    assert "learning_rate" in shown
    assert "Traceback" not in shown


def test_two_nodes_give_the_weights_of_one(begun, two_nodes, cluster):
    two_nodes.succeed()
    job = two_nodes.jobs("train")
    assert list(job["State"]) == ["COMPLETED"]
    assert "node=2" in job["AllocTRES"].iloc[0] and "gres/gpu=2" in job["AllocTRES"].iloc[0]
    one = cluster.finished.path(cluster.finished.layout.checkpoint)
    assert_same(two_nodes.weights(), checkpoint.weights_of(checkpoint.load(one)), 1e-6)


def test_training_that_meets_its_time_limit_goes_on_by_itself(begun, limited, expected):
    limited.succeed()
    states = list(limited.jobs("train")["State"])
    assert states.count("REQUEUED") >= 1
    assert states[-1] == "COMPLETED"
    assert "failed" not in limited.text  # no retry is used
    assert_same(limited.weights(), expected)


def test_training_that_is_killed_at_its_time_limit_is_submitted_again(begun, killed, expected):
    killed.succeed()
    states = list(killed.jobs("train")["State"])
    assert states.count("TIMEOUT") >= 1
    assert states[-1] == "COMPLETED"
    assert_same(killed.weights(), expected)


def test_the_whole_workflow_ends_with_the_scores_of_a_run_without_slurm(begun, whole, finished):
    whole.succeed()
    table = whole.workflow.layout.scores_table
    found, expected = (pd.read_csv(w.path(table)) for w in (whole.workflow, finished))
    pd.testing.assert_frame_equal(found, expected, rtol=1e-4)
    names = {path.name for path in finished.path(finished.layout.figures_dir).iterdir()}
    assert {p.name for p in whole.workflow.path(finished.layout.figures_dir).iterdir()} == names
    job = whole.jobs("train").iloc[-1]
    assert "gres/gpu=2" in job["AllocTRES"] and "node=1" in job["AllocTRES"]
    assert len(whole.jobs("figures")) == 1  # all figures and the page


def test_a_second_run_submits_nothing(begun, whole):
    whole.wait()
    again = Run(whole.workflow, whole.profile).start("all").succeed()
    assert "Nothing to be done" in again
    assert "submitted" not in again


def first_job(run: Run) -> str:
    """Number of the first job that was submitted."""
    return re.findall(r"submitted with SLURM jobid (\d+)", run.text)[0]


def wait_until(ready, run: Run) -> None:
    """Wait for a moment of a run; the test fails if that ends before."""
    end = time.monotonic() + PATIENCE
    while not ready():
        assert run.running() and time.monotonic() < end, run.text[-4000:]
        time.sleep(0.2)


def lose_node_of(job: str) -> str:
    """Take the power from the node of a job: its daemon and all that runs there; its name."""
    words = ["squeue", "--noheader", "--job", job, "--format", "%N"]
    node = subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    assert node.startswith("n"), f"job {job} does not run"
    victims = [pid for pid in os.listdir("/proc") if pid.isdigit() and of_job(pid, job)]
    daemon = subprocess.run(["pgrep", "-f", f"slurmd -N {node}"], capture_output=True, text=True)
    for pid in (*daemon.stdout.split(), *victims):
        with suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    down = ["scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test"]
    subprocess.run(down, check=True)
    return node


def of_job(pid: str, job: str) -> bool:
    """Whether a process belongs to a job of SLURM."""
    with suppress(OSError):
        environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        return f"SLURM_JOB_ID={job}".encode() in environment
    return False

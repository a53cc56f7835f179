"""Which processes are started, with which variables, and what happens near the time limit."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from hybridom import launch
from hybridom.errors import UserError
from hybridom.launch import Shape, command, settings

TRAIN = ["train", "--config", "x.yaml"]


def stand_in(folder: Path, name: str, text: str) -> None:
    """A program that a shell finds in `folder`."""
    path = folder / name
    path.write_text(f"#!/bin/bash\n{textwrap.dedent(text)}\n")
    path.chmod(0o755)


@pytest.fixture
def programs(tmp_path, monkeypatch) -> Path:
    """A folder of programs that are found first."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def test_one_node_starts_one_torchrun():
    words = command(Shape(1, 4, 32), TRAIN, {})
    assert words[0] == "torchrun" and "--standalone" in words
    assert words[words.index("--nproc-per-node") + 1] == "4"
    assert words[-5:] == ["-m", "hybridom", *TRAIN]
    assert "SIGUSR1" in words[words.index("--signals-to-handle") + 1]


def test_several_nodes_start_a_torchrun_each_that_meet_at_the_first(programs):
    stand_in(programs, "squeue", "[ $3 = 12345 ] && echo 'gpu[07-08]'")
    stand_in(programs, "scontrol", "[ $3 = 'gpu[07-08]' ] && printf 'gpu07\\ngpu08\\n'")
    words = command(Shape(2, 8, 32), TRAIN, {"SLURM_JOB_ID": "12345"})
    outer, inner = words[: words.index("torchrun")], words[words.index("torchrun") :]
    assert outer[0] == "srun"
    for option in ("--nodes", "--ntasks"):
        assert outer[outer.index(option) + 1] == "2"
    assert outer[outer.index("--cpus-per-task") + 1] == "32"
    assert inner[inner.index("--nproc-per-node") + 1] == "4"
    assert inner[inner.index("--rdzv-endpoint") + 1] == "gpu07:22345"
    assert inner[inner.index("--rdzv-id") + 1] == "12345"
    assert "--standalone" not in inner


def test_other_nodes_than_asked_for_are_refused(programs):
    stand_in(programs, "squeue", "echo gpu07")
    stand_in(programs, "scontrol", "echo gpu07")
    with pytest.raises(UserError, match=r"2 nodes are asked for, job 5 has 1 \(gpu07\)"):
        command(Shape(2, 2, 1), TRAIN, {"SLURM_JOB_ID": "5"})


def test_several_nodes_outside_a_job_are_refused():
    with pytest.raises(UserError, match="2 nodes are asked for outside a SLURM job"):
        command(Shape(2, 2, 1), TRAIN, {})


def test_processes_that_cannot_be_spread_evenly_are_refused():
    with pytest.raises(UserError, match=r"3 processes cannot be spread evenly over 2 nodes"):
        Shape(2, 3, 1)


@pytest.mark.parametrize(
    ("shape", "each"),
    [(Shape(1, 1, 8), "8"), (Shape(1, 4, 8), "2"), (Shape(1, 4, 2), "1"), (Shape(2, 8, 8), "2")],
)
def test_cores_of_a_node_are_shared_by_its_processes(shape, each, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "99")  # as Snakemake sets it
    made = settings(shape)
    assert made["OMP_NUM_THREADS"] == made["MKL_NUM_THREADS"] == each


def test_variables_of_nccl_that_the_user_sets_are_kept(monkeypatch):
    assert settings(Shape(1, 1, 1))["NCCL_DEBUG"] == "WARN"
    monkeypatch.setenv("NCCL_DEBUG", "INFO")
    assert settings(Shape(1, 1, 1))["NCCL_DEBUG"] == "INFO"


def run(environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """`hybridom launch` as a process."""
    words = [sys.executable, "-m", "hybridom", "launch", "--ranks", "2", "--threads", "4", *TRAIN]
    environment = {**os.environ, **(environment or {})}
    return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60)


def test_outside_a_job_the_exit_status_is_that_of_torchrun(programs):
    stand_in(programs, "torchrun", 'echo "$OMP_NUM_THREADS $*"; exit 7')
    done = run()
    assert done.returncode == 7
    assert done.stdout.startswith("2 --nproc-per-node 2")
    assert done.stdout.rstrip().endswith("-m hybridom train --config x.yaml")


# torchrun that saves and ends when it is told to, with what it was told
SAVES = """
    trap 'echo saved; exit 1' USR1
    echo training
    for i in $(seq 600); do sleep 0.1; done
"""


def limit_in_seconds(programs: Path, seconds: int) -> None:
    """Let SLURM say that the time of the job runs out so many seconds from now (at most 9)."""
    end = int(time.time()) + seconds
    stand_in(programs, "squeue", f"left=$(({end} - $(date +%s))); echo 0:0$((left > 0 ? left : 0))")


def test_near_the_limit_a_job_saves_and_is_put_back_into_the_queue(programs, tmp_path):
    stand_in(programs, "torchrun", SAVES)
    limit_in_seconds(programs, 5)
    # as SLURM does, requeueing ends the process
    stand_in(programs, "scontrol", f'echo "$*" > {tmp_path}/asked; kill -TERM $PPID')
    begin = time.monotonic()
    done = run({"SLURM_JOB_ID": "77"})
    assert 1.0 < time.monotonic() - begin < 30.0
    assert (tmp_path / "asked").read_text().split() == ["requeue", "77"]
    assert "saved" in done.stdout
    assert done.returncode != 0


def test_a_task_of_an_array_requeues_itself_alone(programs, tmp_path):
    stand_in(programs, "torchrun", SAVES)
    limit_in_seconds(programs, 5)
    stand_in(programs, "scontrol", f'echo "$*" > {tmp_path}/asked; kill -TERM $PPID')
    array = {"SLURM_JOB_ID": "70", "SLURM_ARRAY_JOB_ID": "70", "SLURM_ARRAY_TASK_ID": "2"}
    assert run(array).returncode != 0
    assert (tmp_path / "asked").read_text().split() == ["requeue", "70_2"]


def test_where_requeueing_is_not_allowed_the_job_fails_and_says_why(programs):
    stand_in(programs, "torchrun", SAVES)
    limit_in_seconds(programs, 5)
    stand_in(programs, "scontrol", "echo 'Requested operation is disabled' >&2; exit 1")
    done = run({"SLURM_JOB_ID": "77"})
    assert done.returncode == 1
    assert "Requested operation is disabled" in done.stderr
    assert "Snakemake submits it again" in done.stderr


def test_a_job_that_ends_in_time_is_left_alone(programs):
    stand_in(programs, "torchrun", "sleep 1; exit 3")
    stand_in(programs, "squeue", "echo 1-00:00:00")
    stand_in(programs, "scontrol", "echo requeued >&2")
    done = run({"SLURM_JOB_ID": "77"})
    assert done.returncode == 3
    assert "requeue" not in done.stderr


def test_a_job_whose_time_is_not_known_goes_on(programs):
    stand_in(programs, "torchrun", "sleep 1; exit 0")
    stand_in(programs, "squeue", "echo 'Unable to contact controller' >&2; exit 1")
    done = run({"SLURM_JOB_ID": "77"})
    assert done.returncode == 0
    assert "the time that is left is not known" in done.stderr


def test_a_signal_to_the_job_reaches_torchrun(programs, tmp_path):
    stand_in(
        programs,
        "torchrun",
        f"trap 'echo told > {tmp_path}/told; exit 85' TERM\n"
        f"touch {tmp_path}/begun\nfor i in $(seq 300); do sleep 0.1; done",
    )
    stand_in(programs, "squeue", "echo 1-00:00:00")
    words = [sys.executable, "-m", "hybridom", "launch", *TRAIN]
    process = subprocess.Popen(words, env={**os.environ, "SLURM_JOB_ID": "77"})
    while not (tmp_path / "begun").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.terminate()
    assert process.wait(30) == 85
    assert (tmp_path / "told").exists()


def test_a_missing_program_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    with pytest.raises(UserError, match="torchrun is not found"):
        launch.launch(Shape(1, 1, 1), TRAIN)

"""What SLURM prints, read."""

from __future__ import annotations

import os

import pytest

from hybridom import slurm
from hybridom.errors import UserError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0:05", 5),
        ("59:30", 3570),
        ("1:00:00", 3600),
        ("2-12:00:00", 216000),
        ("1-06", 108000),
        ("1-06:30", 109800),
        ("UNLIMITED", None),
        ("infinite", None),
        ("INVALID", None),
        ("", None),
    ],
)
def test_times_are_read_as_seconds(text, expected):
    assert slurm.seconds(text) == expected


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """A folder of programs that are found first."""
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    def write(name: str, text: str) -> None:
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)

    return write


def test_partitions_have_limits_and_gpus(programs):
    programs(
        "sinfo",
        "cat <<'END'\n"
        "cpu|up|2-00:00:00|100|64|250000|(null)\n"
        "gpu|up|infinite|4+|56+|500000+|gpu:a100:4(S:0-1),nic:1\n"
        "old|down|1:00:00|1|8|1000|gpu:2\n"
        "END",
    )
    cpu, gpu, old = slurm.partitions()
    assert (cpu.name, cpu.limit, cpu.nodes, cpu.gpus) == ("cpu", 172800, 100, 0)
    assert (gpu.limit, gpu.cores, gpu.memory, gpu.gpus, gpu.gpu_types) == (
        None,
        56,
        500000,
        4,
        ("a100",),
    )
    assert (old.state, old.gpus, old.gpu_types) == ("down", 2, ())


def test_jobs_of_a_user(programs):
    programs(
        "squeue", "echo '7_2|PENDING|0:00|1-00:00:00|1-00:00:00|Resources||/work|rule_train|x'"
    )
    (job,) = slurm.jobs("me")
    assert (job.number, job.state, job.comment, job.reason) == (
        "7_2",
        "PENDING",
        "rule_train|x",
        "Resources",
    )


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, None),
        ({"SLURM_JOB_ID": "8"}, "8"),
        ({"SLURM_JOB_ID": "8", "SLURM_ARRAY_JOB_ID": "5", "SLURM_ARRAY_TASK_ID": "3"}, "5_3"),
        ({"SLURM_JOB_ID": "5", "SLURM_ARRAY_JOB_ID": "5", "SLURM_ARRAY_TASK_ID": "1"}, "5_1"),
    ],
)
def test_a_task_of_an_array_is_named_apart_from_the_array(variables, expected):
    assert slurm.own_job(variables) == expected


def test_an_error_is_one_line_with_the_command(programs):
    programs("squeue", "echo 'slurm_load_jobs error:' >&2; echo ' no contact' >&2; exit 1")
    with pytest.raises(
        UserError, match=r"^squeue --noheader .*: slurm_load_jobs error: no contact$"
    ):
        slurm.time_left("5")


def test_a_machine_without_slurm(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not slurm.present()
    with pytest.raises(UserError, match="sinfo: not found"):
        slurm.partitions()

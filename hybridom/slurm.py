"""What SLURM says, asked through its own commands. No module outside this one starts them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

from hybridom.errors import UserError

PATIENCE = 60.0  # seconds for an answer; a busy controller takes a while
# Fields of `squeue` and `sinfo`, in the order of the classes below.
JOB_FIELDS = "%i|%T|%M|%l|%L|%r|%N|%Z|%k"  # the comment may hold anything
PARTITION_FIELDS = "%R|%a|%l|%D|%c|%m|%G"


@dataclass(frozen=True)
class Job:
    """One job in the queue.

    Attributes:
        number: Its number; of an array, `<job>_<task>`.
        state: Such as PENDING or RUNNING.
        elapsed: Time since it began, as SLURM writes it.
        limit: Its time limit, as SLURM writes it.
        left: Time to the limit, as SLURM writes it.
        reason: Why it waits, or `None`.
        nodes: Where it runs, as SLURM writes it.
        folder: Its working directory.
        comment: What Snakemake notes there: the rule and its wildcards.
    """

    number: str
    state: str
    elapsed: str
    limit: str
    left: str
    reason: str
    nodes: str
    folder: str
    comment: str


@dataclass(frozen=True)
class Partition:
    """One kind of nodes of one partition.

    Attributes:
        name: Of the partition.
        state: `up` or another.
        limit: Longest job in seconds; None: no limit.
        nodes: Number of nodes of this kind.
        cores: Cores of a node.
        memory: Megabytes of a node.
        gpus: GPUs of a node.
        gpu_types: Their types, where the cluster names them.
    """

    name: str
    state: str
    limit: int | None
    nodes: int
    cores: int
    memory: int
    gpus: int
    gpu_types: tuple[str, ...]


def present() -> bool:
    """Whether this machine has SLURM's commands."""
    return shutil.which("sbatch") is not None


def own_job(environment: Mapping[str, str]) -> str | None:
    """The job that a process with these variables belongs to; None outside SLURM.

    A task of an array is `<array>_<task>`: its number alone may be that of the whole array.
    """
    array, task = (environment.get(f"SLURM_ARRAY_{x}") for x in ("JOB_ID", "TASK_ID"))
    return f"{array}_{task}" if array and task else environment.get("SLURM_JOB_ID")


def ask(*words: str) -> str:
    """What a command prints.

    Raises:
        UserError: It is not there, it failed, or it gave no answer in time.
    """
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE)
    except FileNotFoundError:
        raise UserError(f"{words[0]}: not found; are you on a machine of the cluster?") from None
    except subprocess.TimeoutExpired:
        raise UserError(
            f"{words[0]}: no answer within {PATIENCE:g} s; is SLURM's controller down?"
        ) from None
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())
        raise UserError(f"{' '.join(words)}: {said or f'failed with status {done.returncode}'}")
    return done.stdout


def jobs(user: str) -> list[Job]:
    """All jobs of a user that wait or run.

    Raises:
        UserError: As `ask`.
    """
    text = ask("squeue", "--noheader", "--array", "--user", user, "--format", JOB_FIELDS)
    return [Job(*(x.strip() for x in line.split("|", 8))) for line in text.splitlines()]


def partitions() -> list[Partition]:
    """All partitions, one entry for each kind of nodes.

    Raises:
        UserError: As `ask`.
    """
    text = ask("sinfo", "--noheader", "--format", PARTITION_FIELDS)
    return [_partition(line) for line in text.splitlines()]


def time_left(job: str) -> float | None:
    """Seconds to the time limit of a job; None: it has none.

    Raises:
        UserError: As `ask`.
    """
    return seconds(ask("squeue", "--noheader", "--job", job, "--format", "%L").strip())


def requeue(job: str) -> None:
    """Put a running job back into the queue; its processes are ended.

    Raises:
        UserError: As `ask`; the cluster does not allow it.
    """
    ask("scontrol", "requeue", job)


def seconds(text: str) -> int | None:
    """Seconds of a time such as `2-12:00:00`, `30:00` (minutes); None of one without limit."""
    if not text or not text[0].isdigit():
        return None
    days, _, clock = text.rpartition("-")
    parts = [int(part) for part in clock.split(":")]
    if days:  # hours come first then
        parts += [0] * (3 - len(parts))
    parts = [0] * (3 - len(parts)) + parts
    hours, minutes, rest = parts
    return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + rest


def _partition(line: str) -> Partition:
    name, state, limit, nodes, cores, memory, resources = (x.strip() for x in line.split("|"))
    kinds = [x.partition("(")[0].split(":") for x in resources.split(",") if x.startswith("gpu")]
    return Partition(
        name,
        state,
        seconds(limit),
        _number(nodes),
        _number(cores),
        _number(memory),
        sum(int(kind[-1]) if kind[-1].isdigit() else 1 for kind in kinds),
        tuple(kind[1] for kind in kinds if len(kind) == 3),
    )


def _number(text: str) -> int:
    """The least of nodes that differ, which `sinfo` marks with a plus."""
    return int(text.rstrip("+"))


def settings() -> dict[str, str]:
    """How the controller is set up, by the names of `slurm.conf`.

    Raises:
        UserError: As `ask`.
    """
    pairs = (line.partition("=") for line in ask("scontrol", "show", "config").splitlines())
    return {key.strip(): value.strip() for key, middle, value in pairs if middle}


def accounts(user: str) -> list[str]:
    """Accounts that a user may charge, of all clusters that share the accounting.

    Raises:
        UserError: As `ask`; there is no accounting.
    """
    words = ("--noheader", "--parsable2", "show", "association", f"user={user}", "format=account")
    return sorted({line.strip() for line in ask("sacctmgr", *words).splitlines() if line.strip()})


def history_missing() -> str | None:
    """Why `sacct` tells nothing of past jobs; None if it does."""
    try:
        done = subprocess.run(
            ("sacct", "--allocations", "--noheader", "--starttime", "now-1minutes"),
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
    except FileNotFoundError:
        return "sacct: not found"
    except subprocess.TimeoutExpired:
        return f"sacct: no answer within {PATIENCE:g} s"
    # Without a data base some versions end with status 0.
    said = " ".join(done.stderr.split())
    return said or "it failed" if done.returncode or "disabled" in said else None

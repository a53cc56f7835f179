"""What runs and what waits: in SLURM's queue, or in a Snakemake on this machine."""

from __future__ import annotations

import fcntl
import getpass
import itertools
import time
from collections.abc import Iterator
from pathlib import Path

from hybridom import slurm
from hybridom.errors import UserError
from hybridom.operations.failures_log import StartedJob, open_jobs
from hybridom.operations.status_words import duration, last_line

LOCK = Path(".snakemake/hybridom.lock")
LOGS = Path(".snakemake/log")
RULE = "rule_"  # begins the comment of each of Snakemake's jobs
SELECTING = "Select jobs to execute..."
NAME = 60  # letters of a name that are shown
# Runs whose jobs may still be in the queue.
RECENT_RUNS = 5
# Reasons for which a job waits, by the beginning of SLURM's word for it.
REASONS = {
    "Priority": "others are before it in the queue",
    "Resources": "it is next, as soon as nodes are free",
    "Dependency": "for another job to end",
    "BeginTime": "put back into the queue, starts again after a short while",
    "PartitionTimeLimit": "for ever: it asks for more time than its partition gives; lower runtime",
    "PartitionNodeLimit": "for ever: it asks for more nodes than the partition allows",
    "PartitionConfig": "for ever: the partition has no such nodes; see slurm_partition and nodes",
    "PartitionDown": "the partition is closed for now",
    "PartitionInactive": "the partition is closed for now",
    "ReqNodeNotAvail": "nodes are down or reserved for maintenance",
    "Reservation": "for its reservation to begin",
    "NodeDown": "a node that it needs is down",
    "BadConstraints": "for ever: no node has what it asks for; see gpu_type and slurm_extra",
    "InvalidAccount": "for ever: its account is not valid; see slurm_account",
    "InvalidQOS": "for ever: its QOS is not valid; see slurm_extra",
    "JobHeldUser": "held by you: scontrol release JOB",
    "JobHeldAdmin": "held by an administrator: ask them",
    "launch failed requeued held": "its nodes failed to start it: scontrol release JOB",
    "QOSMax": "you use all that your QOS allows; it starts when other jobs end",
    "QOSGrp": "all users of this QOS use what it allows together",
    "AssocMax": "you use all that the account allows; it starts when other jobs end",
    "AssocGrp": "the account has used all that it is allowed",
    "Licenses": "for a licence",
    "None": "just submitted",
}


def lines(experiment_logs: Path) -> list[str]:
    """What runs and waits, with the last line of each log.

    Args:
        experiment_logs: Folder of the logs of the rules.
    """
    runs = [open_jobs(_text(log)) for log in recent_runs()]
    now = runs[0] if runs and running() else []
    said = [_snakemake()]
    if slurm.present():
        said += _queue([job for jobs in runs for job in jobs if job.slurm_job], now)
    if running():
        said += [line for job in now if job.local for line in _local(job)]
    elif not slurm.present():
        said += _recently_written(experiment_logs)
    return said


def running() -> bool:
    """Whether a Snakemake holds the lock of this folder."""
    try:
        with LOCK.open() as handle:
            # Shared, and given back at once: a Snakemake that starts at this very moment is the
            # only one that could notice.
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def recent_runs() -> list[Path]:
    """Snakemake's logs of the last runs in this folder that had something to do, newest first."""
    logs = sorted(LOGS.glob("*.snakemake.log"), reverse=True)
    return list(itertools.islice((log for log in logs if SELECTING in _text(log)), RECENT_RUNS))


def waiting_for(reason: str) -> str:
    """SLURM's reason for which a job waits, in plain words."""
    for word, said in REASONS.items():
        if reason.strip("()").startswith(word):
            return f"{said} ({reason})"
    return reason


def _snakemake() -> str:
    """Whether Snakemake runs here, and how far it is."""
    log = next(iter(recent_runs()), None)
    if log is None:
        return "no Snakemake has run in this folder"
    steps = [line for line in _text(log).splitlines() if line.endswith("%) done")]
    far = f", {steps[-1]}" if steps else ""
    return f"Snakemake {'runs' if running() else 'does not run'} in this folder{far} ({log})"


def _queue(sent: list[StartedJob], now: list[StartedJob]) -> Iterator[str]:
    """A line for each of Snakemake's jobs of this folder, and one for the log of each that runs.

    Args:
        sent: Jobs that the last runs here sent.
        now: Jobs for which a Snakemake waits.
    """
    known = {job.slurm_job: job for job in sent}
    try:
        found = slurm.jobs(getpass.getuser())
    except UserError as error:
        yield f"SLURM: {error}"
        return
    here = str(Path.cwd())
    ours = [
        job
        for job in found
        if job.number in known or (job.folder == here and job.comment.startswith(RULE))
    ]
    for job in sorted(ours, key=lambda job: (job.state != "RUNNING", job.number)):
        info = known.get(job.number)
        name = _name(info) if info else _short(job.comment.removeprefix(RULE))
        if job.state == "PENDING":
            yield f"{job.number}  {name}  waits: {waiting_for(job.reason)}"
        else:
            where = f" on {job.nodes}" if job.nodes else ""
            yield (
                f"{job.number}  {name}  {job.state.lower()}{where}, {job.elapsed} of {job.limit}"
            )
            yield from _logs(info)
    if not ours:
        yield "no job of Snakemake in SLURM's queue"
    queued = {job.number for job in found}
    for gone in now:
        number = gone.slurm_job
        if number and number not in queued:
            yield f"{number}  {_name(gone)}  has left the queue; Snakemake looks again in a while"


def _local(job: StartedJob) -> Iterator[str]:
    yield f"{_name(job)}  runs here"
    yield from _logs(job)


def _logs(job: StartedJob | None) -> Iterator[str]:
    for path in job.logs if job else ():
        if last := last_line(path):
            yield f"    {path}: {last}"


def _recently_written(folder: Path, seconds: float = 300.0) -> Iterator[str]:
    """Logs to which a command that was started by hand may be writing."""
    now = time.time()
    for path in sorted(folder.rglob("*.log")):
        try:
            silent = now - path.stat().st_mtime
        except OSError:
            continue
        if silent < seconds:
            yield f"{path}, {duration(silent)} ago: {last_line(path)}"


def _short(comment: str) -> str:
    """The comment of a job that no log of this folder names, such as that of a group."""
    return comment if len(comment) <= NAME else comment[: NAME - 1] + "…"


def _name(job: StartedJob) -> str:
    return f"{job.rule} ({job.wildcards})" if job.wildcards else job.rule


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""

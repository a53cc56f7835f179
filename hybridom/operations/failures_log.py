"""Which jobs failed in a run of Snakemake, read from its log."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

_FRAME = re.compile(r"^ *={10,}$")
_INFO = re.compile(r"^(?:local)?(?:rule|checkpoint) (\S+):$")
_ERROR = re.compile(r"^Error in rule ([^\s:,]+):$")
_GROUP = "message: Error in group "
_DONE = re.compile(r"^Finished jobid: (\d+) \(Rule: (\S+)\)")
_SENT = re.compile(r"^Job (\S+) has been submitted with SLURM jobid (\d+)")
_ARRAY = re.compile(
    r"^Submitted array job with Snakemake IDs (\S+) and SLURM job ID (\d+)\. "
    r"The individual task IDs are (\d+)-"
)
# What follows the block of a failed job.
_NEXT = re.compile(
    r"^(?:\[\w{3} \w{3} +\d|Trying to restart|Logfile |Select jobs|Shutting down|Exiting because"
    r"|Removing output|RuleException)"
)
_HEADS = (_INFO, _ERROR, _DONE, _SENT, _ARRAY)
_HINT = " (check log file(s) for error details)"


@dataclass(frozen=True)
class FailedJob:
    """One job that failed, as its last attempt tells.

    Attributes:
        rule: Name of its rule.
        number: Its number in the log; groups share none.
        wildcards: Such as `start=2004-03-01`; may be empty.
        message: What Snakemake or SLURM says about it.
        logs: The log files of the rule.
        slurm_log: Log file of SLURM's job.
        slurm_job: Number of SLURM's job.
        attempts: How many times it failed.
        group: Whether it ran in one job with others, any of which may be the cause.
        done: Whether a later attempt went well.
    """

    rule: str
    number: str
    wildcards: str = ""
    message: str = ""
    logs: tuple[Path, ...] = ()
    slurm_log: Path | None = None
    slurm_job: str = ""
    attempts: int = 1
    group: bool = False
    done: bool = False


@dataclass(frozen=True)
class StartedJob:
    """One job that was started and has not ended so far.

    Attributes:
        rule: Name of its rule.
        wildcards: Such as `start=2004-03-01`; may be empty.
        logs: The log files of the rule.
        local: Whether it runs where Snakemake runs.
        slurm_job: Number of SLURM's job; empty if it is local, part of a group, or not sent yet.
    """

    rule: str
    wildcards: str
    logs: tuple[Path, ...]
    local: bool
    slurm_job: str = ""


def open_jobs(text: str) -> list[StartedJob]:
    """The jobs of a log that were started and have not ended by the log's end."""
    started: dict[str, StartedJob] = {}
    for block in _blocks(text):
        head, number = block[0].strip(), _value(block, "jobid")
        if info := _INFO.match(head):
            logs = tuple(_paths(_value(block, "log")))
            local = head.startswith("local")
            started[number] = StartedJob(info[1], _value(block, "wildcards"), logs, local)
        elif done := _DONE.match(head):
            started.pop(done[1], None)
        elif _ERROR.match(head):
            started.pop(number, None)
        for one, slurm_job in _sent(head):
            if one in started:
                started[one] = replace(started[one], slurm_job=slurm_job)
    return list(started.values())


def _sent(line: str) -> Iterator[tuple[str, str]]:
    """Jobs that a line says were sent to SLURM, with the numbers that they have there."""
    if one := _SENT.match(line):
        yield one[1], one[2]
    elif array := _ARRAY.match(line):
        for task, number in enumerate(array[1].split(","), int(array[3])):
            yield number, f"{array[2]}_{task}"


def failed_jobs(text: str) -> list[FailedJob]:
    """The jobs of a log that failed, in the order of their first failure."""
    wildcards: dict[str, str] = {}
    failed: dict[str, FailedJob] = {}
    group_log: Path | None = None
    for block in _blocks(text):
        head, number = block[0].strip(), _value(block, "jobid")
        if done := _DONE.match(head):
            if (job := failed.get(done[1])) and job.rule == done[2]:
                failed[done[1]] = replace(job, done=True)
        elif head.startswith(_GROUP):
            group_log = next(iter(_paths(_value(block, "log"))), None)
        elif match := _ERROR.match(head):
            grouped = block[0][0] == " "
            job = _job(match[1], block, group_log if grouped else None)
            attempts = failed[number].attempts + 1 if number in failed else 1
            failed[number] = replace(
                job, wildcards=wildcards.get(number, ""), attempts=attempts, group=grouped
            )
        elif _INFO.match(head) and (shown := _value(block, "wildcards")):
            wildcards[number] = shown
    return list(failed.values())


def _blocks(text: str) -> Iterator[list[str]]:
    """Groups of lines, each beginning with one that says which job they describe."""
    block: list[str] = []
    for line in outside_frames(text):
        head = line.strip()
        if head.startswith(_GROUP) or any(x.match(head) for x in _HEADS):
            if block:
                yield block
            block = [line]
        elif block and _NEXT.match(head):
            yield block
            block = []
        elif block:
            block.append(line)
    if block:
        yield block


def _job(rule: str, block: list[str], group_log: Path | None) -> FailedJob:
    external, logs = _value(block, "external_jobid"), _paths(_value(block, "log"))
    slurm_log = logs[-1] if external and logs and logs[-1].stem == external else group_log
    return FailedJob(
        rule,
        _value(block, "jobid"),
        message=_message(block),
        logs=tuple(path for path in logs if path != slurm_log),
        slurm_log=slurm_log,
        slurm_job=external or (slurm_log.stem if slurm_log else ""),
    )


def outside_frames(text: str) -> Iterator[str]:
    """The lines of Snakemake's log without the logs of jobs that it shows between two frames."""
    frame, shown = "", False
    for line in text.splitlines():
        if frame:
            if line.strip() == frame:
                frame = ""
            continue
        if shown and _FRAME.match(line):
            frame, shown = line.strip(), False
            continue
        shown = line.lstrip().startswith("Logfile ")
        yield line


def _value(block: list[str], name: str) -> str:
    """What stands behind `name:` in a block; empty where it does not."""
    for line in block[1:]:
        if line.strip().startswith(f"{name}: "):
            return line.strip().removeprefix(f"{name}: ").removesuffix(_HINT)
    return ""


def _paths(text: str) -> list[Path]:
    return [Path(name) for name in text.split(", ") if name]


def _message(block: list[str]) -> str:
    """The message of a block without the command that it repeats, in one line."""
    kept: list[str] = []
    for line in block[1:]:
        if re.match(r"\s*(?:jobid: |sbatch call:)", line):
            break
        kept.append(line.strip().removeprefix("message: "))
    said = " ".join(kept).partition("For further error details")[0].strip()
    return "" if said == "None" else said

"""What went wrong in a run of the workflow, in plain words.

The workflow calls `report` when a run ends with an error, so nothing here needs more than the
standard library.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hybridom.operations.failures_known import KNOWN, Failure
from hybridom.operations.failures_log import FailedJob, failed_jobs, outside_frames

# Bytes at the end of a log in which the reason is looked for.
TAIL = 60_000
SAYS = "the command says"  # what it says is the message then
OWN_MESSAGE = re.compile(r"^hybridom: error: (.+)$", re.MULTILINE)
_PATTERNS = {
    failure.name: re.compile("|".join(f"(?:{p})" for p in failure.patterns), re.MULTILINE)
    for failure in KNOWN
}


@dataclass(frozen=True)
class Explanation:
    """Why a job failed.

    Attributes:
        name: A few words.
        message: What happened and what was kept.
        remedy: What to do; `<rule>` stands for the name of the rule that failed.
    """

    name: str
    message: str
    remedy: str

    def of(self, rule: str) -> Explanation:
        """The same with the name of the rule."""
        return Explanation(self.name, self.message, self.remedy.replace("<rule>", rule))

    def __str__(self) -> str:
        return f"{self.name}: {self.message} {self.remedy}"


@dataclass(frozen=True)
class _Group:
    """Jobs that failed alike, and why; None: unknown."""

    reason: Explanation | None
    jobs: list[FailedJob]


def explain(text: str) -> Explanation | None:
    """The most special known failure of which `text` bears a sign.

    Args:
        text: Of a log, or of several.
    """
    for failure in KNOWN:
        if _PATTERNS[failure.name].search(text):
            return _explanation(failure)
    return None


def report(log: Path, slurm_logs: Path, lines: int = 20) -> str:
    """What failed in a run, why, what to do, and how the logs of the failed rules end.

    Rules that failed alike are shown once, each with its last attempt.

    Args:
        log: Snakemake's log of the run.
        slurm_logs: Folder of SLURM's logs; used where the log does not name the file.
        lines: Lines shown of a rule's own log.
    """
    text = _read(log)
    jobs = _at_fault(failed_jobs(text), slurm_logs)
    failed = [job for job in jobs if not job.done]
    parts = [_paragraph(group, slurm_logs, lines) for group in _alike(failed, slurm_logs)]
    if not jobs and (found := explain("\n".join(outside_frames(text)))):
        parts.append(_sentences(found))
    if retried := [job for job in jobs if job.done]:
        names = ", ".join(f"{_title(job)} ({_times(job.attempts)})" for job in retried)
        parts.append(f"Failed at first, then done: {names}.")
    return "\n\n".join(parts)


def summary(log: Path, slurm_logs: Path) -> list[str]:
    """One line for each kind of failure of a run: which rules, why, what to do."""
    text = _read(log)
    failed = [job for job in _at_fault(failed_jobs(text), slurm_logs) if not job.done]
    found = []
    for group in _alike(failed, slurm_logs):
        job, *others = group.jobs
        said = _one_line(group.reason) if group.reason else "see " + _log_names(job)
        more = f" and {len(others)} more" if others else ""
        found.append(f"{_title(job)}{more}: {said}")
    return found


def why(job: FailedJob, slurm_logs: Path) -> Explanation | None:
    """Why a job failed.

    What SLURM says of the job goes before what stands in its logs; where neither is known, the
    message with which the command itself ended is the explanation.
    """
    own = "\n".join(_read(path) for path in job.logs)
    found = explain(job.message) or explain(f"{own}\n{_read(_slurm_log(job, slurm_logs))}")
    if found is None and (messages := OWN_MESSAGE.findall(own)):
        return Explanation(SAYS, messages[-1], "Mend that and run the same command.")
    return found.of(job.rule) if found else None


def _explanation(failure: Failure) -> Explanation:
    return Explanation(failure.name, failure.message, failure.remedy)


def _at_fault(jobs: list[FailedJob], slurm_logs: Path) -> list[FailedJob]:
    """Without the jobs that only share the fate of another one of their group."""
    kept = []
    for job in jobs:
        inside = failed_jobs(_read(_slurm_log(job, slurm_logs))) if job.group else []
        if not inside or any((x.rule, x.logs) == (job.rule, job.logs) for x in inside):
            kept.append(job)
    return kept


def _alike(jobs: Iterable[FailedJob], slurm_logs: Path) -> list[_Group]:
    """The jobs by the kind of rule and by reason; unknown reasons by the last words of the log."""
    groups: dict[tuple[str, str], _Group] = {}
    for job in jobs:
        reason = why(job, slurm_logs)
        said = f"{reason.name} {reason.message}" if reason else _own_lines(job)[-1:]
        group = groups.setdefault((job.rule.partition("_")[0], str(said)), _Group(reason, []))
        group.jobs.append(job)
    return list(groups.values())


def _paragraph(group: _Group, slurm_logs: Path, lines: int) -> str:
    """What is said about jobs that failed alike."""
    job, *others = group.jobs
    head = f"{_title(job)} failed" + (f" {_times(job.attempts)}" if job.attempts > 1 else "")
    if job.slurm_job:
        head += f" (SLURM job {job.slurm_job})"
    said = [head]
    if others:
        named = (x.wildcards if x.rule == job.rule and x.wildcards else _title(x) for x in others)
        said.append(f"  and alike: {', '.join(named)}")
    if group.reason:
        said.append("  " + _sentences(group.reason).replace("\n", "\n  "))
    shown = False
    for path in job.logs:
        if tail := _read(path).rstrip().splitlines()[-lines:]:
            said += [f"  last lines of {path}:", *(f"    {line}" for line in tail)]
            shown = True
    if not shown:
        said.append("  its own log is empty: the command had not begun, or it was killed")
    if job.message and not (shown and group.reason):
        said.append(f"  Snakemake says: {job.message}")
    slurm_log = _slurm_log(job, slurm_logs)
    if slurm_log is not None and not (shown and group.reason):
        said.append(f"  more in {slurm_log}")
    return "\n".join(said)


def _own_lines(job: FailedJob) -> list[str]:
    return [line for path in job.logs for line in _read(path).splitlines() if line.strip()]


def _sentences(reason: Explanation) -> str:
    return f"{reason.name}: {reason.message}\nwhat to do: {reason.remedy}"


def _one_line(reason: Explanation) -> str:
    return f"{reason.name}. {reason.remedy}" if reason.name != SAYS else reason.message


def _title(job: FailedJob) -> str:
    return f"rule {job.rule}" + (f" ({job.wildcards})" if job.wildcards else "")


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number} times"


def _log_names(job: FailedJob) -> str:
    return ", ".join(str(path) for path in (*job.logs, job.slurm_log) if path) or "Snakemake's log"


def _slurm_log(job: FailedJob, folder: Path) -> Path | None:
    """SLURM's log of a job, which for arrays lies elsewhere in the folder than Snakemake says."""
    if job.slurm_log is not None and job.slurm_log.exists():
        return job.slurm_log
    return next(folder.rglob(f"{job.slurm_job}.log"), None) if job.slurm_job else None


def _read(path: Path | None) -> str:
    """The end of a log as text; nothing where it cannot be read. Snakemake's log is read whole."""
    if path is None:
        return ""
    try:
        whole = path.name.endswith(".snakemake.log")
        with path.open("rb") as handle:
            size = handle.seek(0, 2)
            handle.seek(0 if whole else max(0, size - TAIL))
            return handle.read().decode(errors="replace").replace("\r", "\n")
    except OSError:
        return ""

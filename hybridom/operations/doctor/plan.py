"""What the jobs of a run would ask the cluster for, from a dry run with the profile."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from hybridom.config import Config
from hybridom.errors import UserError

PATIENCE = 600.0  # s for a dry run; years of daily starts are thousands of jobs
NO_LIMIT = 100_000  # cores, so that the dry run does not cut down the threads of a rule
RULE = re.compile(r"^(\s*)(?:rule|checkpoint) (\w+):$")
GROUP = re.compile(r"[Gg]roup job (\S+) \(jobs in")
VALUE = re.compile(r"^\s+(threads|resources): (.*)$")


@dataclass(frozen=True)
class Request:
    """What one job asks for; of several jobs of a rule, the most that any asks for.

    Attributes:
        rule: Its rule, or the group of which it is a part.
        partition: Where it is to run; "" for the cluster's default.
        minutes: Time, or None.
        memory: Megabytes on each node, or None.
        cores: Cores of a task.
        nodes: Number of nodes.
        gpus: GPUs on each node.
        gpu_type: Their type, or "".
    """

    rule: str
    partition: str
    minutes: int | None
    memory: int | None
    cores: int
    nodes: int
    gpus: int
    gpu_type: str


def requests(
    config: Config, snakefile: Path, profile: Path, limits: Mapping[str, int]
) -> list[Request]:
    """One request for each rule or group, of all jobs of a run from nothing.

    Args:
        config: The whole configuration.
        snakefile: Of the clone.
        profile: File of the profile.
        limits: As for `read`.

    Raises:
        UserError: Snakemake cannot plan the run.
    """
    with tempfile.TemporaryDirectory(prefix="hybridom_doctor_") as folder:
        base = Path(folder) / "config.yaml"
        base.write_text(yaml.safe_dump(config.model_dump(mode="json")), encoding="utf-8")
        words = [sys.executable, "-m", "snakemake", "--snakefile", str(snakefile)]
        words += ["--profile", str(profile), "--cores", str(NO_LIMIT), "--dry-run", "--forceall"]
        words += ["all", "--config", f"base={base}"]
        try:
            done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            raise UserError(f"a dry run took more than {PATIENCE:g} s; try it by hand") from None
    if done.returncode:
        lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        telling = [line for line in lines if "rror" in line] or lines[-1:] or ["it said nothing"]
        raise UserError(
            f"Snakemake cannot plan the run: {telling[-1][:300]}; try snakemake --profile "
            f"{profile.parent} --dry-run all"
        )
    # where it is printed depends on the version
    return most(read(done.stdout + done.stderr, limits))


def read(text: str, limits: Mapping[str, int]) -> Iterator[Request]:
    """The requests in what a dry run prints; local rules ask the cluster for nothing.

    Args:
        text: What it printed.
        limits: What all jobs together may take of a resource; jobs of a group run side by side as
            far as these allow.
    """
    rule, threads, group = "", 1, ""
    members: dict[str, list[tuple[Request, float]]] = {}
    for line in text.splitlines():
        if begin := GROUP.search(line):
            group = begin[1]
        elif begin := RULE.match(line):
            rule, threads = begin[2], 1
            group = group if begin[1] else ""  # rules of a group are indented
        elif not line.strip() or line.lstrip().startswith("localrule"):
            rule = ""
        elif rule and (value := VALUE.match(line)):
            if value[1] == "threads":
                threads = int(value[2])
                continue
            pairs = (pair.partition("=") for pair in re.split(r", (?=\w+=)", value[2]))
            given = {name: text for name, _, text in pairs}
            request = _request(rule, threads, given)
            if group:
                shares = ((_whole(given, name) or 0) / limit for name, limit in limits.items())
                members.setdefault(group, []).append((request, max(shares, default=0.0)))
            else:
                yield request
    for name, jobs in members.items():
        yield _together(name, jobs)


def _together(group: str, jobs: Sequence[tuple[Request, float]]) -> Request:
    """What jobs that are one job of the cluster ask for.

    Args:
        group: Their group.
        jobs: Each with the largest part that it takes of a limited resource.
    """
    most_of_all = max(share for _, share in jobs)
    width = min(len(jobs), int(1 / most_of_all)) if most_of_all else len(jobs)
    (one,) = most(replace(job, rule=group, partition=jobs[0][0].partition) for job, _ in jobs)
    return replace(
        one,
        rule=f"group {group}",
        minutes=None if one.minutes is None else one.minutes * -(-len(jobs) // width),
        memory=None if one.memory is None else one.memory * width,
        cores=one.cores * width,
    )


def most(found: Iterable[Request]) -> list[Request]:
    """One request for each rule and partition: the most that any of its jobs asks for."""
    by_rule: dict[tuple[str, str], Request] = {}
    for one in found:
        key = one.rule, one.partition
        other = by_rule.get(key, one)
        by_rule[key] = Request(
            *key,
            minutes=_larger(one.minutes, other.minutes),
            memory=_larger(one.memory, other.memory),
            cores=max(one.cores, other.cores),
            nodes=max(one.nodes, other.nodes),
            gpus=max(one.gpus, other.gpus),
            gpu_type=one.gpu_type or other.gpu_type,
        )
    return list(by_rule.values())


def _larger(one: int | None, other: int | None) -> int | None:
    given = [value for value in (one, other) if value is not None]
    return max(given) if given else None


def _request(rule: str, threads: int, given: Mapping[str, str]) -> Request:
    nodes = _whole(given, "nodes") or 1
    gpus, gpu_type = 0, given.get("gpu_model", "")
    if (gres := given.get("gres", "").strip("'\"")).startswith("gpu"):
        _, *kind, count = gres.split(":") if ":" in gres else ("gpu", "1")
        gpus, gpu_type = int(count), kind[0] if kind else gpu_type
    elif total := _whole(given, "gpu"):
        gpus = -(-total // nodes)
    return Request(
        rule,
        given.get("slurm_partition", ""),
        _whole(given, "runtime"),
        _whole(given, "mem_mb"),
        _whole(given, "cpus_per_task") or threads,
        nodes,
        gpus,
        gpu_type,
    )


def _whole(given: Mapping[str, str], name: str) -> int | None:
    """A whole number; None where there is none, or one that is known only when the job starts."""
    text = given.get(name, "")
    return int(text) if text.isdigit() else None

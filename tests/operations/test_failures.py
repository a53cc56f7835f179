"""Failures, explained from what Snakemake 9.27 and SLURM really wrote.

`data/` holds logs of real runs: `cluster` and `group` through a real SLURM (rules that take too
much memory, too much time, nine GPUs, ...), `account` with an account that there is not, `local`
without SLURM. Lines that say nothing of failures are cut out; `/project` stands for the working
directory.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hybridom.operations import failures
from hybridom.operations.failures_known import KNOWN
from hybridom.operations.failures_log import failed_jobs, open_jobs

DATA = Path(__file__).parent / "data"
DOCS = Path(__file__).parents[2] / "docs" / "failures.md"
SLURM_LOGS = Path("logs/slurm")
LOG = Path("run.snakemake.log")


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Puts the folder of a recorded run in place and makes it the working directory."""

    def place(name: str) -> Path:
        for path in (DATA / name).rglob("*.txt"):
            relative = path.relative_to(DATA / name).with_suffix(".log")
            target = tmp_path / (LOG if relative.name == "snakemake.log" else relative)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(path.read_text().replace("/project", str(tmp_path)))
        monkeypatch.chdir(tmp_path)
        return LOG

    return place


# What SLURM, Snakemake, PyTorch and this project write. Those that were not seen in a run here are
# taken from the programs' own texts.
TEXTS = {
    "no valid account": [
        "Job submission failed with exception: The given account bogus appears to be invalid. "
        "Available accounts:\nocean, root",
        "sbatch: error: Batch job submission failed: Invalid account or account/partition "
        "combination specified",
        "sbatch: error: You must specify an account with -A",
    ],
    "no such partition": [
        "sbatch: error: invalid partition specified: gpus\n"
        "sbatch: error: Batch job submission failed: Invalid partition name specified"
    ],
    "beyond the limits of the partition": [
        "sbatch: error: Batch job submission failed: Requested time limit is invalid (missing or "
        "exceeds some limit)",
        "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)",
        "sbatch: error: Memory specification can not be satisfied",
        "sbatch: error: QOSMaxGRESPerUser",
    ],
    "no node has the GPUs or memory asked for": [
        "The error message was 'sbatch: error: Batch job submission failed: Requested node "
        "configuration is not available'.",
        "sbatch: error: Invalid generic resource (gres) specification",
        "hybridom: error: training: process 1 of this node has no GPU of its own (1 visible); "
        "start at most one process per GPU",
    ],
    "time limit": [
        "SLURM-job '8' failed, SLURM status is: 'TIMEOUT'. Reason: Unknown.",
        "slurmstepd-n2: error: *** JOB 8 ON n2 CANCELLED AT 2026-11-21T21:12:15 DUE TO TIME "
        "LIMIT ***",
    ],
    "preemption": [
        "SLURM-job '8' failed, SLURM status is: 'PREEMPTED'. Reason: Unknown.",
        "slurmstepd: error: *** JOB 8 ON n2 CANCELLED AT 2026-11-21T21:12:15 DUE TO PREEMPTION ***",
    ],
    "loss of a node": [
        "SLURM-job '8' failed due to a node failure, SLURM status is: 'NODE_FAIL'. ",
        "error: *** JOB 8 ON n2 CANCELLED AT 2026-11-21T21:12:15 DUE TO NODE FAILURE, SEE "
        "SLURMCTLD LOG FOR DETAILS ***",
    ],
    "GPU out of memory": [
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB.",
        "RuntimeError: CUDA error: out of memory",
    ],
    "full disk or quota": [
        "OSError: [Errno 28] No space left on device: 'results/a.zarr'",
        "OSError: [Errno 122] Disk quota exceeded",
        "hybridom: error: the disk is full while writing b.png; free some space and run the "
        "command again",
        "results/x/train/checkpoints: 4 checkpoints of 2 GB need 8 GB, 1 GB are free; free space",
    ],
    "out of memory": [
        "SLURM-job '8' failed, SLURM status is: 'OUT_OF_MEMORY'. Reason: Unknown.",
        "slurmstepd-n1: error: StepId=4.0 exceeded memory limit (373112832 > 314572800), being "
        "killed",
        "slurmstepd: error: Detected 1 oom_kill event in StepId=7.batch",
        "MemoryError",
        "numpy._core._exceptions._ArrayMemoryError: Unable to allocate 7.45 GiB",
        "/usr/bin/bash: line 1:  4711 Killed                  hybridom forecast",
        "Command 'set -euo pipefail; x' returned non-zero exit status 137.",
        "hybridom: error: training: a loader process was killed, perhaps for want of memory; lower "
        "training.num_workers or ask for more memory, then start again",
    ],
    "GPU driver or build of PyTorch": [
        "RuntimeError: The NVIDIA driver on your system is too old (found version 11040).",
        "RuntimeError: CUDA error: no kernel image is available for execution on the device",
    ],
    "GPUs or nodes do not reach each other": [
        "torch.distributed.DistBackendError: NCCL error in: ProcessGroupNCCL.cpp:2251, "
        "unhandled system error",
        "ncclSystemError: System call (e.g. socket, malloc) or external library call failed",
        "hybridom: error: training: process 0 of 2 waited 30 minutes in vain for another one; look "
        "for a node or a file system that hangs, then start again",
    ],
    "divergence of training": [
        "hybridom: error: training step 70: the mean loss of the last 20 steps is 9, more than "
        "training.divergence.factor 3 times the lowest such mean of this curriculum stage, 2; "
        "lower training.learning_rate",
        "hybridom: error: training step 3: the gradient norm is nan; the weights were not changed",
    ],
    "another Snakemake, or a lock left behind": [
        "hybridom: error: another snakemake is running in this directory; wait for it or stop it",
        "LockException:\nError: Directory cannot be locked. Please make sure that no other "
        "Snakemake process is trying to create the same files in the following directory:",
    ],
    "incomplete files": [
        "IncompleteFilesException:\nThe files below seem to be incomplete. If you are sure that"
    ],
    "outputs that did not appear": [
        'MissingOutputException in rule missing in file "/project/Snakefile", line 40:\n'
        "Job 0 completed successfully, but some output files are missing."
    ],
    "missing inputs": [
        "MissingInputException in rule check_year in file x:\nMissing input files for rule "
        "check_year:"
    ],
    "command or package not found": [
        "/usr/bin/bash: line 1: hybridomx: command not found",
        "/bin/sh: 1: hybridom: not found",
        "ModuleNotFoundError: No module named 'hybridom'",
    ],
    "files of another version": [
        "hybridom: error: a.pt: checkpoint format 9 (version 2.0), expected 3 or older (this is "
        "version 0.1.0); install that version or train again",
        "hybridom: error: a.pt: written by version 0.2, whose configuration has x = 1, which "
        "version 0.1.0 does not know; install that version or train again",
    ],
    "changed code": [
        "    reason: Code has changed since last execution",
        "Some jobs were triggered by provenance information, see 'reason' section in the rule "
        "displays above.",
    ],
    "stopped on request": ["stopped on request after step 12; start again to go on"],
    "cancelled": [
        "SLURM-job '8' failed, SLURM status is: 'CANCELLED'. Reason: Unknown.",
        "slurmstepd-n2: error: *** STEP 12.0 ON n2 CANCELLED AT 2026-11-21T21:11:15 ***",
        "Terminating processes on user request, this might take some time.",
    ],
}


@pytest.mark.parametrize(
    ("name", "text"), [(name, text) for name, texts in TEXTS.items() for text in texts]
)
def test_each_text_is_explained(name, text):
    found = failures.explain(f"some line before\n{text}\nsome line after")
    assert found is not None
    assert found.name == name


def test_every_known_failure_has_a_text():
    assert {failure.name for failure in KNOWN} == set(TEXTS)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "step 3/400, 1 days: loss 1.2, learning rate 1.00e-05, 0 min 3 s left",
        "srun: error: n1: task 0: Exited with exit code 1",
        "sbatch --parsable --rerun-incomplete --latency-wait 5 --ignore-incomplete -A ocean",
        "    reason: Missing output files: memory.txt",
        "hybridom: error: results/x.nc: variable so is missing; make it",
        "hybridom.forecast: file a.nc: variable so not found in 3 of 4 files",
    ],
)
def test_text_without_a_known_failure_is_not_explained(text):
    assert failures.explain(text) is None


def test_report_of_a_run_on_a_cluster(run):
    text = failures.report(run("cluster"), SLURM_LOGS, lines=3)
    parts = {part.split()[1]: part for part in text.split("\n\n") if part.startswith("rule ")}
    assert set(parts) == {"gres", "memory", "missing", "notfound", "message", "train"}
    reasons = {rule: part.splitlines()[1].strip().partition(":")[0] for rule, part in parts.items()}
    assert reasons == {
        "gres": "no node has the GPUs or memory asked for",
        "memory": "out of memory",
        "missing": "outputs that did not appear",
        "notfound": "command or package not found",
        "message": "the command says",
        # its log has "Exceeded job memory limit" too, but SLURM's word goes first
        "train": "time limit",
    }
    assert "set-resources: train in slurm/config.yaml" in parts["train"]
    assert text.endswith("Failed at first, then done: rule flaky (once).")


def test_last_attempt_and_last_lines_of_the_own_log_are_shown(run):
    text = failures.report(run("cluster"), SLURM_LOGS, lines=3)
    (part,) = (part for part in text.split("\n\n") if part.startswith("rule message"))
    assert part.splitlines()[0] == "rule message (start=2001-03-01) failed 2 times (SLURM job 17)"
    assert part.splitlines()[-4:] == [
        "  last lines of logs/x/message/2001-03-01.log:",
        "    line 39 of the log",
        "    line 40 of the log",
        "    hybridom: error: results/x.nc: variable so is missing; make it",
    ]
    assert "results/x.nc: variable so is missing; make it" in part.splitlines()[1]


def test_of_a_group_only_the_rule_at_fault_is_shown(run):
    log = run("group")
    jobs = {job.rule: job for job in failed_jobs(log.read_text())}
    assert jobs["figure_a"].group and jobs["figure_b"].group and not jobs["local_c"].group
    text = failures.report(log, SLURM_LOGS)
    assert "figure_a" not in text
    assert "rule figure_b failed 2 times (SLURM job 20)\n  full disk or quota" in text
    assert "rule local_c (n=1) failed 2 times\n  GPU out of memory" in text


def test_run_without_slurm(run):
    text = failures.report(run("local"), SLURM_LOGS)
    assert "rule figure_b failed\n  full disk or quota" in text
    assert "rule local_c (n=1) failed\n  GPU out of memory" in text


def test_wrong_account_is_said_where_there_is_no_log(run):
    text = failures.report(run("account"), SLURM_LOGS)
    assert text.startswith("rule missing failed\n  no valid account: ")
    assert "slurm_account in slurm/config.yaml" in text
    assert "The given account bogus appears to be invalid" in text


def test_jobs_that_fail_alike_are_shown_once(run):
    log = run("local")
    text = log.read_text()
    block = text[text.index("localrule local_c") : text.index("[", text.index("rule good"))]
    error = text[text.index("Error in rule local_c") : text.index("Exiting because")]
    more = (block + error).replace("jobid: 3", "jobid: 9").replace("n=1", "n=2")
    log.write_text(text.replace("Exiting because", f"{more}Exiting because"))
    found = failures.report(log, SLURM_LOGS)
    assert found.count("rule local_c") == 1
    assert "  and alike: n=2" in found
    assert any(
        x.startswith("rule local_c (n=1) and 1 more: ") for x in failures.summary(log, SLURM_LOGS)
    )


def test_slurm_log_of_an_array_lies_elsewhere_than_snakemake_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    LOG.write_text((DATA / "array.txt").read_text())
    SLURM_LOGS.joinpath("rule_c").mkdir(parents=True)
    SLURM_LOGS.joinpath("rule_c/94_3.log").write_text(
        "slurmstepd: error: *** JOB 94 ON n2 CANCELLED AT 2026-11-21T21:12:15 DUE TO PREEMPTION *"
    )
    lines = failures.summary(LOG, SLURM_LOGS)
    assert any(line.startswith("rule c (n=0): preemption. ") for line in lines)


def test_rules_of_one_kind_that_fail_alike_are_shown_once(run):
    log = run("local")
    text = log.read_text().replace("local_c", "figure_c")
    Path("logs/x/c/1.log").write_text("hybridom: error: the disk is full\n")
    log.write_text(text)
    found = failures.report(log, SLURM_LOGS)
    assert found.count("full disk or quota") == 1
    assert "rule figure_b failed\n  and alike: rule figure_c (n=1)\n" in found


def test_unknown_reasons_are_told_apart_by_their_logs(run):
    log = run("local")
    log.write_text(log.read_text().replace("local_c", "figure_c"))
    Path("logs/x/c/1.log").write_text("ValueError: one\n")
    Path("logs/x/figures/b.log").write_text("ValueError: two\n")
    found = failures.report(log, SLURM_LOGS)
    assert "    ValueError: one" in found and "    ValueError: two" in found
    assert failures.summary(log, SLURM_LOGS)[0] == "rule figure_b: see logs/x/figures/b.log"


def test_summary_has_a_line_for_each_kind(run):
    found = failures.summary(run("cluster"), SLURM_LOGS)
    assert len(found) == 6
    assert "rule message (start=2001-03-01): results/x.nc: variable so is missing; make it" in found
    assert any(x.startswith("rule train (n=2): time limit. ") for x in found)


def test_failure_before_any_job_is_explained(tmp_path):
    log = tmp_path / LOG
    log.write_text("Building DAG of jobs...\nMissingInputException in rule check_year:\n")
    assert failures.report(log, SLURM_LOGS).startswith("missing inputs: ")


def test_missing_and_half_written_logs_are_no_error(run, tmp_path):
    assert failures.report(tmp_path / "no.snakemake.log", SLURM_LOGS) == ""
    log = run("cluster")
    whole = log.read_bytes()
    for size in range(0, len(whole), 997):
        log.write_bytes(whole[:size])
        failures.report(log, SLURM_LOGS)
    log.write_bytes(b"\xff\xfe Error in rule x:\n    jobid: 1\n")
    failures.report(log, SLURM_LOGS)


def test_jobs_that_have_not_ended_are_open(run):
    text = run("cluster").read_text()
    before = text[: text.index("Error in rule missing")]
    jobs = {job.rule: job for job in open_jobs(before)}
    assert jobs["train"].slurm_job == "8"
    assert jobs["train"].wildcards == "n=2"
    assert jobs["train"].logs == (Path("logs/x/time_2.log"),)
    assert "gres" not in jobs  # has failed by then
    # of the whole log, one job is still in the queue
    assert [job.rule for job in open_jobs(text)] == ["partition"]


def test_jobs_of_an_array_and_of_a_group(run):
    text = (DATA / "array.txt").read_text()
    jobs = open_jobs(text[: text.index("jobid: 1\n    output: c_0.txt\n    log: logs/x/c/0.log, ")])
    assert [(job.wildcards, job.slurm_job) for job in jobs] == [("n=0", "94_3"), ("n=1", "94_4")]
    text = run("group").read_text()
    group = open_jobs(text[: text.index("Error in group")])
    assert {(job.rule, job.local, job.slurm_job) for job in group} == {
        ("figure_a", False, ""),
        ("figure_b", False, ""),
    }


def test_nothing_heavy_is_loaded():
    code = (
        "import sys, hybridom.operations.failures\n"
        "heavy = {'torch', 'numpy', 'xarray', 'pandas', 'yaml', 'pydantic'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def rows() -> list[str]:
    """The table of the documentation."""
    cells = ((f.name, f.message, f.remedy.replace("<rule>", "*rule*")) for f in KNOWN)
    return [f"| {' | '.join(row)} |" for row in cells]


def test_documentation_has_every_failure_in_the_words_of_the_program():
    shown = [line for line in DOCS.read_text().splitlines() if line.startswith("| ")]
    assert shown[1:] == rows()

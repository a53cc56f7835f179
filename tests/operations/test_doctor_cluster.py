"""What `hybridom doctor` says of a profile and its cluster: commands that print what real ones
printed stand in for SLURM; the last tests ask a real one where there is one."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from hybridom import slurm
from hybridom.errors import UserError
from hybridom.operations.doctor import cluster, plan, profile
from hybridom.operations.doctor.findings import Finding
from tests.operations.doctor_case import ROOT, case, command, findings, only, statuses

# `sinfo --noheader --format "%R|%a|%l|%D|%c|%m|%G"`
SINFO = """\
cpu|up|2-00:00:00|40|128|515000|(null)
gpu|up|12:00:00|6|64|515000+|gpu:a100:4(S:0-1)
gpu|up|12:00:00|1|64|1000000|gpu:a100:8
old|down|infinite|2|16|64000|gpu:2
"""
# `scontrol show config`, shortened
SCONTROL = """\
Configuration data as of 2026-11-21T21:10:03
AccountingStorageType   = accounting_storage/slurmdbd
JobRequeue              = 1
MinJobAge               = 300 sec
"""
PROFILE = {
    "executor": "slurm",
    "jobs": 50,
    "default-resources": {
        "slurm_account": "ocean",
        "slurm_partition": "cpu",
        "gpus_per_node": 4,
        "mem_mb": 4000,
        "runtime": 60,
    },
    "set-resources": {"train": {"slurm_partition": "gpu", "runtime": 700}},
}
# a dry run of Snakemake 9.27
DRY_RUN = """\
Building DAG of jobs...

[Sat Nov 21 21:13:28 2026]
localrule configure_experiment:
    output: results/test/config/train.yaml
    threads: 99
    resources: tmpdir=/tmp, mem_mb=999999, slurm_partition=cpu, runtime=9999

[Sat Nov 21 21:13:28 2026]
rule train:
    input: results/test/config/train.yaml, resources/x/grid.nc
    output: results/test/train/checkpoint.pt
    jobid: 37
    reason: Forced execution
    threads: 64
    resources: tmpdir=/tmp, mem_mb=207703, mem=207.7 GB, disk_mb=<TBD>, slurm_partition=gpu, \
runtime=480, nodes=2, gpu=8, tasks_per_gpu=0, slurm_extra='--a=1,2'
Shell command: hybridom train

rule forecast:
    wildcards: start=2020-06-29
    resources: tmpdir=/tmp, mem_mb=100, slurm_partition=gpu, runtime=108, gres=gpu:a100:1
Shell command: hybridom forecast

rule forecast:
    wildcards: start=2020-06-30
    threads: 8
    resources: tmpdir=/tmp, mem_mb=200, slurm_partition=gpu, runtime=9, gres=gpu:a100:1

[Sat Nov 21 21:39:13 2026] Group job figures (jobs in lexicogr. order):

    [Sat Nov 21 21:39:13 2026]
    rule figure_a:
        threads: 2
        resources: tmpdir=/tmp, mem_mb=3000, slurm_partition=cpu, runtime=30, figures=1
    Shell command: hybridom figures a

    rule figure_b:
        resources: tmpdir=/tmp, mem_mb=1000, slurm_partition=cpu, runtime=40, figures=1

    rule figure_c:
        resources: tmpdir=/tmp, mem_mb=1000, slurm_partition=cpu, runtime=20, figures=1

rule page:
    resources: tmpdir=/tmp, mem_mb=<TBD>, slurm_partition=cpu, runtime=20
"""


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Commands of a cluster on which all is well."""
    folder = tmp_path / "bin"
    for name, printed in (
        ("sbatch", ""),
        ("sinfo", SINFO),
        ("scontrol", SCONTROL),
        ("sacctmgr", "ocean\nroot\nocean\n"),
        ("sacct", ""),
    ):
        command(folder, name, printed)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder


def write(tmp_path: Path, content: object = PROFILE, **changes: object) -> Path:
    """A profile of the given options; `None` takes one out."""
    folder = tmp_path / "profile"
    folder.mkdir(exist_ok=True)
    if isinstance(content, dict):
        options = {key.replace("_", "-"): value for key, value in changes.items()}
        content = {k: v for k, v in {**content, **options}.items() if v is not None}
        content = yaml.safe_dump(content, sort_keys=False)
    (folder / "config.yaml").write_text(str(content))
    return folder


def view(tmp_path: Path, *overrides: str, **changes: object) -> cluster.Cluster:
    """The cluster as seen with a profile."""
    return cluster.Cluster(case(*overrides, profile=write(tmp_path, **changes)))


def one(found) -> Finding:
    """The one thing that is found."""
    found = list(found)
    assert len(found) == 1, found
    return found[0]


def test_without_slurm_one_line_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    (check,) = cluster.checks(case(profile=tmp_path / "none"))
    assert only(check[1], case()).status == "skip"


def test_all_checks_of_a_good_profile_are_well(tools, tmp_path, monkeypatch):
    asked = list(plan.read(DRY_RUN, {}))
    monkeypatch.setattr(plan, "requests", lambda *words: plan.most(iter(asked)))
    monkeypatch.chdir(ROOT)
    of = case("training.ranks=8", profile=write(tmp_path))
    found = [finding for _, check in cluster.checks(of) for finding in findings(check, of)]
    assert {finding.status for finding in found} == {"ok"}, found
    names = {finding.name for finding in found}
    assert names == {
        "profile",
        "partitions",
        "account",
        "accounting",
        "requeue",
        "training",
        "jobs",
    }


# --- the profile


def test_a_profile_that_is_not_there_ends_no_other_group(tools, tmp_path):
    of = case(profile=tmp_path / "nowhere")
    (check,) = cluster.checks(of)
    found = only(check[1], of)
    assert found.status == "fail"
    assert "no folder of this name with a config.yaml" in found.found


def test_a_profile_is_found_where_snakemake_finds_it(tmp_path, monkeypatch):
    work, home = tmp_path / "work", tmp_path / "home"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home))
    for folder in (work / "here", home / "snakemake" / "mine"):
        folder.mkdir(parents=True)
        for name in ("config.yaml", "config.v8+.yaml", "config.v99+.yaml", "notes.yaml"):
            (folder / name).touch()
    monkeypatch.chdir(work)
    assert profile.find(Path("here")) == Path("here/config.v8+.yaml")
    assert profile.find(Path("mine")) == home / "snakemake" / "mine" / "config.v8+.yaml"
    assert profile.find(work / "here" / "notes.yaml") == work / "here" / "notes.yaml"
    with pytest.raises(UserError, match="profile nowhere: no folder"):
        profile.find(Path("nowhere"))


@pytest.mark.parametrize("text", ["jobs: [", "just words", ""])
def test_a_profile_that_cannot_be_read(tools, tmp_path, text):
    of = case(profile=write(tmp_path, text))
    (check,) = cluster.checks(of)
    assert only(check[1], of).status == "fail"


def test_an_unknown_option_is_named_with_the_nearest(tools, tmp_path):
    found = one(view(tmp_path, retriez=3).options())
    assert found.status == "fail"
    assert "it knows no retriez (did you mean retries?)" in found.found


def test_a_value_that_snakemake_refuses(tools, tmp_path):
    found = one(view(tmp_path, retries="many").options())
    assert found.status == "fail"
    assert "invalid int value: 'many'" in found.found


def test_options_of_the_plugin_are_known(tools, tmp_path):
    options = {"slurm_requeue": True, "slurm_status_command": "squeue", "latency_wait": 30}
    assert one(view(tmp_path, **options).options()).status == "ok"


def test_the_profiles_of_the_project_are_accepted(tools, monkeypatch):
    monkeypatch.chdir(ROOT)
    of = cluster.Cluster(case(profile=Path("slurm")))
    assert one(of.options()).status == "ok"


def test_a_profile_without_slurm_is_checked_no_further(tools, tmp_path):
    of = view(tmp_path, executor=None)
    assert one(of.options()).status == "warn"
    assert [name for name, _ in of.checks()] == ["profile", "software"]


def test_resources_may_be_lists_of_texts(tmp_path):
    content = {
        "default-resources": ["slurm_partition=cpu", "mem_mb=4000"],
        "set-resources": ["train:slurm_partition=gpu", "train:runtime=5"],
    }
    assert profile.default_resources(content) == {"slurm_partition": "cpu", "mem_mb": 4000}
    assert profile.rule_resources(content) == {"train": {"slurm_partition": "gpu", "runtime": 5}}


def test_tools_for_software_are_looked_for_where_they_are_asked_for(tools, tmp_path):
    assert list(view(tmp_path).deployment()) == []
    of = view(tmp_path, software_deployment_method=["conda", "apptainer"])
    assert statuses(list(of.deployment())) == ["fail", "fail"]
    command(tools, "conda")
    command(tools, "singularity")
    assert statuses(list(of.deployment())) == ["ok", "ok"]


# --- partitions, account, accounting


def test_partitions_that_are_missing_or_down(tools, tmp_path):
    rules = {"train": {"slurm_partition": "gpux"}, "forecast": {"slurm_partition": "old"}}
    cpu, gpux, old = view(tmp_path, set_resources=rules).partitions_up()
    assert (cpu.status, gpux.status, old.status) == ("ok", "fail", "fail")
    assert "train: no partition gpux" in gpux.found
    assert gpux.remedy == "take one of cpu, gpu, old"
    assert "old is down" in old.found


def test_an_account_that_may_not_be_charged(tools, tmp_path):
    wrong = {**PROFILE["default-resources"], "slurm_account": "oceans"}
    found = one(view(tmp_path, default_resources=wrong).account())
    assert found.status == "fail"
    assert found.remedy == "set slurm_account to one of ocean, root"
    none = {"slurm_partition": "cpu"}
    assert one(view(tmp_path, default_resources=none).account()).status == "warn"
    command(tools, "sacctmgr", "")
    assert one(view(tmp_path).account()).status == "warn"


def test_a_cluster_without_accounting_needs_squeue(tools, tmp_path):
    none = SCONTROL.replace("accounting_storage/slurmdbd", "accounting_storage/none")
    command(tools, "scontrol", none)
    command(tools, "sacct", error="Slurm accounting storage is disabled\n", status=1)
    command(tools, "sacctmgr", error="You are not running a supported accounting_storage", status=1)
    assert one(view(tmp_path).account()).status == "skip"
    found = one(view(tmp_path).accounting())
    assert found.status == "fail"
    assert "accounting storage is disabled" in found.found
    assert "slurm-status-command: squeue" in found.remedy
    asks = {"slurm_status_command": "squeue", "slurm_init_seconds_before_status_checks": 40}
    assert one(view(tmp_path, **asks).accounting()).status == "ok"


def test_sacct_that_says_so_without_a_status(tools, tmp_path):
    command(tools, "sacct", error="Slurm accounting storage is disabled\n")
    assert one(view(tmp_path).accounting()).status == "fail"


def test_squeue_must_remember_jobs_for_long_enough(tools, tmp_path):
    asks = {"slurm_status_command": "squeue", "slurm_init_seconds_before_status_checks": 120}
    found = one(view(tmp_path, **asks).accounting())
    assert found.status == "fail"
    assert "after 300 s" in found.found
    assert "to 100 or less" in found.remedy


def test_jobs_must_be_allowed_back_into_the_queue(tools, tmp_path):
    command(tools, "scontrol", SCONTROL.replace("JobRequeue              = 1", "JobRequeue = 0"))
    assert one(view(tmp_path).requeue()).status == "warn"
    assert one(view(tmp_path, slurm_requeue=True).requeue()).status == "ok"


@pytest.mark.parametrize(
    ("ranks", "gpus", "status", "words"),
    [
        (8, 4, "ok", "8 processes: 2 nodes, 4 GPUs on each"),
        (2, 4, "ok", "1 node, 2 GPUs on each"),
        (6, 4, "ok", "2 nodes, 3 GPUs on each"),
        (7, 4, "fail", "set training.ranks to 4 or 8"),
        (6, 0, "ok", "6 processes on CPUs"),
    ],
)
def test_processes_fill_whole_nodes(tools, tmp_path, ranks, gpus, status, words):
    values = {"gpus_per_node": gpus}
    found = one(view(tmp_path, f"training.ranks={ranks}", default_resources=values).training())
    assert found.status == status
    assert words in f"{found.found}; {found.remedy}"


# --- what the jobs ask for


def test_a_dry_run_is_read():
    asked = {one.rule: one for one in plan.most(plan.read(DRY_RUN, {}))}
    assert set(asked) == {"train", "forecast", "page", "group figures"}
    assert asked["train"] == plan.Request("train", "gpu", 480, 207703, 64, 2, 4, "")
    assert asked["forecast"] == plan.Request("forecast", "gpu", 108, 200, 8, 1, 1, "a100")
    assert asked["page"].memory is None


@pytest.mark.parametrize(
    ("limits", "width", "minutes"),
    [({"figures": 2, "downloads": 4}, 2, 80), ({"figures": 1}, 1, 120), ({}, 3, 40)],
)
def test_jobs_of_a_group_share_a_node(limits, width, minutes):
    (group,) = (one for one in plan.read(DRY_RUN, limits) if one.rule.startswith("group"))
    assert group.partition == "cpu"
    assert (group.memory, group.cores, group.minutes) == (3000 * width, 2 * width, minutes)


def request(**changes: object) -> plan.Request:
    values = {"rule": "train", "partition": "gpu", "minutes": 60, "memory": 1000, "cores": 8}
    return plan.Request(**{**values, "nodes": 1, "gpus": 0, "gpu_type": "", **changes})


@pytest.mark.parametrize(
    ("changes", "found", "remedy"),
    [
        ({"minutes": 721}, "train (721 min): partition gpu allows 720 min", "runtime"),
        ({"memory": 1_000_001}, "the largest node of partition gpu has 1000000 MB", "mem_mb"),
        (
            {"cores": 65},
            "train (65 cores): the largest node of partition gpu has 64 cores",
            "threads",
        ),
        ({"cores": 65, "rule": "group x"}, "group x (65 cores)", "fewer of them run side by side"),
        ({"gpus": 9}, "nodes of partition gpu have 8 GPUs", "gpus_per_node"),
        ({"gpus": 1, "partition": "cpu"}, "partition cpu have no GPUs", "one of gpu, old"),
        ({"gpus": 8, "nodes": 2}, "partition gpu has 1 nodes with so many GPUs", "training.ranks"),
        ({"gpus": 1, "gpu_type": "h100"}, "the GPUs of partition gpu are a100", "gpu_type"),
    ],
)
def test_what_a_partition_does_not_have(tools, tmp_path, monkeypatch, changes, found, remedy):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(plan, "requests", lambda *words: [request(**changes)])
    said = one(view(tmp_path).jobs())
    assert said.status == "fail"
    assert found in said.found
    assert remedy in said.remedy


def test_what_a_partition_has(tools, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    fits = [
        request(minutes=720, memory=1_000_000, cores=64, gpus=4, nodes=7, gpu_type="a100"),
        request(partition="old", minutes=10**6, gpus=2),
        request(partition="", minutes=10**6),
    ]
    monkeypatch.setattr(plan, "requests", lambda *words: fits)
    assert one(view(tmp_path).jobs()).status == "ok"


def test_rules_with_the_same_trouble_share_a_line(tools, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    asked = [request(minutes=800), request(rule="forecast", minutes=900)]
    monkeypatch.setattr(plan, "requests", lambda *words: asked)
    assert "train (800 min), forecast (900 min): partition" in one(view(tmp_path).jobs()).found


def test_outside_a_clone_no_run_can_be_planned(tools, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert one(view(tmp_path).jobs()).status == "skip"


def test_the_workflow_is_planned_with_the_profile(tools, tmp_path, monkeypatch):
    """The real Snakefile: what the profile says of a rule comes back."""
    monkeypatch.chdir(tmp_path)
    of = case("training.ranks=2")
    file = write(tmp_path) / "config.yaml"
    asked = {one.rule: one for one in plan.requests(of.config, ROOT / "Snakefile", file, {})}
    assert {"train", "forecast", "prepare_state", "evaluate_start"} <= set(asked)
    assert asked["train"].partition == "gpu"
    assert asked["train"].minutes == 700
    assert asked["train"].cores > 1
    assert asked["prepare_state"].partition == "cpu"
    assert asked["prepare_state"].memory is not None


def test_no_run_is_planned_with_a_profile_that_is_refused(tools, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert one(view(tmp_path, retriez=3).jobs()).status == "skip"


def test_a_run_that_cannot_be_planned(tools, tmp_path):
    snakefile = tmp_path / "Snakefile"
    snakefile.write_text("rule all:\n    input: 'nobody_makes_this'\n")
    with pytest.raises(UserError, match="cannot plan the run"):
        plan.requests(case().config, snakefile, write(tmp_path) / "config.yaml", {})


# --- a real SLURM


@pytest.fixture
def real() -> None:
    """A SLURM that answers."""
    if shutil.which("sinfo") is None:
        pytest.skip("no SLURM here")
    try:
        answers = subprocess.run(["sinfo"], capture_output=True, timeout=30).returncode == 0
    except subprocess.TimeoutExpired:
        answers = False
    if not answers:
        pytest.skip("sinfo does not answer: no controller runs")


def test_a_real_cluster_is_read(real, tmp_path):
    names = sorted({kind.name for kind in slurm.partitions()})
    values = {"slurm_partition": names[0]}
    rules = {"train": {"slurm_partition": "no_such_partition"}}
    of = view(tmp_path, default_resources=values, set_resources=rules)
    there, missing = of.partitions_up()
    assert there.status == "ok"
    assert missing.status == "fail"
    assert missing.remedy == f"take one of {', '.join(names)}"
    assert of.settings["ClusterName"]
    assert of.number("MinJobAge") is not None


def test_real_accounts_and_accounting(real, tmp_path):
    of = view(tmp_path)
    if "slurmdbd" not in of.settings["AccountingStorageType"]:
        assert one(of.account()).status == "skip"
        assert one(of.accounting()).status == "fail"
        return
    assert one(of.accounting()).status == "ok"
    valid = slurm.accounts(os.environ.get("USER") or "root")
    wrong = {"slurm_account": "no_such_account"}
    found = one(view(tmp_path, default_resources=wrong).account())
    assert found.status == ("fail" if valid else "warn")
    if valid:
        right = {"slurm_account": valid[0]}
        assert one(view(tmp_path, default_resources=right).account()).status == "ok"

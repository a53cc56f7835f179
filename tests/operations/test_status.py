"""`hybridom status` on folders as the stages write them."""

from __future__ import annotations

import csv
import datetime as dt
import fcntl
import os
import time
from pathlib import Path

import pytest

from hybridom.config import STAGES, Config, load, write_stage
from hybridom.layout import Layout
from hybridom.operations import status, status_jobs, status_training
from hybridom.operations.status_stages import stages
from hybridom.operations.status_words import duration, last_line

DATA = Path(__file__).parent / "data"
TEST = Path(__file__).parents[2] / "config" / "test.yaml"
# What `squeue` writes in the format of hybridom/slurm.py: two jobs of a run here, one of which its
# log tells nothing, one of another folder, and one of another program.
QUEUE = """\
8|RUNNING|0:24|1:00|0:36|None|n2|{here}|rule_train_wildcards_2
7|PENDING|0:00|4-04:00:00|4-04:00:00|PartitionTimeLimit||{here}|rule_partition
51|RUNNING|0:23|20:00|19:37|None|n[1-2]|{here}|rule_forecast_wildcards_test_2002-01-21
52|RUNNING|0:23|20:00|19:37|None|n[1-2]|/elsewhere|rule_forecast_wildcards_test_2002-01-21
60|RUNNING|2:00|20:00|18:00|None|n1|{here}|
"""


@pytest.fixture
def config(tmp_path, monkeypatch) -> Config:
    """The tiny configuration in an empty working directory, on a machine without SLURM."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return load(TEST)


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def write_record(path: Path, steps: int, width: int = 0) -> None:
    """A record of training of `steps` steps with a validation every sixth; loss is 1/step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["step", "days", "loss", "samples_per_second", "skill", "more"])
        for step in range(1, steps + 1):
            days = 1 if step <= 12 else 2
            skill = 0.5 + step / 1000 if step % 6 == 0 else ""
            writer.writerow([step, days, 1 / step, 2.0 / days, skill, "x" * width])


def row(text: str, name: str) -> str:
    """The rest of the line of the table that begins with `name`."""
    (line,) = (line for line in text.splitlines() if line.startswith(f"  {name} "))
    return " ".join(line.strip().removeprefix(name).split())


# stages


def test_empty_folder_has_nothing_done(config):
    text = status.describe(config)
    assert text.startswith("experiment test\n")
    assert row(text, "ocean state") == "0/2 years"
    assert row(text, "forecasts") == "0/2 starts"
    assert row(text, "page") == "0/1 page"
    assert "no Snakemake has run in this folder" in text
    for word in ("training\n", "changed options", "failures", "unfinished"):
        assert word not in text


def test_outputs_are_counted(config):
    layout = Layout(config)
    first, _ = config.forecast.start_dates()
    touch(layout.state_manifest(2001), layout.forecast_manifest(first), layout.grid_file)
    touch(layout.scores(first))  # one family of several
    stamp = time.mktime((2026, 11, 21, 19, 22, 0, 0, 0, -1))
    os.utime(layout.state_manifest(2001), (stamp, stamp))
    text = status.describe(config)
    assert row(text, "ocean state") == "1/2 years 2026-11-21 19:22"
    assert row(text, "forcing") == "0/2 years"
    assert row(text, "grid and wet mask").startswith("1/1 file")
    assert row(text, "forecasts").startswith("1/2 starts")
    assert row(text, "scores").startswith("0/2 starts")
    touch(*(layout.scores(first, family) for family in config.evaluation.families))
    assert row(status.describe(config), "scores").startswith("1/2 starts")


def test_stages_follow_the_configuration(config):
    names = [stage.name for stage in stages(config, Layout(config))]
    assert "thresholds of extremes" in names and "embedded ocean" in names
    changed = [
        "source.kind=download",
        "evaluation.families=[drift]",
        "evaluation.baselines=[climatology]",
    ]
    fetched = load(TEST, changed)
    by_name = {stage.name: stage for stage in stages(fetched, Layout(fetched))}
    assert not {"thresholds of extremes", "embedded ocean", "damping of anomalies"} & set(by_name)
    assert len(by_name["fetched ocean"].outputs) == 3  # December to February
    assert len(by_name["tables of scores"].outputs) == 3  # fields, drift, skill


def test_every_output_of_the_workflow_is_counted_somewhere(config):
    """All files under `rule all` and what they are made from have a row."""
    layout = Layout(config)
    counted = {
        path for stage in stages(config, layout) for files in stage.outputs for path in files
    }
    assert {layout.page, layout.skill_table, layout.scores_table, layout.checkpoint} <= counted
    assert {layout.twin_manifest(y) for y in (2001, 2002)} <= counted


def test_a_region_counts_what_its_driver_has_made(config):
    region = load(TEST.with_name("test_region.yaml"))
    layout = Layout(region)
    touch(layout.driver.state_manifest(2001), layout.region_check)
    # of a start of the test period, and one that drives training; the third drives nothing here
    for start in ("2002-01-18", "2001-12-28", "2001-12-29"):
        touch(layout.driver.forecast_manifest(dt.date.fromisoformat(start)))
    text = status.describe(region)
    assert row(text, "fit into the driver").startswith("1/1 report")
    assert row(text, "states of the driver").startswith("1/2 years")
    assert row(text, "forecasts of the driver").startswith("2/6 starts")
    assert "driver" not in status.describe(config)


def test_regions_are_named(config):
    known = load(TEST, ["regions=['a.yaml b.yaml', c.yaml]"])
    text = status.describe(known)
    for name in "abc":
        assert f"\n  {name}.yaml: hybridom status --config {name}.yaml" in text
    assert "\nregions\n" not in status.describe(config)


def test_stage_with_changed_options_runs_again(config):
    layout = Layout(config)
    for stage in STAGES:
        write_stage(config, stage, layout.stage_config(stage))
    touch(layout.checkpoint, layout.grid_file)
    now = load(TEST, ["training.loss.kind=mae", "figures.dpi=70"])
    text = status.describe(now)
    assert row(text, "training").endswith("options changed: runs again")
    assert "changed" not in row(text, "grid and wet mask")
    assert "changed" not in row(text, "figures, films")  # there are none yet
    assert "  train, and what follows:\n    training.loss.kind: mse -> mae" in text
    assert "  figures, page, and what follows:\n    figures.dpi: 60 -> 70" in text


# training


def test_training_that_runs(config):
    layout = Layout(config)
    record = layout.checkpoints_dir / "metrics.csv"
    write_record(record, 8)
    touch(layout.checkpoints_dir / "step_000000006.pt")
    (layout.checkpoints_dir / "best.pt").symlink_to("step_000000006.pt")
    found = status_training.lines(config, layout, changed=False)
    mean = sum(1 / step for step in range(1, 9)) / 8
    assert (
        found[0]
        == f"step 8 of 18, loss 0.125 (mean of the last 8: {mean:.4g}), skill 0.506 at step 6"
    )
    # a step takes ranks x batch windows at 2 windows a second; those of two days take twice as long
    seconds = config.training.ranks * config.training.batch / 2
    left = duration((4 + 2 * 6) * seconds)
    assert found[1] == f"running, last step 0 s ago: {seconds:.3g} s a step, {left} left"
    assert found[2].startswith(f"newest checkpoint {layout.checkpoints_dir}/step_000000006.pt, ")
    assert found[2].endswith("; best: step 6")


def test_time_left_in_the_second_part_of_the_curriculum(config):
    layout = Layout(config)
    write_record(layout.checkpoints_dir / "metrics.csv", 15)
    seconds = config.training.ranks * config.training.batch / 1
    said = status_training.lines(config, layout, changed=False)[1]
    assert (
        said == f"running, last step 0 s ago: {seconds:.3g} s a step, {duration(3 * seconds)} left"
    )


def test_training_that_was_stopped_and_one_that_is_finished(config):
    layout = Layout(config)
    record = layout.checkpoints_dir / "metrics.csv"
    write_record(record, 8)
    old = time.time() - 7300
    os.utime(record, (old, old))
    assert status_training.lines(config, layout, changed=False)[1].startswith(
        "not running, last step 2 h 1 min ago: the same command goes on, "
    )
    write_record(record, 18)
    touch(layout.checkpoint)
    assert (
        status_training.lines(config, layout, changed=False)[1]
        == f"finished 0 s ago: {layout.checkpoint}"
    )


def test_training_that_began_anew_beside_the_weights_of_before(config):
    layout = Layout(config)
    write_record(layout.checkpoints_dir / "metrics.csv", 8)
    touch(layout.checkpoint)
    assert status_training.lines(config, layout, changed=False)[1].startswith("running, ")
    (other,) = status_training.lines(config, layout, changed=True)[1:]
    assert other == "last step 0 s ago, with other options than now (see above)"


def test_of_a_long_record_only_the_end_is_read(config):
    record = Layout(config).checkpoints_dir / "metrics.csv"
    write_record(record, 4000, width=2000)
    assert record.stat().st_size > 3 * status_training.TAIL
    rows = status_training.last_rows(record)
    assert rows[-1]["step"] == "4000" and 500 < len(rows) < 1100
    assert [int(row["step"]) for row in rows] == list(range(4001 - len(rows), 4001))


def test_first_row_that_is_read_is_whole_wherever_the_end_begins(config, monkeypatch):
    record = Layout(config).checkpoints_dir / "metrics.csv"
    write_record(record, 120)
    for tail in range(1, 400):
        monkeypatch.setattr(status_training, "TAIL", tail)
        steps = [int(row["step"]) for row in status_training.last_rows(record)]
        assert steps == list(range(121 - len(steps), 121))
    assert len(steps) > 5


def test_record_cut_anywhere_is_no_error(config):
    layout = Layout(config)
    record = layout.checkpoints_dir / "metrics.csv"
    write_record(record, 8)
    whole = record.read_bytes()
    for size in range(len(whole)):
        record.write_bytes(whole[:size])
        text = status.describe(config)
        steps = whole[:size].count(b"\n") - 1
        assert (f"step {steps} of 18" in text) == (steps > 0)


# jobs


def test_lock_tells_whether_snakemake_runs(config):
    assert not status_jobs.running()
    touch(status_jobs.LOCK)
    assert not status_jobs.running()
    with status_jobs.LOCK.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        assert status_jobs.running()
    assert not status_jobs.running()


def test_looking_at_the_lock_leaves_it_free(config):
    touch(status_jobs.LOCK)
    status_jobs.running()
    with status_jobs.LOCK.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises where it is held


def place_run(name: str, until: str) -> None:
    """A recorded run as it was when it wrote `until`."""
    text = (DATA / name / "snakemake.txt").read_text()
    log = status_jobs.LOGS / "2026-11-21T211051.524428.snakemake.log"
    touch(log)
    log.write_text(text[: text.index(until)])


def test_jobs_in_the_queue_are_shown_with_their_logs(config, tmp_path):
    place_run("cluster", "Error in rule message:\n    message: SLURM-job '17'")
    touch(Path("logs/x/time_2.log"))
    Path("logs/x/time_2.log").write_text(
        "2026-11-21 21:33:57 INFO hybridom.progress: year 2001: 120/365, 2.4/s, 1 min 42 s left\n"
    )
    queue = QUEUE.format(here=tmp_path)
    for name, text in {"sbatch": "", "squeue": f"cat <<'END'\n{queue}END\n"}.items():
        touch(tmp_path / "bin" / name)
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{text}")
        (tmp_path / "bin" / name).chmod(0o755)
    touch(status_jobs.LOCK)
    with status_jobs.LOCK.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)  # Snakemake has sent them, and waits
        found = status_jobs.lines(Path("logs/test"))
    assert found[1:] == [
        "51  forecast_wildcards_test_2002-01-21  running on n[1-2], 0:23 of 20:00",
        "8  train (n=2)  running on n2, 0:24 of 1:00",
        "    logs/x/time_2.log: year 2001: 120/365, 2.4/s, 1 min 42 s left",
        "7  partition  waits: for ever: it asks for more time than its partition gives; "
        "lower runtime (PartitionTimeLimit)",
        "17  message (start=2001-03-01)  has left the queue; Snakemake looks again in a while",
    ]
    assert status_jobs.lines(Path("logs/test"))[1:] == found[1:-1]  # nobody is left to notice


def test_slurm_that_does_not_answer_is_said(config, tmp_path):
    for name in ("sbatch", "squeue"):
        touch(tmp_path / "bin" / name)
        (tmp_path / "bin" / name).write_text("#!/bin/sh\necho 'no controller' >&2\nexit 1\n")
        (tmp_path / "bin" / name).chmod(0o755)
    text = status.describe(config)
    assert "SLURM: squeue " in text and "no controller" in text


def test_rules_that_run_here_are_shown_while_snakemake_holds_the_lock(config):
    place_run("local", "Finished jobid: 4")
    touch(Path("logs/x/c/1.log"), status_jobs.LOCK)
    Path("logs/x/c/1.log").write_text("half way\n")
    assert not any("runs here" in line for line in status_jobs.lines(Path("logs/test")))
    with status_jobs.LOCK.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        found = status_jobs.lines(Path("logs/test"))
    assert found[0].startswith("Snakemake runs in this folder, 1 of 5 steps (20%) done (")
    assert found[1:] == [
        "local_c (n=1)  runs here",
        "    logs/x/c/1.log: half way",
        "good  runs here",
    ]


def test_jobs_of_a_group_in_slurm_do_not_run_here(config):
    place_run("group", "    message: Error in group")
    touch(status_jobs.LOCK)
    with status_jobs.LOCK.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        assert len(status_jobs.lines(Path("logs/test"))) == 1


def test_command_by_hand_is_seen_by_its_log(config):
    touch(Path("logs/test/train.log"), Path("logs/test/old.log"))
    Path("logs/test/train.log").write_text("step 3/18\n")
    os.utime("logs/test/old.log", (0, 0))
    found = status_jobs.lines(Path("logs/test"))
    assert [line for line in found if "logs/test" in line] == [
        "logs/test/train.log, 0 s ago: step 3/18"
    ]


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("Priority", "others are before it"),
        ("QOSMaxGRESPerUser", "you use all that your QOS allows"),
        ("AssocGrpCPUMinutesLimit", "the account has used all"),
        ("ReqNodeNotAvail, UnavailableNodes:n1", "nodes are down or reserved"),
        ("BeginTime", "put back into the queue"),
    ],
)
def test_reasons_are_said_in_plain_words(reason, said):
    assert status_jobs.waiting_for(reason).startswith(said)
    assert reason in status_jobs.waiting_for(reason)


def test_unknown_reason_is_shown_as_it_is():
    assert status_jobs.waiting_for("SomethingNew") == "SomethingNew"


# failures and leftovers


def test_failures_of_the_last_run_that_had_something_to_do(config):
    place_run("cluster", "At least one job did not complete")
    refused = status_jobs.LOGS / "2026-11-22T000000.000000.snakemake.log"
    refused.write_text("Building DAG of jobs...\n")
    text = status.describe(config)
    assert "failures of the last run\n  rule gres: no node has the GPUs" in text
    refused.write_text("Select jobs to execute...\n[x]\nFinished jobid: 1 (Rule: all)\n")
    assert "failures of the last run" not in status.describe(config)


def test_unfinished_stores_are_named_with_their_progress(config):
    layout = Layout(config)
    start = config.forecast.start_dates()[0]
    store = layout.forecast_store(start)
    partial = store.with_name(store.name + ".partial")
    touch(partial / "inner.partial" / "c", layout.state_store(2001) / "0.partial" / "c")
    store.with_name(store.name + ".journal").write_text("{}\n{}\n{}\n")
    text = status.describe(config)
    assert f"  {partial}, 0 s ago, 3 entries written" in text
    assert "inner.partial" not in text and "0.partial" not in text


# words


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.4, "0 s"),
        (59, "59 s"),
        (61, "1 min"),
        (7260, "2 h 1 min"),
        (200_000, "2 d 7 h"),
        (float("nan"), "an unknown time"),
    ],
)
def test_durations(seconds, said):
    assert duration(seconds) == said


def test_last_line_of_a_log(tmp_path):
    log = tmp_path / "a.log"
    assert last_line(log) == ""
    log.write_bytes(b"\n")
    assert last_line(log) == ""
    log.write_bytes(b"first\n2026-11-21 21:33:57 INFO hybridom.forecast: day 3\n\n")
    assert last_line(log) == "day 3"
    log.write_bytes(b" 10%|#  |\r 20%|## |\r")
    assert last_line(log) == "20%|## |"
    log.write_bytes(b"x" * 5000 + b"\xff")
    assert len(last_line(log)) == 140

"""The record of a run: metrics.csv, TensorBoard, Weights & Biases, the progress line."""

from __future__ import annotations

import builtins
import logging
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from hybridom.config import StageConfig, TrainingConfig
from hybridom.errors import UserError
from hybridom.training import sinks, tracking
from hybridom.training.distributed import Ranks
from hybridom.training.schedule import stages
from hybridom.training.sinks import tag
from hybridom.training.tracking import MetricsFile, ProgressLine, Record, columns

COLUMNS = ("step", "loss", "skill")
KEY = "0123456789abcdef0123456789abcdef01234567"


def settings(tensorboard: bool = False, mode: str = "off") -> StageConfig:
    chosen = {"tensorboard": tensorboard, "wandb": {"mode": mode, "project": "seas"}}
    training = TrainingConfig(curriculum=[{"days": 1, "steps": 10}], tracking=chosen)
    return StageConfig("train", {"experiment": "gyre", "training": training})


def write(path: Path, step: int, rows: list[dict[str, float]], names=COLUMNS) -> None:
    file = MetricsFile(path, names, step, write=True)
    for row in rows:
        file.append(row)
    file.close()


def rows(first: int, last: int) -> list[dict[str, float]]:
    return [{"step": n, "loss": n / 2} for n in range(first, last + 1)]


# columns


def test_every_column_but_the_step_has_a_tag_of_its_own() -> None:
    names = columns((1, 30), ("ilap", "state"))
    assert names[0] == "step" and len(set(names)) == len(names)
    tags = [tag(name) for name in names[1:]]
    assert len(set(tags)) == len(tags)
    shown = {"loss": "loss/total", "rmse_thetao_30": "validation/rmse_thetao/lead_30"}
    shown |= {"gradient_norm": "optimiser/gradient_norm", "data_wait": "speed/data_wait"}
    shown |= {"gradient_norm_ilap": "optimiser/gradient_norm/ilap", "skill": "validation/skill"}
    assert {name: tag(name) for name in shown} == shown


# metrics.csv


def test_rows_reach_the_file_at_once_with_every_digit(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "metrics.csv"
    file = MetricsFile(path, COLUMNS, 0, write=True)
    file.append({"step": 1, "loss": 0.1 + 0.2})
    assert path.read_text().splitlines() == ["step,loss,skill", "1,0.30000000000000004,"]
    file.close()


def test_rows_after_the_checkpoint_and_rows_cut_short_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    write(path, 0, [{"step": n, "loss": n / 2, "skill": 1.0} for n in range(1, 6)])
    with path.open("a") as handle:
        handle.write("6,3")
    write(path, 3, [{"step": 4, "loss": 9.0}])
    assert path.read_text().splitlines() == [
        "step,loss,skill",
        "1,0.5,1.0",
        "2,1.0,1.0",
        "3,1.5,1.0",
        "4,9.0,",
    ]


def test_a_record_with_other_columns_is_kept_and_filled_up(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    write(path, 0, [{"step": 1, "rmse_so": 0.5, "loss": 2.0}], ("step", "rmse_so", "loss"))
    write(path, 1, [{"step": 2, "loss": 1.0, "skill": 0.9}])
    assert path.read_text().splitlines() == [
        "step,loss,skill,rmse_so",
        "1,2.0,,0.5",
        "2,1.0,0.9,",
    ]


def test_a_file_without_steps_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("speed\n2\n")
    with pytest.raises(UserError, match="column step is missing"):
        MetricsFile(path, COLUMNS, 0, write=True)
    assert path.read_text() == "speed\n2\n"


def test_a_column_that_was_not_announced_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="speed"):
        write(tmp_path / "metrics.csv", 0, [{"step": 1, "speed": 2.0}])


def test_only_the_first_process_writes(tmp_path: Path) -> None:
    with Record(tmp_path, COLUMNS, 0, settings(tensorboard=True, mode="offline"), False) as record:
        record.append({"step": 1})
        record.sync()
    assert not list(tmp_path.iterdir())


def test_publishing_copies_the_record(tmp_path: Path) -> None:
    target = tmp_path / "metrics.csv"
    with Record(tmp_path / "work", COLUMNS, 0, settings(), write=True) as record:
        record.append({"step": 1, "loss": 2.0})
        record.publish(target)
    assert target.read_bytes() == (tmp_path / "work" / "metrics.csv").read_bytes()
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["metrics.csv"]


# TensorBoard


def events(folder: Path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder / "tensorboard"), {"scalars": 0, "tensors": 0})
    return found.Reload()


def test_tensorboard_shows_every_step_once_after_a_kill(tmp_path: Path) -> None:
    config = settings(tensorboard=True)
    killed = Record(tmp_path, COLUMNS, 0, config, write=True)
    for row in rows(1, 7):
        killed.append(row)
    killed.append({"step": 8, "loss": 4.0, "skill": 0.8})
    killed.sync()
    with Record(tmp_path, COLUMNS, 5, config, write=True) as record:
        for row in rows(6, 9):
            record.append({**row, "loss": 10.0 * row["loss"]})
    found = events(tmp_path)
    assert found.Scalars("validation/skill") == []
    shown = [(event.step, event.value) for event in found.Scalars("loss/total")]
    assert shown == [(n, n / 2 if n <= 5 else 5.0 * n) for n in range(1, 10)]
    (text,) = found.Tensors("configuration/text_summary")
    assert b"experiment: gyre" in text.tensor_proto.string_val[0]


def test_what_precedes_a_sync_outlives_a_kill(tmp_path: Path) -> None:
    code = f"""
import os
from pathlib import Path
from hybridom.training.tracking import Record
from tests.training.test_tracking import COLUMNS, rows, settings
record = Record(Path({str(tmp_path)!r}), COLUMNS, 0, settings(tensorboard=True), write=True)
for row in rows(1, 30):
    record.append(row)
record.sync()
os.kill(os.getpid(), 9)
"""
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, check=False)
    assert done.returncode == -9
    assert [event.step for event in events(tmp_path).Scalars("loss/total")] == list(range(1, 31))


def test_a_sink_that_fails_costs_itself_but_no_step(tmp_path, monkeypatch, caplog) -> None:
    calls = []
    broken = SimpleNamespace(name="Board", write=None, flush=None, close=None)
    sound = SimpleNamespace(
        name="Panel",
        write=lambda step, values: calls.append((step, values)),
        flush=lambda: calls.append("flush"),
        close=lambda failed: calls.append(("close", failed)),
    )
    monkeypatch.setattr(tracking, "open_sinks", lambda *given: [broken, sound])
    with caplog.at_level(logging.WARNING), Record(tmp_path, COLUMNS, 0, settings(), True) as record:
        for row in rows(1, 3):
            record.append(row)
        record.sync()
    assert [r.getMessage().split(":")[0] for r in caplog.records] == ["Board"]
    shown = [(n, {"loss/total": n / 2}) for n in (1, 2, 3)]
    assert calls == [*shown, "flush", ("close", False)]
    assert len((tmp_path / "metrics.csv").read_text().splitlines()) == 4


# Weights & Biases


def history(folder: Path) -> list[dict[str, str]]:
    """Rows in the files of all offline runs of a folder, in the order of their making."""
    from wandb.proto.wandb_internal_pb2 import Record as Entry
    from wandb.sdk.internal.datastore import DataStore

    found = []
    for path in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        store = DataStore()
        store.open_for_scan(str(path))
        while (data := store.scan_data()) is not None:
            entry = Entry.FromString(data)
            if entry.WhichOneof("record_type") == "history":
                items = {x.key or ".".join(x.nested_key): x.value_json for x in entry.history.item}
                found.append(items | {"_step": str(entry.history.step.num)})
    return found


@pytest.fixture
def offline(tmp_path: Path, monkeypatch, capfd) -> tuple[Path, str]:
    """A run kept offline that was stopped at step 8 and went on from step 5; what it printed."""
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_PROJECT", "another")
    for step, last in ((0, 8), (5, 10)):
        time.sleep(1.1 if step else 0.0)  # folders are named by the second
        with Record(tmp_path, COLUMNS, step, settings(mode="offline"), write=True) as record:
            for row in rows(step + 1, last):
                record.append(row)
            record.sync()
    printed = capfd.readouterr()
    return tmp_path, printed.out + printed.err


def test_an_offline_run_holds_every_step_once_and_no_key(offline) -> None:
    folder, printed = offline
    shown = [(int(row["_step"]), float(row["loss/total"])) for row in history(folder)]
    assert shown == [(n, n / 2) for n in range(1, 11)]
    assert printed == ""
    run = (folder / "wandb_id").read_text()
    runs = list(folder.glob(f"wandb/offline-run-*-{run}"))
    assert len(runs) == 2
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert not any(KEY.encode() in path.read_bytes() for path in files)
    assert not any("def test_" in path.read_text(errors="ignore") for path in files)
    assert any(
        b"gyre" in p.read_bytes() and b"seas" in p.read_bytes() for p in runs[0].glob("*.wandb")
    )


def test_an_online_run_that_cannot_start_is_kept_offline(
    tmp_path, monkeypatch, caplog, capfd
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(sinks, "START_TIMEOUT", 2.0)
    config = settings(mode="online")
    with caplog.at_level(logging.INFO), Record(tmp_path, COLUMNS, 0, config, True) as record:
        for row in rows(1, 3):
            record.append(row)
    said = [r.getMessage() for r in caplog.records if r.name.startswith("hybridom")]
    assert "kept offline" in said[0] and "wandb login" in said[0] and "wandb sync" in said[1]
    assert len(said) == 2 and "\n" not in "".join(said)
    assert capfd.readouterr() == ("", "")
    assert [row["_step"] for row in history(tmp_path)] == ["1", "2", "3"]
    assert not any(KEY.encode() in p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())


def test_an_online_run_goes_on_after_what_the_server_has(tmp_path, monkeypatch) -> None:
    wandb = pytest.importorskip("wandb")
    sent, given = [], []

    class Run:
        step = 8  # the first step that the server has not seen

        def log(self, values, step):
            sent.append((step, values["loss/total"]))

        def finish(self, exit_code):
            sent.append(exit_code)

    monkeypatch.setattr(wandb, "init", lambda **options: given.append(options) or Run())
    write(tmp_path / "metrics.csv", 0, rows(1, 9))
    config = settings(mode="online")
    with pytest.raises(RuntimeError), Record(tmp_path, COLUMNS, 5, config, write=True) as record:
        for row in rows(6, 10):
            record.append(row)
        raise RuntimeError
    assert sent == [(8, 4.0), (9, 4.5), (10, 5.0), 1]
    assert given[0]["resume"] == "allow" and given[0]["dir"] == str(tmp_path)
    assert given[0]["id"] == (tmp_path / "wandb_id").read_text()
    assert given[0]["config"]["training"]["tracking"]["wandb"]["project"] == "seas"


def test_without_the_package_the_line_says_how_to_install_it(tmp_path, monkeypatch) -> None:
    real = builtins.__import__

    def without(name, *given, **more):
        if name == "wandb":
            raise ModuleNotFoundError(name)
        return real(name, *given, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r"pip install 'hybridom\[wandb\]'"):
        Record(tmp_path, COLUMNS, 0, settings(mode="online"), write=True)


def test_neither_package_is_imported_where_it_is_not_used() -> None:
    code = (
        "import hybridom.training.tracking, sys; print({'wandb', 'tensorboard'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# progress


def test_the_progress_line_gives_speed_wait_and_time_left(monkeypatch, caplog) -> None:
    now = 100.0
    monkeypatch.setattr(tracking.time, "monotonic", lambda: now)
    progress = ProgressLine(stages([(1, 4), (3, 2)]), Ranks(0, 1, torch.device("cpu")))
    progress.start(stages([(1, 4), (3, 2)])[0], 0)
    result = SimpleNamespace(
        loss=0.5,
        errors={"thetao": 0.25},
        learning_rate=1e-3,
        gradient_norm=2.0,
        gradient_norms={"state": 1.5},
        update_ratios={"state": 1e-4},
        wait=0.5,
        stop=False,
    )
    with caplog.at_level(logging.INFO):
        for step in (1, 2):
            now += 2.0
            row = progress.row(step, 8, result)
            progress.show(row)
    assert row == {
        "step": 2,
        "days": 1,
        "loss": 0.5,
        "loss_thetao": 0.25,
        "learning_rate": 1e-3,
        "gradient_norm": 2.0,
        "gradient_norm_state": 1.5,
        "update_ratio_state": 1e-4,
        "samples_per_second": 4.0,
        "data_wait": 0.25,
    }
    assert set(row) <= set(columns((1,), ("state",)))
    # Nine days are left, of two seconds each; the second row comes too soon after the first.
    assert [r.getMessage() for r in caplog.records] == [
        "step 1/6, 1 days: loss 0.5, learning rate 1.00e-03, gradient norm 2, 4 samples/s, "
        "25 % waiting for data, 0 min 18 s left"
    ]

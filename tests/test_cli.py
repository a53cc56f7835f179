"""The command line: help, messages, exit statuses, locks, configuration and measurements."""

from __future__ import annotations

import argparse
import errno
import json
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from hybridom import cli
from hybridom.cli import common
from hybridom.config import STAGES, load
from hybridom.config.stages import OPTIONAL
from hybridom.errors import UserError

CONFIG = Path(__file__).parents[1] / "config" / "test.yaml"


def commands(
    parser: argparse.ArgumentParser, words: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], argparse.ArgumentParser]]:
    """Every command that does something by itself."""
    groups = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    if not any(group.required for group in groups):
        yield words, parser
    for group in groups:
        for name, child in group.choices.items():
            yield from commands(child, (*words, name))


COMMANDS = dict(commands(cli.build_parser()))


def run_failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> int:
    """Exit status of a command that ends with `error`."""

    def run(args: argparse.Namespace) -> None:
        raise error

    monkeypatch.setattr("hybridom.cli.config.run_show", run)
    return cli.main(["config", "show", "--config", str(CONFIG)])


def test_every_stage_has_its_command():
    expected = {
        ("twin",),
        ("twin", "states"),
        ("train",),
        ("forecast",),
        ("figures",),
        ("page",),
        ("compare",),
        ("doctor",),
        ("status",),
        ("cost",),
        ("launch",),
        ("bench", "step"),
        ("bench", "core"),
        ("bench", "train"),
        ("bench", "loader"),
        ("bench", "prepare"),
        ("bench", "evaluate"),
    }
    expected |= {("region", name) for name in ("check", "gate")}
    expected |= {("store", name) for name in ("check", "info", "repair")}
    expected |= {("evaluate", name) for name in ("damping", "start", "aggregate")}
    expected |= {("evaluate",), ("evaluate", "observations")}
    expected |= {("oceanbench", name) for name in ("score", "validate", "export")}
    expected |= {("prepare", "all")}
    expected |= {("model", name) for name in ("info", "export")}
    expected |= {("config", name) for name in ("show", "schema", "stage")}
    expected |= {("retrieve", name) for name in ("ocean", "forcing", "static")}
    expected |= {("export", name) for name in ("published", "climatology", "mask")}
    steps = ("check", "grid", "state", "forcing", "climatology", "statistics", "percentiles")
    assert set(COMMANDS) == expected | {("prepare", step) for step in steps}


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_has_an_example_that_parses(words, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([*words, "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    example = text.partition("Example:\n")[2].strip().split(" > ")[0].split()
    assert example
    arguments = example[example.index("hybridom") + 1 :]
    assert arguments[: len(words)] == list(words)
    cli.build_parser().parse_args(arguments)


# These read no configuration.
PLAIN = {("config", "schema"), ("store", "check"), ("store", "info")}
PLAIN |= {("model", "info"), ("model", "export"), ("evaluate",), ("oceanbench", "validate")}
PLAIN |= {("launch",)}


@pytest.mark.parametrize("words", [w for w in COMMANDS if w not in PLAIN], ids=" ".join)
def test_a_missing_configuration_is_one_line(words, capsys, tmp_path):
    required = {
        ("figures",): ["all"],
        ("compare",): ["a", "b"],
        ("oceanbench", "score"): ["a", "--reference", "b", "--no-mask", "--output", "c"],
        ("oceanbench", "export"): ["--resolution", "1", "--output", "stores"],
        ("evaluate", "observations"): ["--observations", "o.csv"],
        ("config", "stage"): ["train", "--output", "x.yaml"],
        ("twin", "states"): ["--output", "states"],
        ("store", "repair"): ["2001.zarr"],
        **{("export", name): ["--output", "x"] for name in ("published", "climatology", "mask")},
    }
    arguments = [*words, *required.get(words, []), "--config", str(tmp_path / "none.yaml")]
    assert cli.main(arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.startswith("hybridom: error: ") for line in lines] == [True]
    assert "none.yaml" in lines[0]


def test_an_unknown_key_is_named_with_its_nearest(capsys):
    assert cli.main(["train", "--config", str(CONFIG), "--set", "trainin.batch=2"]) == 2
    error = capsys.readouterr().err
    assert "unknown key 'trainin'; did you mean 'training'?" in error
    assert "Traceback" not in error


def test_a_year_outside_the_periods_is_refused(capsys):
    assert cli.main(["prepare", "state", "--config", str(CONFIG), "--year", "1999"]) == 2
    assert "--year 1999: the periods need 2001 to 2002" in capsys.readouterr().err


def test_a_date_that_is_none_is_refused(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["forecast", "--config", str(CONFIG), "--start", "1 May"])
    assert stop.value.code == 2
    assert "is not a date" in capsys.readouterr().err


def test_an_unexpected_error_keeps_its_traceback(monkeypatch, caplog):
    assert run_failing(monkeypatch, ZeroDivisionError("a bug")) == 1
    (record,) = [r for r in caplog.records if r.levelname == "CRITICAL"]
    assert record.exc_info is not None and record.exc_info[0] is ZeroDivisionError


def test_several_mistakes_are_a_line_each(monkeypatch, capsys):
    assert run_failing(monkeypatch, UserError("a.nc: no so\nb.nc:  broken")) == 2
    assert capsys.readouterr().err == (
        "hybridom: error: a.nc: no so\nhybridom: error: b.nc: broken\n"
    )


def test_a_full_disk_is_one_line(monkeypatch, capsys):
    full = OSError(errno.ENOSPC, "No space left on device", "results/x.zarr")
    assert run_failing(monkeypatch, full) == 2
    assert capsys.readouterr().err == (
        "hybridom: error: the disk is full while writing results/x.zarr; free some space and run "
        "the command again\n"
    )


def test_another_error_of_the_system_keeps_its_traceback(monkeypatch, caplog):
    assert run_failing(monkeypatch, OSError(errno.EIO, "Input/output error", "x")) == 1
    assert any(r.exc_info for r in caplog.records)


def test_an_interrupt_is_quiet(monkeypatch, capsys):
    assert run_failing(monkeypatch, KeyboardInterrupt()) == 130
    assert capsys.readouterr().err == "hybridom: interrupted\n"


def test_a_stage_may_set_the_exit_status(monkeypatch):
    with pytest.raises(SystemExit) as stop:
        run_failing(monkeypatch, SystemExit(85))
    assert stop.value.code == 85


def hold(output: Path, seconds: float) -> None:
    """Hold the lock of `output` for a while."""
    with common.exclusive(output):
        output.write_text("held")
        time.sleep(seconds)


def started(output: Path, seconds: float) -> multiprocessing.process.BaseProcess:
    """Another process that already holds the lock of `output`."""
    process = multiprocessing.get_context("spawn").Process(target=hold, args=(output, seconds))
    process.start()
    while not output.exists():
        time.sleep(0.01)
    return process


def test_two_processes_never_write_the_same_output(tmp_path, caplog):
    output = tmp_path / "store.json"
    other = started(output, 1.0)
    with common.exclusive(output):
        assert not other.is_alive() or other.join(0.5) is None
    assert any(
        f"waiting for process {other.pid} on {os.uname().nodename}" in message
        for message in caplog.messages
    )


def test_a_killed_process_leaves_no_lock(tmp_path, caplog):
    output = tmp_path / "store.json"
    other = started(output, 60.0)
    os.kill(other.pid, signal.SIGKILL)
    other.join()
    with common.exclusive(output):
        pass
    assert caplog.messages == []


def test_show_prints_a_configuration_that_loads_again(capsys, tmp_path):
    arguments = ["config", "show", "--config", str(CONFIG), "--set", "training.batch=5"]
    assert cli.main(arguments) == 0
    copy = tmp_path / "copy.yaml"
    copy.write_text(capsys.readouterr().out)
    assert load(copy) == load(CONFIG, ["training.batch=5"])


def test_schema_prints_json(capsys):
    assert cli.main(["config", "schema"]) == 0
    assert set(json.loads(capsys.readouterr().out)["properties"]) >= {"training", "figures"}


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_is_given_its_own_sections_only(stage, tmp_path):
    output = tmp_path / "deep" / "stage.yaml"
    arguments = ["config", "stage", stage, "--config", str(CONFIG), "--output", str(output)]
    assert cli.main(arguments) == 0
    assert set(yaml.safe_load(output.read_text())) == set(STAGES[stage]) - set(OPTIONAL)
    config, _ = common.load(argparse.Namespace(config=output, overrides=[]), stage)
    whole, _ = common.load(argparse.Namespace(config=CONFIG, overrides=[]), stage)
    assert config.as_dict() == whole.as_dict()


def test_an_unknown_stage_is_refused(capsys, tmp_path):
    arguments = ["config", "stage", "trian", "--config", str(CONFIG)]
    assert cli.main([*arguments, "--output", str(tmp_path / "x.yaml")]) == 2
    assert "'trian'" in capsys.readouterr().err


def test_figure_names_are_listed_and_checked(capsys):
    assert cli.main(["figures", "list", "--config", str(CONFIG)]) == 0
    assert "rmse_lead" in capsys.readouterr().out.splitlines()
    assert cli.main(["figures", "rmse_leed", "--config", str(CONFIG)]) == 2
    assert "'rmse_lead'" in capsys.readouterr().err


def test_bench_step_prints_a_table_and_writes_the_documented_object(capsys, tmp_path):
    output = tmp_path / "step.json"
    arguments = ["bench", "step", "--config", str(CONFIG), "--json", str(output)]
    assert cli.main([*arguments, "--repeats", "1", "--set", "training.batch=1"]) == 0
    result = json.loads(output.read_text())
    documented = {"device", "torch", "threads", "grid", "parameters", "batch", "days", "repeats"}
    assert set(result) == documented | {"forward", "forward_backward"}
    assert result["grid"] == [4, 15, 30]
    for key in ("forward", "forward_backward"):
        assert 0 < result[key]["fastest"] <= result[key]["seconds_per_day"]
        assert result[key]["peak_memory_mb"] > 0
    table = capsys.readouterr().out
    assert f"{result['forward']['seconds_per_day']:.4f}" in table
    assert f"{result['parameters']:,} parameters" in table

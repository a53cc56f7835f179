"""Bad configurations, bad raw files, and runs that get into each other's way."""

from __future__ import annotations

import fcntl
import shutil

import pytest

pytestmark = pytest.mark.slow


def error_lines(text: str) -> list[str]:
    """The lines that `hybridom` or the Snakefile printed for the user."""
    return [line for line in text.splitlines() if line.strip().startswith("hybridom: error: ")]


def test_an_unknown_key_ends_in_one_line_before_any_planning(fresh):
    done = fresh.run("--dry-run", overrides=["trainig.batch=2"])
    assert done.returncode != 0
    assert len(error_lines(done.stdout)) == 1
    assert "unknown key 'trainig'; did you mean 'training'?" in done.stdout
    assert "Building DAG" not in done.stdout
    assert "Traceback" not in done.stdout


def test_two_configuration_files_are_refused(fresh):
    done = fresh.run("--dry-run", "--configfile", "config/demo.yaml")
    assert done.returncode != 0
    assert "give one configuration file" in error_lines(done.stdout)[0]


def test_nested_values_and_texts_override_alike(fresh):
    fresh.succeed("--until", "configure_experiment", overrides=["training.batch=3"])
    text = fresh.path(fresh.layout.stage_config("train")).read_text()
    assert "batch: 3" in text
    assert fresh.plan("--until", "configure_experiment", nested=["training={batch: 3}"]) == {}
    assert fresh.plan("--until", "configure_experiment") == {"configure_experiment": 1}


def test_a_second_run_in_the_same_directory_is_refused(fresh):
    (fresh.directory / ".snakemake").mkdir()
    with (fresh.directory / ".snakemake" / "hybridom.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        done = fresh.run("--until", "configure_experiment")
    assert done.returncode != 0
    assert "another snakemake is running in this directory" in error_lines(done.stdout)[0]


def test_a_missing_day_stops_before_any_store_is_made(finished, fresh):
    raw = finished.path(finished.layout.twin_dir)
    shutil.copytree(raw, fresh.directory / "raw")
    days = sorted((fresh.directory / "raw" / "ocean").rglob("*_mean_*.nc"))
    days[20].unlink()
    done = fresh.run(
        overrides=[
            "source.kind=files",
            "source.ocean_dir=raw/ocean",
            "source.forcing_dir=raw/forcing",
        ]
    )
    assert done.returncode != 0
    lines = error_lines(done.stdout)
    assert len(lines) == 1
    day = days[20].name.split("_mean_")[1][:8]
    assert f"{day[:4]}-{day[4:6]}-{day[6:]}" in lines[0]
    assert "Traceback" not in done.stdout
    assert not fresh.path(fresh.layout.grid_file).exists()

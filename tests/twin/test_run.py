from __future__ import annotations

import datetime as dt
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from hybridom.config import SourceConfig, StageConfig
from hybridom.errors import UserError
from hybridom.layout import Layout
from hybridom.twin import run as run_module
from hybridom.twin import states
from hybridom.twin.geography import TwinGrid
from hybridom.twin.plan import Start, calendar_year, plan_year, restart_dir
from hybridom.twin.run import run_all, run_year

from .conftest import ACROSS_A_MONTH, Run, make_run

KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from twin.conftest import ACROSS_A_MONTH, make_run
from hybridom.twin.run import run_all, run_year
run = make_run(Path({folder!r}), **ACROSS_A_MONTH)
run_year(run.config, run.layout, 2001)
"""


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*.nc"))}


def test_killed_and_started_again_gives_the_same_bytes(finished: Run, tmp_path: Path) -> None:
    run = make_run(tmp_path, **ACROSS_A_MONTH)
    code = KILLED.format(tests=str(Path(__file__).parents[1]), folder=str(tmp_path))
    process = subprocess.Popen([sys.executable, "-c", code])
    restart = restart_dir(run.layout) / "20010201.h5"
    end = time.monotonic() + 60
    while not restart.exists() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert restart.exists()
    assert not run.layout.twin_manifest(2001).exists()
    stamp = {p: p.stat().st_mtime_ns for p in (tmp_path / "ocean" / "2001").glob("*200101*")}
    run_year(run.config, run.layout, 2001)
    assert contents(tmp_path) == contents(finished.folder)
    assert {p: p.stat().st_mtime_ns for p in stamp} == stamp, "January was simulated twice"


def test_a_finished_year_is_not_repeated(finished: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "simulate", lambda *_: pytest.fail("simulated again"))
    manifest = run_year(finished.config, finished.layout, 2001)
    assert manifest == finished.layout.twin_manifest(2001)


def test_a_year_with_a_lost_file_is_not_complete(finished: Run) -> None:
    plan = plan_year(finished.config.twin, finished.layout, 2001)
    manifest = finished.layout.twin_manifest(2001)
    assert run_module.is_complete(manifest, plan)
    file = finished.layout.forcing_dir / "era5_daily_mean_200102.nc"
    hidden = file.with_suffix(".hidden")
    file.rename(hidden)
    assert not run_module.is_complete(manifest, plan)
    hidden.rename(file)


def test_manifest_lists_every_file_with_its_size(finished: Run) -> None:
    record = json.loads(finished.layout.twin_manifest(2001).read_text())
    assert (record["first_day"], record["last_day"]) == ("2001-01-30", "2001-02-02")
    assert len(record["files"]) == 4 + 2
    assert all((finished.folder / n).stat().st_size == s for n, s in record["files"].items())


def test_only_the_last_restart_is_kept(finished: Run) -> None:
    assert [p.name for p in restart_dir(finished.layout).iterdir()] == ["20010203.h5"]


@pytest.mark.parametrize(
    "change",
    [{"seed": 5}, {"product_degrees": 1.0}, {"dt_momentum": 1800.0}, {"end": "2001-02-03"}],
)
def test_any_setting_changes_the_key_of_a_year(finished: Run, change: dict[str, object]) -> None:
    key = plan_year(finished.config.twin, finished.layout, 2001).key
    other = make_run(finished.folder, **{**ACROSS_A_MONTH, **change})
    assert plan_year(other.config.twin, other.layout, 2001).key != key


def test_more_years_leave_the_key_of_a_year(tmp_path: Path) -> None:
    short, long = (make_run(tmp_path, end=f"{year}-12-31") for year in (2002, 2004))
    keys = [plan_year(run.config.twin, run.layout, 2002).key for run in (short, long)]
    assert keys[0] == keys[1]


def test_files_of_an_earlier_configuration_go(tmp_path: Path) -> None:
    run = make_run(tmp_path, **ACROSS_A_MONTH)
    old = run.layout.ocean_dir / "2001" / "mercatorglorys12v1_gl12_mean_20010601_R20010606.nc"
    other_year = run.layout.forcing_dir / "era5_daily_mean_200201.nc"
    for path in (old, other_year):
        path.parent.mkdir(parents=True)
        path.touch()
    run_module._discard_files(run.layout, plan_year(run.config.twin, run.layout, 2001))
    assert not old.exists()
    assert other_year.exists()


def test_files_of_the_user_are_never_touched(tmp_path: Path) -> None:
    source = SourceConfig(kind="files", ocean_dir=str(tmp_path), forcing_dir=str(tmp_path))
    twin = make_run(tmp_path).config.twin
    config = StageConfig("twin", {"source": source, "twin": twin})
    with pytest.raises(UserError, match=r"source\.kind is 'files'"):
        run_year(config, Layout(config), 2001)


def test_a_year_outside_the_period_is_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    with pytest.raises(UserError, match="twin covers 2001-01-01 to"):
        run_year(run.config, run.layout, 1999)


def test_a_year_without_state_needs_the_year_before(tmp_path: Path) -> None:
    run = make_run(tmp_path, start="2001-12-30", end="2002-01-02")
    with pytest.raises(UserError, match=r"2001\.json: .*simulate 2001 first"):
        run_year(run.config, run.layout, 2002)


def test_a_year_before_of_other_settings_is_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path, start="2001-12-30", end="2002-01-02", seed=8)
    run.layout.twin_manifest(2001).write_text(json.dumps({"key": "other", "rest_day": None}))
    with pytest.raises(UserError, match="simulated with other settings"):
        run_year(run.config, run.layout, 2002)


def test_a_missing_veros_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "veros", None)
    monkeypatch.delitem(sys.modules, "hybridom.twin.ocean", raising=False)
    run = make_run(tmp_path, **ACROSS_A_MONTH)
    with pytest.raises(UserError, match=r"pip install 'hybridom\[twin\]'"):
        run_year(run.config, run.layout, 2001)


def test_the_next_year_continues_from_the_restart(tmp_path: Path) -> None:
    run = make_run(tmp_path, start="2001-12-31", end="2002-01-01", seed=8)
    run_all(run.config, run.layout)
    files = sorted((tmp_path / "ocean").rglob("mercator*.nc"))
    with xr.open_dataset(files[0]) as eve, xr.open_dataset(files[1]) as new_year:
        change = new_year.zos.isel(time=0) - eve.zos.isel(time=0)
        assert 0 < np.abs(change).max() < 0.1
        assert new_year.initial_state.startswith("end of 2001")


def test_an_unstable_time_step_is_named(tmp_path: Path) -> None:
    run = make_run(tmp_path, **ACROSS_A_MONTH, dt_tracer=86400.0, dt_momentum=86400.0)
    with pytest.raises(UserError, match=r"(diverged on 2001|packed range)"):
        run_year(run.config, run.layout, 2001)


def test_states_are_made_by_simulating_from_one_to_the_next(
    finished: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    restart = restart_dir(finished.layout) / "20010203.h5"
    monkeypatch.setattr(run_module, "simulate", lambda config, plan, *_: restart)
    made = states.write_states(finished.config.twin, [2001, 2002], tmp_path, restart)
    assert [p.name[-11:-3] for p in made] == ["20010101", "20020101"]
    kept = states.fields_of_restart(restart)
    found = states.read_state(made[1], TwinGrid.of(4))
    np.testing.assert_allclose(found["temp"], kept["temp"], rtol=2.0**-15)


def test_an_ocean_at_rest_starts_to_move_slowly(tmp_path: Path) -> None:
    config = make_run(tmp_path).config.twin
    day = dt.date(2001, 1, 1)
    plan = calendar_year(config, Start(day, "rest", rest_day=day), day)
    fields = states.fields_of_restart(run_module.simulate(config, plan, tmp_path, None))
    assert 0 < np.abs(fields["u"]).max() < 0.1
    assert np.abs(fields["psi"]).max() < 2 * 9.81


@pytest.mark.slow
def test_two_degrees_run(tmp_path: Path) -> None:
    run = make_run(tmp_path, degrees=2, end="2001-01-05")
    run_year(run.config, run.layout, 2001)
    with xr.open_mfdataset(sorted((tmp_path / "ocean" / "2001").glob("*.nc"))) as ds:
        assert ds.sizes["time"] == 5
        assert float(np.abs(ds.uo).max()) < 1.0

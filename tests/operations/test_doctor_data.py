"""What `hybridom doctor` says of source files, stores, credentials and other runs."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from pathlib import Path

import pytest

from hybridom.operations.doctor import access, data, running
from tests.operations.doctor_case import ROOT, case, findings, only, statuses

FILES = ("source.kind=files", "source.ocean_dir=ocean", "source.forcing_dir=air")
SECRET = "s3cret-value"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and a home without credentials."""
    for name in ("work", "home"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    unset = (*access.OCEAN_VARIABLES, *access.CDS_VARIABLES)
    for name in (*unset, "CDSAPI_RC", "COPERNICUSMARINE_CREDENTIALS_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "work"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The user's home."""
    return tmp_path / "home"


def put(path: Path, text: str = "x", mode: int = 0o600) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


# --- source files


def test_names_tell_the_years_of_the_days_not_of_the_making(elsewhere):
    put(elsewhere / "1993/01/mercatorglorys12v1_gl12_mean_19930101_R19940106.nc")
    put(elsewhere / "glorys_1996-01-01-1998-12-31.nc")
    put(elsewhere / "notes_2004.txt")
    put(elsewhere / "era5_2001.grib")
    assert data.coverage(elsewhere) == ({1993, 1996, 1997, 1998, 2001}, 3, 0)


def test_a_year_without_file_is_a_failure_that_names_it(elsewhere):
    for folder in ("ocean", "air"):
        put(elsewhere / folder / "x_20011228.nc")
    put(elsewhere / "air" / "x_2002.nc")
    ocean, air = findings(data.source, case(*FILES))
    assert (ocean.status, air.status) == ("fail", "ok")
    assert ocean.found == "ocean: 1 files, none named after 2002"
    put(elsewhere / "ocean" / "x_20020101.nc")
    assert statuses(findings(data.source, case(*FILES))) == ["ok", "ok"]


def test_folders_that_are_missing_or_empty_are_failures(elsewhere):
    (elsewhere / "ocean").mkdir()
    ocean, air = findings(data.source, case(*FILES))
    assert "holds no file" in ocean.found
    assert air.found == "air is no folder"
    assert (ocean.status, air.status) == ("fail", "fail")


def test_zarr_is_not_judged_by_its_name(elsewhere):
    for folder in ("ocean", "air"):
        (elsewhere / folder / "all.zarr" / "1.nc").mkdir(parents=True)
    assert statuses(findings(data.source, case(*FILES))) == ["skip", "skip"]


def test_single_files_of_the_configuration_must_exist(elsewhere):
    of = case("training.start_from=old.pt")
    found = {finding.name: finding.status for finding in findings(data.source, of)}
    assert found == {"source": "skip", "training.start_from": "fail"}
    put(elsewhere / "old.pt")
    assert findings(data.source, of)[1].status == "ok"


def test_months_that_are_fetched_are_counted():
    of = case("source.kind=download")
    put(of.layout.ocean_download("2001-12"))
    ocean, forcing = findings(data.source, of)
    assert ocean.found == "ocean: 1 of 3 months fetched; the others will be fetched"
    assert forcing.found.startswith("forcing: 0 of 3 months")


# --- stores


def test_years_that_are_prepared_and_those_to_do():
    of = case()
    put(of.layout.state_manifest(2001))
    state, forcing = findings(data.stores, of)
    assert state.found == "state: 1 of 2 years prepared, to do: 2002"
    assert forcing.found == "forcing: 0 of 2 years prepared, to do: 2001-2002"


def test_what_an_interrupted_run_left_is_listed():
    of = case()
    assert only(data.unfinished, of).found == "nothing"
    half = of.layout.state_store(2002).with_name("2002.zarr.partial")
    put(half / "zarr.json")
    older, newer = (of.layout.checkpoints_dir / f"step_{n:08d}.pt" for n in (1, 2))
    put(older), put(newer)
    found = only(data.unfinished, of).found
    assert str(half) in found
    assert str(newer) in found
    assert str(older) not in found
    put(of.layout.checkpoint)
    assert str(newer) not in only(data.unfinished, of).found


# --- what drives a region

REGION = ROOT / "config" / "test_region.yaml"


def test_a_model_that_nothing_drives_has_no_driver_to_check():
    assert "driver" not in [name for name, _ in data.checks(case())]
    assert "driver" in [name for name, _ in data.checks(case(file=REGION))]


def test_a_driver_with_a_file_is_made():
    of = case(file=REGION)
    put(of.layout.driver.state_manifest(2001))
    grid, analyses, forecasts, fit = findings(data.driver, of)
    assert statuses([grid, analyses, forecasts, fit]) == ["ok"] * 4
    assert analyses.found.startswith("analyses: 1 of 2 are there; the workflow makes")
    # 3 of training, 1 of validation, 2 tests
    assert forecasts.found.startswith("forecasts: 0 of 6 are there")
    assert "hybridom doctor --config config/test_coarse.yaml" in fit.found


def test_a_driver_without_file_must_be_there():
    of = case("region.driver.file=null", file=REGION)
    put(of.layout.driver.grid_file)
    starts = [f"2002-01-{day}" for day in ("13", "18", "21")]
    starts += ["2001-12-28", "2002-01-01", "2002-01-05"]
    for file in [
        *(of.layout.driver.state_manifest(year) for year in (2001, 2002)),
        *(of.layout.driver.experiment_dir / "forecast" / f"{start}.json" for start in starts),
    ]:
        put(file)
    assert statuses(findings(data.driver, of)) == ["ok"] * 3
    file.unlink()
    *_, forecasts = findings(data.driver, of)
    assert forecasts.status == "fail"
    assert f"forecasts: 5 of 6 are there, {file} is not" in forecasts.found
    assert "region.driver.file" in forecasts.remedy


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("region.driver.file=config/none.yaml", "none.yaml: cannot read"),
        ("region.driver.grid=other", "region.driver.grid is 'other'"),
        ("grid.depths=[9.572997, 55.76429, 160]", "its level 160 m is none of the driver"),
        ("region.forecasts={days: 12, every: 1}", "region.forecasts.days is 12"),
    ],
)
def test_a_driver_that_does_not_serve_is_a_failure(override, words):
    found = only(data.driver, case(override, file=REGION))
    assert found.status == "fail"
    assert words in found.found


# --- credentials


def said(check, *overrides: str) -> list[str]:
    """Lines of a check; none may give a secret away."""
    lines = [finding.line for finding in findings(check, case("source.kind=download", *overrides))]
    assert not any(SECRET in line for line in lines)
    return lines


def test_no_credentials_are_needed_where_nothing_is_fetched():
    (check,) = access.checks(case())
    assert only(check[1], case()).status == "skip"


def test_the_public_archive_needs_no_account():
    names = [name for name, _ in access.checks(case("source.kind=download"))]
    assert names == ["clients", "Copernicus Marine", "ERA5"]
    cds = case("source.kind=download", "download.atmosphere=cds")
    assert [name for name, _ in access.checks(cds)][-1] == "Climate Data Store"


def test_copernicus_marine_without_credentials():
    (line,) = said(access.ocean)
    assert line.startswith("  fail")
    assert "copernicusmarine login" in line


def test_copernicus_marine_from_the_environment(monkeypatch):
    monkeypatch.setenv("COPERNICUSMARINE_SERVICE_USERNAME", "someone")
    assert said(access.ocean)[0].startswith("  fail")
    monkeypatch.setenv("COPERNICUSMARINE_SERVICE_PASSWORD", SECRET)
    assert said(access.ocean)[0].startswith("  ok")


def test_copernicus_marine_from_its_file(home, monkeypatch, tmp_path):
    name = ".copernicusmarine/.copernicusmarine-credentials"
    file = put(home / name, SECRET)
    assert [line[:6] for line in said(access.ocean)] == ["  ok  "]
    file.chmod(0o644)
    lines = said(access.ocean)
    assert [line[:6] for line in lines] == ["  ok  ", "  warn"]
    assert f"chmod 600 {file}" in lines[1]
    file.write_text("")
    assert said(access.ocean)[0].startswith("  fail")
    monkeypatch.setenv("COPERNICUSMARINE_CREDENTIALS_DIRECTORY", str(tmp_path / "other"))
    assert said(access.ocean)[0].startswith("  fail")
    put(tmp_path / "other" / name, SECRET)
    assert said(access.ocean)[0].startswith("  ok")


def test_a_netrc_of_others_is_no_credential(home):
    put(home / ".netrc", f"machine example.org login me password {SECRET}")
    assert said(access.ocean)[0].startswith("  fail")
    put(home / ".netrc", f"machine my.cmems-du.eu login me password {SECRET}")
    assert said(access.ocean)[0].startswith("  ok")


@pytest.mark.parametrize(
    ("text", "status", "words"),
    [
        (f"url: https://x/api\nkey: {SECRET}\n", "ok", "address and key in"),
        ("url: https://x/api\n", "fail", "no line for key"),
        (f"url: https://x/api/v2\nkey: 12345:{SECRET}\n", "fail", "closed in 2024"),
    ],
)
def test_climate_data_store_from_its_file(home, text, status, words):
    put(home / ".cdsapirc", text)
    (line,) = said(access.cds)
    assert line.startswith(f"  {status}")
    assert words in line


def test_climate_data_store_without_file_or_elsewhere(monkeypatch, tmp_path):
    (line,) = said(access.cds)
    assert line.startswith("  fail")
    assert ".cdsapirc" in line
    put(tmp_path / "rc", f"url: https://x/api\nkey: {SECRET}\n")
    monkeypatch.setenv("CDSAPI_RC", str(tmp_path / "rc"))
    assert said(access.cds)[0].startswith("  ok")
    monkeypatch.setenv("CDSAPI_RC", str(tmp_path / "none"))
    monkeypatch.setenv("CDSAPI_URL", "https://x/api")
    monkeypatch.setenv("CDSAPI_KEY", SECRET)
    assert said(access.cds)[0].startswith("  ok")


def test_clients_are_those_of_the_extra(monkeypatch):
    monkeypatch.setattr(access, "requirements", lambda extra: (3, [f"x of {extra} is missing"]))
    (line,) = said(access.clients)
    assert line.startswith("  fail  clients: x of download is missing")
    monkeypatch.setattr(access, "requirements", lambda extra: (3, []))
    assert said(access.clients)[0].startswith("  ok")


# --- other runs


@pytest.fixture
def held(elsewhere: Path) -> Iterator[None]:
    """Another run's lock on the working directory."""
    with put(elsewhere / ".snakemake" / "hybridom.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def test_a_run_that_is_at_work_here_is_noticed(held):
    assert only(running.lock, case()).status == "warn"


def test_the_lock_of_a_run_that_ended_is_none(elsewhere):
    assert "no run has been started" in only(running.lock, case()).found
    put(elsewhere / ".snakemake" / "hybridom.lock")
    assert only(running.lock, case()).status == "ok"

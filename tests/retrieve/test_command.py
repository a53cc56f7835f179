"""`hybridom retrieve`: the dry run needs neither client nor network."""

from __future__ import annotations

import inspect
import socket
import sys

import pytest
import yaml

from hybridom import cli
from hybridom.config import DownloadConfig
from hybridom.retrieve import arco, cds, ocean, report
from tests.retrieve.stand_ins import Climate, Marine, download_config


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(download_config(tmp_path).model_dump(mode="json")))
    return path


@pytest.fixture
def isolated(monkeypatch):
    """No client can be imported and no connection made."""
    for module in ("copernicusmarine", "cdsapi", "gcsfs"):
        monkeypatch.setitem(sys.modules, module, None)

    def refuse(*args, **kwargs):
        raise AssertionError("a dry run has no business with the network")

    monkeypatch.setattr(socket, "socket", refuse)


def run(capsys, *arguments):
    status = cli.main(["retrieve", *map(str, arguments)])
    return status, capsys.readouterr()


@pytest.mark.parametrize(
    ("what", "override", "files"),
    [
        ("ocean", "download.ocean=original", ["7", "2", "9"]),
        ("ocean", "download.ocean=subset", ["1", "1", "2"]),
        ("forcing", "download.atmosphere=cds", ["3", "3", "6"]),
        ("forcing", "download.atmosphere=arco", ["1", "1", "2"]),
    ],
)
def test_a_dry_run_prints_months_and_sizes(isolated, capsys, file, what, override, files):
    status, printed = run(capsys, what, "--config", file, "--set", override, "--dry-run")
    assert status == 0
    lines = printed.out.splitlines()
    assert [line.split("  ")[0] for line in lines[1:3]] == [f"{what} 2020-01", f"{what} 2020-02"]
    counts = [next(w for w in line.split() if w.isdigit()) for line in lines[1:4]]
    assert counts == files
    assert lines[3].startswith("total") and "B" in lines[3]
    assert "estimates" in printed.out
    assert not (file.parent / "raw").exists()


def test_a_dry_run_of_one_month_and_of_the_static_files(isolated, capsys, file):
    _, printed = run(capsys, "ocean", "--config", file, "--month", "2020-02", "--dry-run")
    assert "2020-01" not in printed.out and "ocean 2020-02" in printed.out
    status, printed = run(capsys, "static", "--config", file, "--dry-run")
    assert status == 0 and DownloadConfig().static_dataset in printed.out


def test_estimates_add_up(make):
    config, layout = make()
    jobs = [ocean.ocean_job(config, layout, month) for month in config.periods.months()]
    days = 2 * 0.35 * 2041 * 4320 * (4 * 50 + 5)
    assert sum(p.size for job in jobs for p in job.pieces) == pytest.approx(9 * days)
    assert f"{9 * days / 1e9:.3g} GB" in report.table(jobs)
    # hourly winds in a box of 6 x 6 degrees
    job = cds.forcing_job(config, layout, "2020-01")
    assert sum(p.size for p in job.pieces) == pytest.approx(2 * 3 * 7 * 24 * 25 * 25)
    job = arco.forcing_job(config, layout, "2020-01")
    assert job.pieces[0].transfer == pytest.approx(2.2 * 3 * 7 * 24 * 721 * 1440)


def test_without_the_client_the_user_reads_what_to_install(isolated, capsys, file):
    status, printed = run(capsys, "ocean", "--config", file, "--month", "2020-01")
    assert status == 2
    (line,) = [line for line in printed.err.splitlines() if "error" in line]
    assert "copernicusmarine" in line and "pip install 'hybridom[download]'" in line


def test_the_command_fetches_a_month(marine, capsys, file):
    override = ("--set", "download.ocean=subset")
    status, _ = run(capsys, "ocean", "--config", file, "--month", "2020-02", *override)
    assert status == 0
    assert (file.parent / "raw/glorys12v1/manifests/2020-02.json").exists()


def test_a_dry_run_leaves_out_what_is_there(marine, capsys, file):
    override = ("--set", "download.ocean=subset")
    run(capsys, "ocean", "--config", file, "--month", "2020-02", *override)
    _, printed = run(capsys, "ocean", "--config", file, "--dry-run", *override)
    first, second, total = printed.out.splitlines()[1:4]
    assert "(complete)" in second and second.split()[3] == "0"
    assert first.split()[3] == "1" and total.split()[1] == "1"


def test_another_kind_of_source_is_refused(capsys, file):
    options = ("--set", "source.kind=files", "--dry-run")
    status, printed = run(capsys, "ocean", "--config", file, *options)
    assert status == 2 and "set source.kind: download" in printed.err


@pytest.mark.parametrize("month", ["2020-13", "202001", "January"])
def test_a_month_that_is_none_is_refused(capsys, file, month):
    with pytest.raises(SystemExit):
        cli.main(["retrieve", "ocean", "--config", str(file), "--month", month])
    assert "is not a month" in capsys.readouterr().err


def test_a_month_outside_the_periods_is_refused(capsys, file):
    status, printed = run(capsys, "forcing", "--config", file, "--month", "2021-01", "--dry-run")
    assert status == 2 and "--month 2021-01" in printed.err


def parameters(function):
    return set(inspect.signature(function).parameters) - {"self"}


@pytest.mark.parametrize("name", ["get", "subset", "login"])
def test_the_stand_in_of_the_ocean_takes_what_the_client_takes(name):
    client = pytest.importorskip("copernicusmarine")
    assert parameters(getattr(Marine, name)) <= parameters(getattr(client, name))


def test_the_stand_in_of_the_atmosphere_takes_what_the_client_takes():
    client = pytest.importorskip("cdsapi")
    assert parameters(Climate.Client) <= parameters(client.Client.__init__)
    assert parameters(Climate.retrieve) <= parameters(client.Client.retrieve)

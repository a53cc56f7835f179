"""What `hybridom doctor` says of space, permissions and locks."""

from __future__ import annotations

import errno
import fcntl
import getpass
from pathlib import Path

import pytest

from hybridom.operations import cost
from hybridom.operations.doctor import disk, places, quotas
from hybridom.operations.doctor.places import FileSystem
from tests.operations.doctor_case import ROOT, case, command, findings, only, statuses

GIGA = 1_000_000_000


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, on a machine without SLURM."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return work


def finish(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}")


def test_finished_years_and_starts_are_not_written_again():
    of = case("evaluation.families=[extremes]")
    rows = [one for one in cost.estimate(of.config, 60.0) if one.part == "storage"]
    costs = {one.what.strip(): one.amount for one in rows}
    needs = disk.still_to_write(of)
    stores = ("state", "forcing", "climatology", "percentiles", "beside them while they are made")
    assert needs["paths.resources"] == pytest.approx(GIGA * sum(costs[name] for name in stores))
    assert needs["paths.results"] == pytest.approx(GIGA * costs["forecasts"])
    raw = GIGA * (costs["simulated ocean"] + costs["its atmosphere"])
    assert needs["paths.raw"] == pytest.approx(raw)
    starts = of.config.forecast.start_dates()
    for manifest in (
        of.layout.state_manifest(2002),  # 32 of 36 days
        of.layout.climatology_manifest,
        of.layout.percentiles_manifest,
        of.layout.forecast_manifest(starts[0]),
        of.layout.twin_manifest(2001),
    ):
        finish(manifest)
    needs = disk.still_to_write(of)
    left = costs["state"] * 4 / 36 + costs["forcing"]
    assert needs["paths.resources"] == pytest.approx(GIGA * left)
    assert needs["paths.results"] == pytest.approx(GIGA * costs["forecasts"] / len(starts))
    assert len(starts) == 2
    assert needs["paths.raw"] == pytest.approx(raw / 2)


def test_thresholds_of_extremes_take_space_where_they_are_scored():
    plain = disk.still_to_write(case("evaluation.families=[]"))["paths.resources"]
    of = case("evaluation.families=[extremes]")
    assert disk.still_to_write(of)["paths.resources"] > plain


def test_forecasts_that_a_driver_has_still_to_make_take_space():
    region = ROOT / "config" / "test_region.yaml"
    of = case(file=region)
    rows = {one.what: one.amount for one in cost.estimate(of.config, 60.0)}
    whole = GIGA * rows["forecasts of the driver (test_coarse)"]
    assert disk.driver_forecasts(of) == pytest.approx(whole)
    own = GIGA * rows["forecasts"]
    assert disk.still_to_write(of)["paths.results"] == pytest.approx(whole + own)
    finish(of.layout.driver.forecast_manifest(of.config.forecast.start_dates()[0]))
    assert disk.driver_forecasts(of) == pytest.approx(whole * 5 / 6)
    # nobody makes them, or the check `driver` tells why not
    for file in ("null", "config/none.yaml"):
        assert disk.driver_forecasts(case(f"region.driver.file={file}", file=region)) == 0
    assert disk.driver_forecasts(case()) == 0


def test_what_is_fetched_counts_until_it_is_there():
    of = case("source.kind=download", "download.atmosphere=arco")
    assert disk.still_to_write(of)["paths.raw"] > GIGA  # 36 days of the whole globe


@pytest.mark.parametrize(("free", "status"), [(1.3, "ok"), (1.1, "warn"), (0.9, "fail")])
def test_space_is_compared_with_what_is_still_to_be_written(monkeypatch, free, status):
    of = case()
    need = sum(disk.still_to_write(of).values())
    monkeypatch.setattr(places, "free_space", lambda path: (int(free * need), None))
    found = only(disk.space, of)
    assert found.status == status
    assert found.name == "paths.resources, paths.results, paths.raw"
    assert bool(found.remedy) == (status != "ok")


def test_a_quota_counts_where_it_leaves_less(monkeypatch):
    monkeypatch.setattr(quotas, "quota_left", lambda path, system: 1000)
    found = only(disk.space, case())
    assert found.status == "fail"
    assert "1 kB left of the quota" in found.found or "1000 B left of the quota" in found.found


def test_few_files_left_is_a_warning(monkeypatch):
    monkeypatch.setattr(places, "free_space", lambda path: (10**15, 1000))
    assert statuses(findings(disk.space, case())) == ["ok", "warn"]


def test_folders_that_cannot_be_written_are_failures(elsewhere):
    (elsewhere / "file").touch()
    of = case("paths.results=file/results", "paths.resources=/proc/resources")
    found = {finding.name: finding for finding in findings(disk.writing, of)}
    assert found["paths.results"].status == "fail"
    assert "file is a file" in found["paths.results"].found
    assert found["paths.resources"].status == "fail"
    assert found["paths.raw"].status == "ok"
    assert found["working directory"].status == "ok"
    assert [path.name for path in elsewhere.iterdir()] == ["file"]


def test_locks_work_here():
    assert only(disk.locks, case()).status == "ok"


def test_a_file_system_without_locks(monkeypatch):
    def refuse(file, flags):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    found = only(disk.locks, case())
    assert found.status == "fail"
    assert "No locks available" in found.found


def test_results_without_locks_are_a_warning(monkeypatch, elsewhere):
    """The stages go on without; the workflow itself locks the working directory."""
    (elsewhere / "results").mkdir()
    monkeypatch.setattr(
        places, "lockless", lambda place: "no locks" if place.name == "results" else None
    )
    monkeypatch.setattr(places, "device", lambda path: len(path.parts))  # each its own
    found = findings(disk.locks, case())
    assert statuses(found) == ["warn"]
    assert str(elsewhere / "results") in found[0].found


def test_locks_that_keep_nobody_out(monkeypatch, elsewhere):
    monkeypatch.setattr(places, "RIVAL", "pass")
    assert places.lockless(elsewhere) == "two processes got the same lock"


def test_the_file_system_of_a_path_is_that_of_the_longest_mount(tmp_path, elsewhere):
    table = tmp_path / "mounts"
    space = str(tmp_path).replace(" ", "\\040")
    table.write_text(
        f"/dev/sda1 / ext4 rw 0 0\nserver:/x {space} lustre rw 0 0\n"
        f"tmpfs {space}/other tmpfs rw 0 0\n"
    )
    found = places.file_system(elsewhere / "not" / "yet", table)
    assert found == FileSystem(tmp_path, "lustre")
    assert found.shared
    assert places.file_system(Path("/usr"), table) == FileSystem(Path("/"), "ext4")
    assert not FileSystem(Path("/"), "ext4").shared
    assert FileSystem(Path("/"), "fuse.glusterfs").shared
    assert places.file_system(elsewhere, tmp_path / "none") is None


def test_nodes_must_see_the_files(monkeypatch, tmp_path):
    assert only(disk.shared, case()).status == "ok"
    command(tmp_path / "bin", "sbatch")
    monkeypatch.setattr(places, "file_system", lambda path: FileSystem(Path("/"), "xfs"))
    found = only(disk.shared, case())
    assert found.status == "warn"
    assert "paths.results (xfs)" in found.found
    monkeypatch.setattr(places, "file_system", lambda path: FileSystem(Path("/"), "gpfs"))
    assert only(disk.shared, case()).status == "ok"


def test_quota_of_lustre(tmp_path):
    printed = "/lustre\n  1500000* 0 2000000 - 12 0 0 -\n"
    command(tmp_path / "bin", "lfs", printed)
    system = FileSystem(Path("/lustre"), "lustre")
    assert quotas.quota_left(tmp_path, system) == 500_000 * 1024
    command(tmp_path / "bin", "lfs", "/lustre 15 0 0 - 12 0 0 -\n")
    assert quotas.quota_left(tmp_path, system) is None


def test_quota_of_other_file_systems(tmp_path):
    printed = (
        f"Disk quotas for user {getpass.getuser()} (uid 1000): \n"
        "     Filesystem  blocks   quota   limit   grace   files   quota   limit   grace\n"
        "          /home  900000  1000000 1200000       0    1500       0       0       0\n"
        "          /work  100  0 0       0    1500       0       0       0\n"
    )
    command(tmp_path / "bin", "quota", printed)
    assert quotas.quota_left(tmp_path, FileSystem(Path("/home"), "nfs4")) == 100_000 * 1024
    assert quotas.quota_left(tmp_path, FileSystem(Path("/work"), "nfs4")) is None
    assert quotas.quota_left(tmp_path, FileSystem(Path("/scratch"), "nfs4")) is None


def test_no_quota_where_nothing_tells(tmp_path):
    assert quotas.quota_left(tmp_path, FileSystem(Path("/"), "ext4")) is None
    assert quotas.quota_left(tmp_path, FileSystem(Path("/"), "lustre")) is None

"""GLORYS12V1: original files, subsets, static files."""

from __future__ import annotations

import datetime as dt
import json
import shutil

import pytest

from hybridom.data.raw.folders import find_sources
from hybridom.data.raw.ocean_files import OceanFiles
from hybridom.errors import UserError
from hybridom.retrieve import fetching, ocean
from tests.retrieve.stand_ins import DEPTHS, MY, MYINT, STATIC

DAYS = [dt.date(2020, 1, n) for n in range(25, 32)]


def offer(marine, days=DAYS, dataset=MY):
    return [marine.add_day(dataset, day) for day in days]


def fetch(config, layout, month="2020-01"):
    fetching.run(ocean.ocean_job(config, layout, month), ocean.fetch_originals)
    return json.loads(layout.ocean_download(month).read_text())


def fetch_subsets(config, layout, month="2020-01"):
    fetching.run(ocean.ocean_job(config, layout, month), ocean.fetch_subsets)
    return json.loads(layout.ocean_download(month).read_text())


def held(layout):
    """Names of the files that readers look at."""
    return [path.name for path in find_sources(layout.ocean_dir)]


def test_a_month_holds_the_days_of_the_periods_and_says_so(marine, make):
    names = offer(marine, [dt.date(2020, 1, n) for n in range(20, 32)])
    config, layout = make()
    manifest = fetch(config, layout)
    assert held(layout) == names[5:]
    assert [entry["file"] for entry in manifest["files"]] == [f"2020/{n}" for n in names[5:]]
    for entry in manifest["files"]:
        size = (layout.ocean_dir / entry["file"]).stat().st_size
        assert entry["size"] == entry["declared_size"] == size
        assert entry["dataset"] == MY and entry["request"]["dataset_id"] == MY
        assert entry["client"].startswith("copernicusmarine ")
    assert manifest["interim_days"] == []
    assert not ocean.ocean_job(config, layout, "2020-01").partial.exists()


def test_a_finished_month_asks_for_nothing(marine, make):
    offer(marine)
    config, layout = make()
    fetch(config, layout)
    before = layout.ocean_download("2020-01").stat().st_mtime_ns
    marine.calls.clear()
    fetch(config, layout)
    assert marine.calls == []
    assert layout.ocean_download("2020-01").stat().st_mtime_ns == before


def test_a_lost_manifest_is_written_again_without_fetching(marine, make):
    offer(marine)
    config, layout = make()
    first = fetch(config, layout)
    layout.ocean_download("2020-01").unlink()
    marine.calls.clear()
    assert fetch(config, layout) == first
    assert marine.calls == []


def test_days_after_the_change_come_from_the_interim_dataset(marine, make):
    offer(marine, DAYS[:4])
    offer(marine, DAYS[4:], MYINT)
    config, layout = make(download={"interim_from": "2020-01-29"})
    manifest = fetch(config, layout)
    assert [entry["dataset"] for entry in manifest["files"]] == [MY] * 4 + [MYINT] * 3
    assert manifest["interim_days"] == ["2020-01-29", "2020-01-30", "2020-01-31"]


def test_of_two_runs_of_a_day_the_newer_is_taken(marine, make):
    offer(marine)
    newer = marine.add_day(MY, DAYS[0], run=90)
    config, layout = make()
    fetch(config, layout)
    assert newer in held(layout) and len(held(layout)) == len(DAYS)


def test_a_killed_month_goes_on_where_it_stopped(marine, make):
    names = offer(marine)
    config, layout = make()
    marine.stop_after = 5
    with pytest.raises(KeyboardInterrupt):
        fetch(config, layout)
    # whole files only, in whole batches, and no manifest
    assert held(layout) == names[:4]
    assert not layout.ocean_download("2020-01").exists()
    marine.stop_after, marine.delivered = None, []
    fetch(config, layout)
    assert marine.delivered == names[4:]
    assert held(layout) == names


def test_a_short_or_damaged_file_is_fetched_again_alone(marine, make):
    names = offer(marine)
    config, layout = make()
    fetch(config, layout)
    files = {name: layout.ocean_dir / "2020" / name for name in names}
    content = files[names[1]].read_bytes()
    files[names[1]].write_bytes(content[:-100])
    files[names[3]].write_bytes(b"\0" * files[names[3]].stat().st_size)
    files[names[5]].unlink()
    marine.delivered = []
    fetch(config, layout)
    assert marine.delivered == [names[1], names[3], names[5]]
    assert files[names[1]].read_bytes() == content


def test_a_file_that_arrives_short_is_refused_and_the_others_stay(marine, make):
    names = offer(marine)
    config, layout = make()
    marine.cut = {names[2]}
    with pytest.raises(UserError, match=rf"{names[2]}: holds \d+ bytes of \d+"):
        fetch(config, layout)
    assert held(layout) == names[:2]
    fetch(config, layout)
    assert held(layout) == names


def test_files_that_were_there_before_are_kept_where_they_lie(marine, make):
    names = offer(marine)
    config, layout = make()
    own = layout.ocean_dir / "somewhere" / names[2]
    own.parent.mkdir(parents=True)
    shutil.copy(marine.remote[MY][names[2]], own)
    manifest = fetch(config, layout)
    assert names[2] not in marine.delivered and len(marine.delivered) == len(DAYS) - 1
    assert manifest["files"][2]["file"] == f"somewhere/{names[2]}"


def test_days_that_the_dataset_lacks_are_named(marine, make):
    offer(marine, DAYS[:5])
    config, layout = make()
    with pytest.raises(UserError, match="no file of 2020-01-30, 2020-01-31; expected one each"):
        fetch(config, layout)


def test_without_credentials_the_command_that_logs_in_is_named(marine, make):
    marine.valid = False
    config, layout = make()
    with pytest.raises(UserError, match="copernicusmarine login"):
        fetch(config, layout)
    assert marine.calls == []


def test_a_failing_network_is_tried_again(marine, make, pauses):
    offer(marine)
    marine.failures = [ConnectionError("reset")]
    config, layout = make()
    fetch(config, layout)
    assert pauses == [10.0]


def test_a_month_that_does_not_fit_is_refused_before_anything_is_fetched(marine, make, monkeypatch):
    names = offer(marine)
    config, layout = make()
    monkeypatch.setattr(fetching, "free_space", lambda folder: 1000)
    need = sum(path.stat().st_size for path in marine.remote[MY].values())
    words = rf"ocean 2020-01 needs about {need // 1000} kB, 1 kB are free"
    with pytest.raises(UserError, match=words):
        fetch(config, layout)
    assert marine.delivered == []
    # files that are there already need no room
    layout.ocean_dir.mkdir(exist_ok=True)
    for name in names:
        shutil.copy(marine.remote[MY][name], layout.ocean_dir)
    fetch(config, layout)
    marine.calls.clear()
    with pytest.raises(UserError, match=r"needs about \d+ kB, 1 kB are free"):
        config, layout = make(download={"ocean": "subset"}, paths={"raw": str(layout.ocean_dir)})
        fetch_subsets(config, layout)
    assert marine.calls == []


def test_a_disk_that_fills_up_is_one_line_with_what_is_needed(marine, make, monkeypatch):
    offer(marine)
    config, layout = make()
    monkeypatch.setattr(marine, "_deliver", fail_full)
    with pytest.raises(UserError, match=r"disk became full.*GB are still needed"):
        fetch(config, layout)


def fail_full(source, target):
    raise OSError(28, "No space left on device", str(target))


def test_a_subset_asks_for_the_box_the_levels_and_the_days(marine, make):
    config, layout = make(download={"ocean": "subset"})
    manifest = fetch_subsets(config, layout)
    ((_, call),) = marine.calls
    assert (call["minimum_longitude"], call["maximum_longitude"]) == (177.0, 183.0)
    assert (call["minimum_latitude"], call["maximum_latitude"]) == (9.0, 15.0)
    # the levels of the dataset are single precision: the range must not cut off its ends
    assert call["minimum_depth"] < 0.49402499 and call["maximum_depth"] > 55.764290
    assert call["minimum_depth"] > 0.49 and call["maximum_depth"] < 56
    assert call["start_datetime"].startswith("2020-01-25")
    assert call["end_datetime"].startswith("2020-01-31")
    assert call["variables"] == ["thetao", "so", "uo", "vo", "zos"]
    assert [entry["file"] for entry in manifest["files"]] == [f"2020/{MY}_20200125_20200131.nc"]


def test_a_subset_that_crosses_the_date_line_may_end_at_greenwich(marine, make):
    # the client takes an eastern edge of 360 for 0, which is falsy, and then for none at all
    grid = {"name": "b", "resolution": 1.0, "lat": [10, 12], "lon": [100, 359], "depths": DEPTHS}
    config, layout = make(grid=grid, download={"ocean": "subset"})
    fetch_subsets(config, layout)
    assert 360 < marine.calls[0][1]["maximum_longitude"] < 360 + 1 / 12


def test_sea_ice_is_fetched_on_request(marine, make):
    sections = {"source": {"kind": "download", "sea_ice": True}}
    config, layout = make(download={"ocean": "subset"}, **sections)
    fetch_subsets(config, layout)
    assert marine.calls[0][1]["variables"][5:] == ["siconc", "sithick", "usi", "vsi"]


def test_a_subset_is_split_where_the_dataset_changes(marine, make):
    config, layout = make(download={"ocean": "subset", "interim_from": "2020-01-30"})
    manifest = fetch_subsets(config, layout)
    assert [entry["dataset"] for entry in manifest["files"]] == [MY, MYINT]
    assert manifest["interim_days"] == ["2020-01-30", "2020-01-31"]


def test_a_new_request_replaces_the_subsets_that_would_double_its_days(marine, make):
    split = {"ocean": "subset", "interim_from": "2020-01-30"}
    fetch_subsets(*make(download=split))
    config, layout = make(download={"ocean": "subset"})
    fetch_subsets(config, layout)
    assert held(layout) == [f"{MY}_20200125_20200131.nc"]


def test_a_subset_with_fewer_days_than_asked_names_them(marine, make, monkeypatch):
    config, layout = make(download={"ocean": "subset"})
    whole = marine.subset
    monkeypatch.setattr(
        marine, "subset", lambda **k: whole(**(k | {"end_datetime": "2020-01-29T23:59:59"}))
    )
    with pytest.raises(UserError, match="2020-01-30, 2020-01-31 missing of 7 times"):
        fetch_subsets(config, layout)
    assert held(layout) == []


def test_a_subset_of_another_place_is_refused(marine, make, monkeypatch):
    config, layout = make(download={"ocean": "subset"})
    whole = marine.subset
    wrong = {"minimum_longitude": -177.0, "maximum_longitude": -171.0}
    monkeypatch.setattr(marine, "subset", lambda **k: whole(**(k | wrong)))
    with pytest.raises(UserError, match="does not cover 177 to 183 degrees east"):
        fetch_subsets(config, layout)


def test_originals_and_subsets_are_never_mixed(marine, make):
    offer(marine)
    fetch(*make())
    with pytest.raises(UserError, match="fetched as 'original', the configuration says 'subset'"):
        fetch_subsets(*make(download={"ocean": "subset"}))


def test_static_files_are_fetched_part_by_part(marine, make):
    marine.add_static()
    config, layout = make()
    fetching.run(ocean.static_job(config, layout), ocean.fetch_originals)
    manifest = json.loads(layout.static_download.read_text())
    names = [f"GLO-MFC_001_030_{n}.nc" for n in ("coordinates", "mask_bathy", "mdt")]
    assert [entry["file"] for entry in manifest["files"]] == names
    parts = {call["dataset_part"] for _, call in marine.calls}
    assert parts == {"coords", "bathy", "mdt"}
    assert {call["dataset_id"] for _, call in marine.calls} == {STATIC}


@pytest.mark.parametrize("kind", ["original", "subset"])
def test_the_reader_finds_every_day_once_and_knows_the_interim_ones(marine, make, kind):
    offer(marine, DAYS[:5])
    offer(marine, DAYS[5:], MYINT)
    config, layout = make(download={"ocean": kind, "interim_from": "2020-01-30"})
    (fetch if kind == "original" else fetch_subsets)(config, layout)
    files = OceanFiles.scan(layout.ocean_dir)
    assert [files.problem(day) for day in DAYS] == [None] * len(DAYS)
    assert files.interim_days(DAYS) == DAYS[5:]

"""Faults are found, named and mended; nothing else is touched."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest

from hybridom.cli import EXIT_USER_ERROR, main
from hybridom.data.prepare import prepare_climatology, prepare_forcing, prepare_grid, prepare_state
from hybridom.data.stores import write_store
from hybridom.data.stores.checking import check_store, forget, stores_in
from hybridom.data.stores.info import describe, store_info
from hybridom.data.stores.repairing import repair_store, stage_of
from hybridom.errors import UserError
from tests.data.stores.example import DAYS, WET, Source, contents, fields, make_plan


def test_a_sound_store_has_no_faults(finished):
    assert check_store(finished.path) == []
    assert stores_in(finished.path.parent) == [finished.path]


def test_damaged_altered_and_missing_chunks_are_found_by_day(finished):
    first = finished.path / "thetao" / "c"
    content = (first / "1" / "1" / "0" / "0").read_bytes()
    (first / "1" / "1" / "0" / "0").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    shutil.copy(first / "2" / "0" / "0" / "0", first / "4" / "0" / "0" / "0")  # of another day
    (finished.path / "zos" / "c" / "6" / "0" / "0").unlink()
    faults = check_store(finished.path)
    assert [fault.slab for fault in faults] == ["2004-02-25", "2004-02-28", "2004-03-01"]
    assert "other bytes" in faults[0].reason and "other bytes" in faults[1].reason
    assert str(faults[2]) == (
        f"{finished.path}: 2004-03-01: chunk zos/c/6/0/0 is missing, and 0 others of 3"
    )


def test_wet_cells_without_value_are_found_where_the_grid_is_known(tmp_path):
    def holed(indices):
        for index in indices:
            slab = fields(index)
            if index == 2:
                slab["thetao"][tuple(np.argwhere(WET)[5])] = np.nan
            yield slab

    plan = make_plan(tmp_path)
    write_store(plan, holed, "holed")
    (fault,) = check_store(plan.path)
    assert (fault.slab, fault.reason) == (
        "2004-02-26",
        "variable thetao has no value in 1 cells that need one",
    )
    (tmp_path / "grid.nc").unlink()
    assert check_store(plan.path) == []


def test_gaps_are_no_faults_unless_they_hold_chunks(tmp_path):
    plan = make_plan(tmp_path, absent={3: "no file"}, gaps_allowed=True)
    write_store(plan, Source(), "gaps")
    assert check_store(plan.path) == []
    shutil.copytree(plan.path / "zos" / "c" / "2", plan.path / "zos" / "c" / "3")
    (fault,) = check_store(plan.path)
    assert (fault.slab, fault.reason) == ("2004-02-27", "a gap that holds chunks")


def test_forgotten_days_are_made_again_and_all_others_kept(finished, whole):
    forget(finished.path, ["2004-02-24", "2004-02-29"])
    assert not finished.manifest.exists()
    source = Source()
    write_store(finished, source, "again")
    assert source.made == [0, 5]
    assert contents(finished.path.parent) == whole


def test_a_store_without_digests_is_refused_with_what_to_do(finished, tmp_path):
    finished.manifest.unlink()
    with pytest.raises(UserError, match=r"2004.json: no digests of 2004.zarr.*run the stage"):
        check_store(finished.path)
    with pytest.raises(UserError, match="hybridom prepare state"):
        stores_in(tmp_path / "state" / "2005.zarr")
    with pytest.raises(UserError, match="no finished store"):
        stores_in(tmp_path)


def test_the_description_names_what_the_store_holds(tmp_path):
    plan = make_plan(
        tmp_path,
        keepbits={"zos": 9},
        absent={7: "no file"},
        gaps_allowed=True,
        extras={"interim_days": ["2004-02-25"]},
    )
    write_store(plan, Source(), "described")
    text = describe(plan.path)
    info = store_info(plan.path)
    assert (info.days, info.gaps, info.interim_days) == (7, ["2004-03-02"], ["2004-02-25"])
    assert info.plain_bytes == 7 * 4 * 4 * 6 * 12
    deep = [fields(n)["thetao"] for n in range(DAYS - 1)]
    low, high = np.nanmin(deep), np.nanmax(deep)
    for part in (
        "2004-02-24 to 2004-03-02, 7 of 8 hold data",
        "1: 2004-03-02",
        "1: 2004-02-25",
        "8 x 3 x 6 x 12",
        "1 x 2 x 6 x 12",
        f"{low:.6g} to {high:.6g}",
        "all 23",
        "configuration abc",
        json.loads(plan.manifest.read_text())["checksum"],
    ):
        assert part in text, part
    zos = next(line for line in text.splitlines() if line.split()[0] == "zos")
    assert zos.endswith(" 9")


@pytest.fixture
def made(world):
    """Prepared state and forcing that a test may spoil."""
    prepare_grid(world.config, world.layout)
    prepare_state(world.config, world.layout, 2000)
    prepare_forcing(world.config, world.layout, 2000)
    return world


def test_repair_makes_damaged_days_again_and_only_those(made):
    for path, name in (
        (made.layout.state_store(2000), "so"),
        (made.layout.forcing_store(2000), "v10"),
    ):
        expected = contents(path.parent)
        chunks = sorted(p for p in path.glob("*/c/**/*") if p.is_file())
        for damaged in (path / name / "c" / "4", path / name / "c" / "20"):
            next(p for p in damaged.rglob("*") if p.is_file()).write_bytes(b"spoilt")
        before = {p: p.stat().st_ino for p in chunks}
        faults = repair_store(made.config, made.layout, path)
        assert [fault.slab for fault in faults] == ["2000-02-24", "2000-03-11"]
        assert contents(path.parent) == expected
        moved = {p.relative_to(path).parts[2] for p in chunks if p.stat().st_ino != before[p]}
        assert moved == {"4", "20"}
        assert repair_store(made.config, made.layout, path) == []


def test_the_stage_of_a_store_is_known_by_its_place(made):
    layout = made.layout
    for path, kind, function in (
        (layout.climatology_store, "climatology", prepare_climatology),
        (layout.state_store(2000), "state", prepare_state),
        (layout.forcing_store(2000), "forcing", prepare_forcing),
    ):
        found, call = stage_of(made.config, layout, path)
        assert found == kind and call.func is function


def test_repair_refuses_stores_that_the_configuration_would_not_make_so(made, finished):
    with pytest.raises(UserError, match="not a store that the configuration prepares"):
        repair_store(made.config, made.layout, finished.path)
    path = made.layout.state_store(2000)
    inode = os.stat(path / "zarr.json").st_ino
    (path / "zos" / "c" / "4" / "0" / "0").unlink()
    other = made.config.model_copy(
        update={"grid": made.config.grid.model_copy(update={"wet_threshold": 0.4})}
    )
    with pytest.raises(UserError, match=r"made with configuration .* every day would"):
        repair_store(other, made.layout, path)
    assert os.stat(path / "zarr.json").st_ino == inode


def test_the_command_checks_and_describes_and_its_status_tells(finished, capsys):
    assert main(["store", "check", str(finished.path.parent)]) == 0
    assert capsys.readouterr().out == f"{finished.path}: sound\n"
    assert main(["store", "info", str(finished.path)]) == 0
    assert "thetao" in capsys.readouterr().out
    (finished.path / "zos" / "c" / "6" / "0" / "0").unlink()
    assert main(["store", "check", str(finished.path)]) == EXIT_USER_ERROR
    errors = capsys.readouterr().err
    assert "2004-03-01: chunk zos/c/6/0/0 is missing" in errors and "1 faults" in errors


def test_another_start_of_the_year_is_another_store(finished):
    """Labels are days, so that a shifted time axis never keeps a day under another's name."""
    time = finished.coordinates["time"] + np.int32(1)
    shifted = finished.coordinates.assign_coords(
        time=time.assign_attrs(finished.coordinates["time"].attrs)
    )
    source = Source()
    write_store(replace(finished, coordinates=shifted), source, "shifted")
    assert source.made == list(range(DAYS))

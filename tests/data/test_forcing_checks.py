"""The atmosphere's part of the check before work starts: gaps, interim days, coverage."""

from __future__ import annotations

import datetime as dt
import json

import netCDF4
import pytest

from hybridom.data.checks import check_year
from hybridom.data.forcing_checks import gap_reason
from hybridom.data.raw.forcing import ForcingFiles
from hybridom.errors import UserError
from tests.data.raw import write_forcing_month

MISSING = dt.date(2000, 3, 4)


def record_gaps(world):
    source = world.config.source.model_copy(update={"gaps": "record"})
    world.config = world.config.model_copy(update={"source": source})


def report(world):
    check_year(world.config, world.layout, 2000)
    return json.loads(world.layout.check_report(2000).read_text())


def lose(world, *days):
    """Write March without some days."""
    kept = [day for day in range(1, 21) if day not in days]
    return write_forcing_month(world.root / "forcing", 2000, 3, days=kept)


def test_a_day_without_file_is_refused_unless_gaps_are_recorded(world):
    lose(world, MISSING.day)
    with pytest.raises(UserError, match=r"no file holds variable u10 on 2000-03-04"):
        report(world)
    record_gaps(world)
    found = report(world)
    (reason,) = found["gaps"]["atmosphere"].values()
    assert list(found["gaps"]["atmosphere"]) == [str(MISSING)]
    assert "variable u10" in reason
    assert found["gaps"]["ocean"] == {}


def test_a_day_of_which_one_variable_is_missing_is_a_gap(world):
    record_gaps(world)
    folder = world.root / "forcing"
    (folder / "era5_u10_v10_t2m_200003.nc").unlink()
    write_forcing_month(folder, 2000, 3, days=range(1, 21), names=["u10", "v10"])
    write_forcing_month(folder, 2000, 3, days=[1, 2, 3, *range(5, 21)], names=["t2m"])
    (reason,) = report(world)["gaps"]["atmosphere"].values()
    assert "variable t2m on 2000-03-04" in reason
    files = ForcingFiles.scan(folder, ("u10", "v10", "t2m"))
    assert gap_reason(files, MISSING) == reason


def test_a_recorded_gap_does_not_excuse_a_variable_that_is_absent_everywhere(world):
    record_gaps(world)
    folder = world.root / "forcing"
    for path in folder.glob("*.nc"):
        path.unlink()
    for month in (2, 3):
        write_forcing_month(folder, 2000, month, names=["u10", "v10"])
    with pytest.raises(UserError, match=r"variable t2m is absent from all files"):
        report(world)


def test_a_recorded_gap_does_not_excuse_a_duplicate(world):
    record_gaps(world)
    path = write_forcing_month(world.root / "forcing" / "again", 2000, 3, days=[MISSING.day])
    with pytest.raises(UserError, match=r"duplicate of 00:00 UTC") as error:
        report(world)
    assert str(path) in str(error.value)


def test_interim_days_are_reported_by_side(world):
    path = world.root / "forcing" / "era5_u10_v10_t2m_200003.nc"
    with netCDF4.Dataset(path, "a") as file:
        marks = file.createVariable("expver", str, ("valid_time",))
        for index in range(file.dimensions["valid_time"].size):
            marks[index] = "0001" if index < 10 * 4 + 1 else "0005"
    found = report(world)["interim_days"]
    assert found["atmosphere"] == [f"2000-03-{day:02d}" for day in range(11, 21)]
    assert found["ocean"] == []

"""ERA5 by the Climate Data Store: every sample of every day, once."""

from __future__ import annotations

import datetime as dt
import json

import netCDF4
import pytest

from hybridom.data.raw.forcing import ForcingFiles
from hybridom.errors import UserError
from hybridom.retrieve import cds, fetching
from hybridom.retrieve.checking import time_labels
from hybridom.variables import RAW_FORCING, VARIABLES

# The store's own names, written out.
NAMES = {
    "u10": "10m_u_component_of_wind",
    "v10": "10m_v_component_of_wind",
    "msl": "mean_sea_level_pressure",
    "t2m": "2m_temperature",
    "d2m": "2m_dewpoint_temperature",
    "ssr": "surface_net_solar_radiation",
    "strd": "surface_thermal_radiation_downwards",
    "msnlwrf": "mean_surface_net_long_wave_radiation_flux",
    "msnswrf": "mean_surface_net_short_wave_radiation_flux",
    "msshf": "mean_surface_sensible_heat_flux",
    "mslhf": "mean_surface_latent_heat_flux",
    "metss": "mean_eastward_turbulent_surface_stress",
    "mntss": "mean_northward_turbulent_surface_stress",
    "mer": "mean_evaporation_rate",
    "mtpr": "mean_total_precipitation_rate",
}


@pytest.fixture
def cds_world(make):
    def build(**sections):
        download = {"atmosphere": "cds"} | sections.pop("download", {})
        return make(**{"forcing": "bulk8", "download": download} | sections)

    return build


def fetch(config, layout, month="2020-01"):
    fetching.run(cds.forcing_job(config, layout, month), cds.fetch_hourly)
    return json.loads(layout.forcing_download(month).read_text())


def samples(layout, name):
    """Times of all samples of a variable in all files."""
    times = []
    for path in layout.forcing_dir.rglob("*.nc"):
        with netCDF4.Dataset(path) as file:
            if name in file.variables:
                times += time_labels(file)
    return sorted(times)


def test_names_are_those_of_the_store():
    needed = {name for names in RAW_FORCING.values() for name in names}
    assert {name: cds.long_name(name) for name in needed} == {n: NAMES[n] for n in needed}


def test_each_sample_of_both_months_is_there_once(climate, cds_world):
    config, layout = cds_world()
    for month in config.periods.months():
        fetch(config, layout, month)
    first = dt.datetime(2020, 1, 25)
    for name in RAW_FORCING["bulk8"]:
        shift = 1 if VARIABLES[name].hour_ending else 0
        expected = [first + dt.timedelta(hours=n + shift) for n in range(9 * 24)]
        assert samples(layout, name) == expected, name


def test_the_reader_finds_24_samples_of_every_day(climate, cds_world):
    config, layout = cds_world()
    fetch(config, layout)
    files = ForcingFiles.scan(layout.forcing_dir, RAW_FORCING["bulk8"])
    for name in RAW_FORCING["bulk8"]:
        days = [dt.date(2020, 1, n) for n in range(25, 32)]
        assert [files.problem(name, day) for day in days] == [None] * 7
        assert [len(files.samples[name][day]) for day in days] == [24] * 7


def test_each_month_is_complete_by_itself(climate, cds_world):
    config, layout = cds_world()
    fetch(config, layout)
    times = samples(layout, "mtpr")
    assert times[0] == dt.datetime(2020, 1, 25, 1) and times[-1] == dt.datetime(2020, 2, 1, 0)
    assert len(times) == len(set(times)) == 7 * 24


def test_requests_are_products_of_one_kind_of_step_over_the_box(climate, cds_world):
    config, layout = cds_world()
    fetch(config, layout)
    for request in climate.requests:
        assert request["area"] == [15.0, 177.0, 9.0, 183.0]
        assert request["data_format"] == "netcdf" and request["product_type"] == ["reanalysis"]
        kinds = {n.startswith("mean_t") for n in request["variable"]}
        assert len(kinds) == 1, "mixed kinds come back as an archive"
    # five instantaneous and three other variables, and two midnights of two kinds
    assert len(climate.requests) == 5 + 3 + 4
    assert climate.requests[-1]["month"] == ["02"] and climate.requests[-1]["day"] == ["01"]


def test_the_whole_globe_is_asked_for_without_area(climate, cds_world):
    grid = {"name": "g", "resolution": 10.0, "lat": [-90, 90], "depths": [1.0]}
    config, layout = cds_world(grid=grid)
    job = cds.forcing_job(config, layout, "2020-01")
    assert all("area" not in piece.request for piece in job.pieces)


def test_a_finished_month_asks_for_nothing_and_a_new_variable_for_itself(climate, cds_world):
    fetch(*cds_world(forcing="surface3"))
    climate.requests.clear()
    fetch(*cds_world(forcing="surface3"))
    assert climate.requests == []
    fetch(*cds_world(forcing="surface4"))
    assert [r["variable"] for r in climate.requests] == [[NAMES["msl"]]]


def test_a_larger_box_replaces_the_files(climate, cds_world):
    fetch(*cds_world(forcing="surface3"))
    config, layout = cds_world(forcing="surface3", download={"margin": 2.0})
    manifest = fetch(config, layout)
    assert len(climate.requests) == 6
    assert len(list(layout.forcing_dir.rglob("*.nc"))) == 3 == len(manifest["files"])


def test_a_short_file_is_refused_and_fetched_again(climate, cds_world):
    climate.short = 700
    with pytest.raises(UserError, match=r"era5_u10_202001.nc: holds \d+ bytes of \d+"):
        fetch(*cds_world(forcing="surface3"))
    config, layout = cds_world(forcing="surface3")
    fetch(config, layout)
    assert len(list(layout.forcing_dir.rglob("*.nc"))) == 3


def test_a_stop_between_files_keeps_those_before(climate, cds_world, pauses):
    config, layout = cds_world(forcing="surface3")
    stop = iter([None, KeyboardInterrupt()])
    retrieve = climate.retrieve

    def stopping(name, request):
        if error := next(stop):
            raise error
        return retrieve(name, request)

    climate.retrieve = stopping
    with pytest.raises(KeyboardInterrupt):
        fetch(config, layout)
    climate.retrieve = retrieve
    climate.requests.clear()
    fetch(config, layout)
    assert [r["variable"] for r in climate.requests] == [[NAMES["v10"]], [NAMES["t2m"]]]


def test_preliminary_days_are_recorded(climate, cds_world):
    climate.late = dt.date(2020, 1, 30)
    manifest = fetch(*cds_world(forcing="surface3"))
    assert manifest["interim_days"] == ["2020-01-30", "2020-01-31"]


def test_without_a_key_the_file_that_holds_it_is_named(climate, cds_world):
    climate.refusal = Exception("Missing/incomplete configuration file: /home/me/.cdsapirc")
    with pytest.raises(UserError, match=r"Missing.*put the url and the key.*\.cdsapirc"):
        fetch(*cds_world())


def test_hourly_files_and_daily_means_are_never_mixed(climate, cds_world, make):
    fetch(*cds_world())
    from hybridom.retrieve import arco

    config, layout = make(forcing="bulk8")
    with pytest.raises(UserError, match="fetched as 'cds', the configuration says 'arco'"):
        fetching.run(arco.forcing_job(config, layout, "2020-01"), arco.fetch_daily)

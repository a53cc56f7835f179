from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from hybridom.errors import UserError
from hybridom.twin import weather_files
from hybridom.twin.atmosphere import Atmosphere, Surface
from hybridom.twin.geography import TwinGrid
from hybridom.twin.weather_files import DRAG, WeatherProduct, wind_of_stress

from .conftest import Run

DAY = dt.date(2001, 1, 30)
GRID = TwinGrid.of(4)


@pytest.fixture(scope="module")
def atmosphere() -> Atmosphere:
    return Atmosphere(GRID, 1, DAY, DAY)


def test_wind_exerts_the_stress_that_it_was_made_from() -> None:
    taux, tauy = np.random.default_rng(0).normal(0, 0.1, (2, 100))
    u, v = wind_of_stress(taux, tauy)
    np.testing.assert_allclose(1.22 * DRAG * np.hypot(u, v) * u, taux, rtol=1e-12)
    np.testing.assert_allclose(1.22 * DRAG * np.hypot(u, v) * v, tauy, rtol=1e-12)


def test_no_stress_is_no_wind() -> None:
    assert wind_of_stress(np.zeros(1), np.zeros(1)) == (0.0, 0.0)


def test_file_has_the_names_and_axes_of_era5(finished: Run) -> None:
    with xr.open_dataset(finished.layout.forcing_dir / "era5_daily_mean_200101.nc") as ds:
        assert set(ds.data_vars) == {"u10", "v10", "t2m"}
        assert ds.u10.dims == ("valid_time", "latitude", "longitude")
        np.testing.assert_array_equal(ds.latitude, np.arange(90.0, -90.1, -2.0))
        np.testing.assert_array_equal(ds.longitude, np.arange(0.0, 360.0, 2.0))
        days = np.array(["2001-01-30", "2001-01-31"], dtype="datetime64[ns]")
        np.testing.assert_array_equal(ds.valid_time, days)
        assert (ds.u10.units, ds.t2m.units) == ("m s**-1", "K")
        assert all(ds[name].dtype == np.float32 for name in ds.data_vars)


def test_winds_and_temperatures_are_plausible_everywhere(finished: Run) -> None:
    with xr.open_dataset(finished.layout.forcing_dir / "era5_daily_mean_200101.nc") as ds:
        assert all(np.isfinite(ds[name]).all() for name in ds.data_vars)
        assert 2 < np.sqrt((ds.u10**2 + ds.v10**2).mean()) < 10
        assert np.hypot(ds.u10, ds.v10).max() < 30
        assert 268 < ds.t2m.min() < ds.t2m.max() < 310


def test_orientation_of_the_file_follows_the_fields(tmp_path: Path, atmosphere: Atmosphere) -> None:
    shape = len(atmosphere.lat), len(atmosphere.lon)
    north = np.broadcast_to(atmosphere.lat[:, None], shape)
    east = np.broadcast_to(np.cos(np.deg2rad(atmosphere.lon - 100)), shape)
    product = WeatherProduct(tmp_path, atmosphere, 2.0, "test")
    product.add_day(DAY, [Surface(0 * north, 0 * north, north + 5 * east)])
    with xr.open_dataset(product.write_month()) as ds:
        t2m = ds.t2m.isel(valid_time=0) - 273.15
        assert float(t2m.sel(latitude=60, longitude=190)) == pytest.approx(60, abs=0.02)
        assert float(t2m.sel(latitude=-20, longitude=100)) == pytest.approx(-15, abs=0.02)
        assert float(t2m.sel(latitude=-20, longitude=280)) == pytest.approx(-25, abs=0.02)


def test_stress_is_placed_on_the_faces_that_it_drove(
    tmp_path: Path, atmosphere: Atmosphere
) -> None:
    shape = len(atmosphere.lat), len(atmosphere.lon)
    tauy = np.broadcast_to(1 + atmosphere.lat[:, None] / 100, shape)
    product = WeatherProduct(tmp_path, atmosphere, 2.0, "test")
    product.add_day(DAY, [Surface(0 * tauy, tauy, 0 * tauy)])
    with xr.open_dataset(product.write_month()) as ds:
        v = float(ds.v10.sel(latitude=32, longitude=10).isel(valid_time=0))
    # the north face at 32N belongs to the cell at 30N
    assert 1.22 * DRAG * v**2 == pytest.approx(1.30, rel=1e-5)


def test_a_day_is_the_mean_over_its_steps(tmp_path: Path, atmosphere: Atmosphere) -> None:
    ones = np.ones((len(atmosphere.lat), len(atmosphere.lon)))
    product = WeatherProduct(tmp_path, atmosphere, 30.0, "test")
    product.add_day(DAY, [Surface(0 * ones, 0 * ones, air * ones) for air in (1.0, 2.0, 6.0)])
    with xr.open_dataset(product.write_month()) as ds:
        np.testing.assert_allclose(ds.t2m, 273.15 + 3.0, rtol=1e-6)


def test_a_step_that_does_not_divide_the_meridian_is_refused(atmosphere: Atmosphere) -> None:
    with pytest.raises(UserError, match="forcing_degrees 7 "):
        WeatherProduct(Path(), atmosphere, 7.0, "test")


def test_file_name() -> None:
    assert weather_files.file_name(2001, 3) == "era5_daily_mean_200103.nc"

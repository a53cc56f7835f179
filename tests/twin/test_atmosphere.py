from __future__ import annotations

import datetime as dt

import numpy as np
import pytest

from hybridom.twin import atmosphere
from hybridom.twin.atmosphere import Atmosphere, Weather
from hybridom.twin.geography import TwinGrid

GRID = TwinGrid.of(4)
NEW_YEAR = dt.date(2001, 1, 1)


@pytest.fixture(scope="module")
def year() -> np.ndarray:
    """Zonal shape, meridional shape and slow part at each midnight, (days, 3, ny, nx)."""
    days = [NEW_YEAR + dt.timedelta(n) for n in range(365)]
    weather = Weather(GRID, 1, days[0], days[-1])
    return np.array([weather.at(day, 0.0) for day in days])


def test_weather_shapes_have_unit_variance(year: np.ndarray) -> None:
    inner = year[:, :, 4:-4]
    np.testing.assert_allclose(np.sqrt((inner**2).mean(axis=(0, 2, 3))), 1.0, atol=0.12)
    np.testing.assert_allclose(inner.mean(axis=(0, 2, 3)), 0.0, atol=0.1)


def test_slow_part_remembers_twenty_days(year: np.ndarray) -> None:
    slow = year[:, 2]
    lag = (slow[5:] * slow[:-5]).mean() / (slow**2).mean()
    assert lag == pytest.approx(np.exp(-5 / 20), abs=0.08)


def test_storms_drift_east_in_middle_latitudes(year: np.ndarray) -> None:
    row = int(np.argmin(np.abs(GRID.lat - 46)))
    today, tomorrow = year[:-1, 1, row], year[1:, 1, row]
    match = [(np.roll(today, n, axis=1) * tomorrow).mean() for n in range(-10, 11)]
    assert int(np.argmax(match)) - 10 == pytest.approx(8.0 / GRID.degrees, abs=1)


def test_weather_is_the_same_for_a_seed_and_another_for_another_seed() -> None:
    first, again, other = (Weather(GRID, seed, NEW_YEAR, NEW_YEAR) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.at(NEW_YEAR, 0.0), again.at(NEW_YEAR, 0.0))
    assert np.abs(np.subtract(first.at(NEW_YEAR, 0.0), other.at(NEW_YEAR, 0.0))).max() > 0.5


def test_weather_of_a_day_does_not_depend_on_the_simulated_period() -> None:
    day = dt.date(2002, 3, 5)
    from_march = Weather(GRID, 1, dt.date(2002, 3, 1), day).at(day, 7200.0)
    from_day = Weather(GRID, 1, day, day).at(day, 7200.0)
    np.testing.assert_array_equal(from_march, from_day)


def test_weather_is_continuous_over_the_new_year() -> None:
    eve = dt.date(2001, 12, 31)
    midnight = Weather(GRID, 1, eve, eve).at(eve, 86400.0)
    after = Weather(GRID, 1, dt.date(2002, 1, 1), dt.date(2002, 1, 1)).at(dt.date(2002, 1, 1), 0.0)
    np.testing.assert_allclose(midnight, after, atol=1e-6)


def test_season_runs_from_new_year_to_new_year_also_in_a_leap_year() -> None:
    assert atmosphere.year_day(dt.date(2001, 1, 26), 0.0) == pytest.approx(25.0)
    assert atmosphere.year_day(dt.date(2001, 12, 31), 86400.0) == pytest.approx(365.0)
    assert atmosphere.year_day(dt.date(2004, 12, 31), 86400.0) == pytest.approx(365.0)
    assert atmosphere.season(25.0) == pytest.approx(1.0)


def test_january_is_cold_in_the_north_and_warm_in_the_south() -> None:
    january, july = (
        atmosphere.air_temperature(GRID.lon, GRID.lat, yday).mean(axis=1) for yday in (25.0, 207.5)
    )
    north, south = np.argmin(np.abs(GRID.lat - 42)), np.argmin(np.abs(GRID.lat + 42))
    assert july[north] - january[north] == pytest.approx(17.0, abs=1.0)
    assert january[south] - july[south] == pytest.approx(10.0, abs=1.0)


def test_mean_wind_has_trades_and_westerlies() -> None:
    stress = atmosphere.mean_zonal_stress(np.array([-50.0, -14.0, 15.0, 44.0]), 0.0)
    assert (np.sign(stress) == [1, -1, -1, 1]).all()


def test_stress_anomaly_in_middle_latitudes_is_about_the_observed_one() -> None:
    days = [NEW_YEAR + dt.timedelta(n) for n in range(60)]
    atmos = Atmosphere(GRID, 1, days[0], days[-1])
    row = int(np.argmin(np.abs(atmos.lat - 46)))
    tauy = np.array([atmos.at(day, 0.0).tauy[row] for day in days])
    assert 0.06 < np.sqrt((tauy**2).mean()) < 0.13


def test_atmosphere_covers_both_poles_and_keeps_the_rows_of_the_ocean() -> None:
    atmos = Atmosphere(GRID, 1, NEW_YEAR, NEW_YEAR)
    assert atmos.lat[0] <= -90 - GRID.degrees / 2
    assert atmos.lat[-1] >= 90
    np.testing.assert_array_equal(atmos.lat[atmos.ocean_rows], GRID.lat)
    surface = atmos.at(NEW_YEAR, 0.0)
    assert surface.air.shape == (len(atmos.lat), len(atmos.lon))
    assert all(np.isfinite(f).all() for f in (surface.taux, surface.tauy, surface.air))

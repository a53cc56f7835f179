"""The atmosphere that drives the embedded ocean: seasonal means and seeded weather.

The weather is a smooth random stream function with a memory of three days that drifts with the
storms, and a slow part of the air temperature with a memory of twenty days. The noise of each day
is drawn from a generator of its own (seed and day), and the memory starts LEAD_IN days before the
year: the weather of a day does not depend on which period is simulated.

All fields lie on the rows of the ocean's tracer cells, continued to the poles, in the order
(ny, nx), south to north. The zonal stress belongs to the east faces of these cells and the
meridional stress to their north faces.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from hybridom.twin.geography import Array, TwinGrid

LEAD_IN = 400  # days; exp(-400/20) = 2e-9, below single precision
STORM_MEMORY = 3.0  # days
SLOW_MEMORY = 20.0  # days
STORM_SIZE = 6.0  # degrees, standard deviation of the smoothing kernel
DRIFT = 8.0, -3.0  # degrees a day, poleward and equatorward of 22 degrees


@dataclass(frozen=True)
class Surface:
    """The atmosphere at one instant.

    Attributes:
        taux: Zonal stress at east faces, N m-2, shape (rows, nx).
        tauy: Meridional stress at north faces, N m-2, shape (rows, nx).
        air: Apparent air temperature at cell centres, degC, shape (rows, nx).
    """

    taux: Array
    tauy: Array
    air: Array


def year_day(day: dt.date, seconds: float) -> float:
    """Phase of the seasonal cycle, 0 on 1 January to 365 on 31 December (also in leap years)."""
    elapsed = (day - dt.date(day.year, 1, 1)).days + seconds / 86400.0
    length = (dt.date(day.year + 1, 1, 1) - dt.date(day.year, 1, 1)).days
    return 365.0 * elapsed / length


def season(yday: float) -> float:
    """Cosine of the seasonal cycle, +1 in late January."""
    return float(np.cos(2 * np.pi * (yday - 25.0) / 365.0))


def air_temperature(lon: Array, lat: Array, yday: float) -> Array:
    """Seasonal apparent air temperature, degC, shape (ny, nx).

    Args:
        lon: Longitudes, shape (nx,), degrees.
        lat: Latitudes, shape (ny,), degrees.
        yday: Phase of the year, 0 to 365.
    """
    y = lat[:, None]
    x = (lon[None, :] + 180) % 360 - 180
    warmth = np.clip((np.cos(np.deg2rad(1.08 * y)) - 0.22) / 0.78, 0, 1.2)
    mean = -1.8 + 30.0 * warmth**1.25
    amplitude = np.where(y > 0, 8.5, 5.0) * np.exp(-(((np.abs(y) - 42.0) / 20.0) ** 2))
    amplitude = amplitude + 0.6 * (1 - np.cos(np.deg2rad(y)))
    seasonal = -np.sign(y) * season(yday) * amplitude
    warm_pool = 1.5 * np.cos(np.deg2rad(x - 150.0)) * np.exp(-((y / 14.0) ** 2))
    north_atlantic = 4.0 * np.exp(-(((x + 8.0) / 25.0) ** 2) - ((y - 60.0) / 10.0) ** 2)
    return np.maximum(mean + seasonal + warm_pool + north_atlantic, -2.2)


def surface_salinity(lon: Array, lat: Array) -> Array:
    """Salinity to which the surface is restored, g/kg, shape (ny, nx)."""
    y = lat[:, None]
    x = (lon[None, :] + 180) % 360 - 180
    zonal = 34.5 + 1.3 * np.exp(-(((np.abs(y) - 25.0) / 11.0) ** 2))
    zonal = zonal - 0.5 * np.exp(-(((np.abs(y) - 62.0) / 12.0) ** 2))
    south = np.where(y > -35, 1.0, np.exp(-(((y + 35.0) / 10.0) ** 2)))
    atlantic = np.exp(-(((x + 35.0) / 30.0) ** 4)) * south
    pacific = np.exp(-(((lon[None, :] % 360 - 180) / 55.0) ** 4))
    pacific = pacific * 0.5 * (1 + np.tanh((y - 30.0) / 10.0))
    return zonal + 1.0 * atlantic - 0.9 * pacific


def mean_zonal_stress(lat: Array, phase: float) -> Array:
    """Trades, westerlies and polar easterlies, N m-2, shape (ny,).

    Args:
        lat: Latitudes, shape (ny,), degrees.
        phase: `season` of the day; the belts move north by up to 3 degrees in late January.
    """
    y = lat + 3.0 * phase * np.exp(-((lat / 60.0) ** 4))
    return (
        -0.06 * np.exp(-(((y - 15.0) / 9.0) ** 2)) * (1 + 0.25 * phase)
        - 0.07 * np.exp(-(((y + 14.0) / 10.0) ** 2)) * (1 - 0.25 * phase)
        - 0.02 * np.exp(-((y / 6.0) ** 2))
        + 0.09 * np.exp(-(((y - 44.0) / 10.0) ** 2)) * (1 + 0.45 * phase)
        + 0.15 * np.exp(-(((y + 50.0) / 10.0) ** 2)) * (1 - 0.10 * phase)
        - 0.02 * np.exp(-(((y + 69.0) / 4.0) ** 2))
    )


class Weather:
    """Seeded daily random fields on the cells of the ocean, linear in time between midnights.

    Args:
        grid: Cells of the ocean.
        seed: Seed of the noise.
        first: First day.
        last: Last day.
    """

    def __init__(self, grid: TwinGrid, seed: int, first: dt.date, last: dt.date) -> None:
        self._seed = seed
        self._first = first
        nx, ny = len(grid.lon), len(grid.lat)
        self._shape = ny, nx
        self._size = STORM_SIZE / grid.degrees
        self._size_x = self._size / np.clip(np.cos(np.deg2rad(grid.lat)), 0.35, 1)[:, None]
        row = np.arange(ny)
        kernel = np.exp(-0.5 * ((row[:, None] - row[None, :]) / self._size) ** 2)
        self._kernel_y = kernel / np.sqrt((kernel**2).sum(axis=1, keepdims=True))
        wave = 2 * np.pi * np.fft.rfftfreq(nx)[None, :]
        gain = np.sqrt(2 * np.sqrt(np.pi) * self._size_x)
        self._kernel_x = gain * np.exp(-0.5 * (wave * self._size_x) ** 2)
        drift = np.where(np.abs(grid.lat) > 22, DRIFT[0], DRIFT[1]) / grid.degrees
        drift = ndimage.gaussian_filter1d(drift, 4.0 / grid.degrees)
        self._shift = np.exp(-1j * wave * drift[:, None])
        self._storm, self._slow = self._simulate(dt.date(first.year, 1, 1), last)

    def _simulate(self, new_year: dt.date, last: dt.date) -> tuple[Array, Array]:
        """Stream function and slow part at each midnight from first to the one after last."""
        begin = new_year - dt.timedelta(LEAD_IN)
        days = (last - self._first).days + 2
        keep = (self._first - begin).days
        keep_storm, keep_slow = np.exp(-1 / STORM_MEMORY), np.exp(-1 / SLOW_MEMORY)
        storms = np.empty((days, *self._shape), dtype=np.float32)
        slows = np.empty_like(storms)
        storm, slow = self._noise(begin)
        for n in range(keep + days):
            if n >= keep:
                storms[n - keep] = np.fft.irfft(storm, n=self._shape[1], axis=1)
                slows[n - keep] = np.fft.irfft(slow, n=self._shape[1], axis=1)
            new_storm, new_slow = self._noise(begin + dt.timedelta(n + 1))
            storm = keep_storm * storm * self._shift + np.sqrt(1 - keep_storm**2) * new_storm
            slow = keep_slow * slow + np.sqrt(1 - keep_slow**2) * new_slow
        return storms, slows

    def _noise(self, day: dt.date) -> NDArray[np.complex128]:
        """Two smooth fields of unit variance, as spectra in longitude, shape (2, ny, nx//2+1)."""
        rng = np.random.default_rng([self._seed, day.toordinal()])
        white = rng.standard_normal((2, *self._shape))
        # einsum, because a threaded matrix product may round differently from machine to machine
        smooth = np.einsum("jk,fki->fji", self._kernel_y, white)
        return np.fft.rfft(smooth, axis=2) * self._kernel_x

    def at(self, day: dt.date, seconds: float) -> tuple[Array, Array, Array]:
        """Zonal and meridional stress shape and slow temperature shape, each (ny, nx), rms near 1.

        The stress shapes are the rotated gradient of the stream function.
        """
        n, part = (day - self._first).days, seconds / 86400.0
        storm = (1 - part) * self._storm[n] + part * self._storm[n + 1]
        slow = (1 - part) * self._slow[n] + part * self._slow[n + 1]
        east = np.roll(storm, -1, axis=1) - np.roll(storm, 1, axis=1)
        meridional = 0.5 * east * self._size_x * 1.41
        zonal = -np.gradient(storm, axis=0) * self._size * 1.41
        return zonal, meridional, slow


class Atmosphere:
    """Stress and air temperature at any instant from `first` to `last`.

    Attributes:
        lon: Longitudes of cell centres, shape (nx,), degrees.
        lat: Latitudes of the rows, shape (rows,), degrees: the ocean's and those to the poles.
        ocean_rows: The rows that are the ocean's.
    """

    def __init__(self, grid: TwinGrid, seed: int, first: dt.date, last: dt.date) -> None:
        self._weather = Weather(grid, seed, first, last)
        south = int(np.ceil((grid.lat[0] + 90) / grid.degrees)) + 1
        north = int(np.ceil((90 - grid.lat[-1]) / grid.degrees)) + 1
        self._pad = ((south, north), (0, 0))
        rows = np.arange(-south, len(grid.lat) + north)
        self.lon = grid.lon
        self.lat = grid.lat[0] + rows * grid.degrees
        self.degrees = grid.degrees
        self.ocean_rows = slice(south, south + len(grid.lat))

    def at(self, day: dt.date, seconds: float) -> Surface:
        """The atmosphere at `seconds` after 00:00 of `day`.

        The weather of the outermost ocean row is continued to the pole.
        """
        yday = year_day(day, seconds)
        phase = season(yday)
        y = self.lat[:, None]
        zonal, meridional, slow = (
            np.pad(field, self._pad, mode="edge") for field in self._weather.at(day, seconds)
        )
        winter = 1 + 0.25 * np.sign(y) * phase
        storms = (0.012 + 0.075 * np.exp(-(((np.abs(y) - 48.0) / 15.0) ** 2))) * winter
        swing = (0.5 + 2.5 * np.exp(-(((np.abs(y) - 45.0) / 18.0) ** 2))) * winter
        air = air_temperature(self.lon, self.lat, yday)
        air = air + swing * (0.7 * np.sign(y) * meridional + 0.6 * slow)
        return Surface(
            taux=mean_zonal_stress(self.lat, phase)[:, None] + storms * zonal,
            tauy=storms * meridional,
            air=np.maximum(air, -2.5),
        )

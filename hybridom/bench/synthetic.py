"""Raw files of the real size and form with invented contents, for measurements."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Sequence
from pathlib import Path

import netCDF4
import numpy as np
from numpy.typing import NDArray

# scale_factor and add_offset of GLORYS12V1
PACKING = {
    "thetao": (7.32444226741791e-4, 21.0, "degrees_C"),
    "so": (1.52592547237873e-3, -1.52592547237873e-3, "1e-3"),
    "uo": (6.10370188951492e-4, 0.0, "m s-1"),
    "vo": (6.10370188951492e-4, 0.0, "m s-1"),
    "zos": (3.05185094475746e-4, 0.0, "m"),
}
# Mean, large-scale amplitude and eddy amplitude; the eddies' size sets how well a file compresses.
SHAPES = {
    "thetao": (12.0, 12.0, 0.8),
    "so": (35.0, 1.5, 0.1),
    "uo": (0.0, 0.3, 0.15),
    "vo": (0.0, 0.2, 0.15),
    "zos": (0.0, 0.8, 0.1),
}
FILL = -32767
CHUNK = (1, 7, 341, 720)
LAND = 0.35
NOISE = 3.0  # quanta: what packing leaves of the smallest scales; files shrink to 30 %
MODES = 24


def nodes(step: float) -> tuple[NDArray, NDArray]:
    """Node latitudes -80...90 and longitudes -180...180 - step of a product."""
    return -80 + step * np.arange(round(170 / step) + 1), -180 + step * np.arange(round(360 / step))


def waves(
    lat: NDArray, lon: NDArray, rng: np.random.Generator, shortest: float
) -> NDArray[np.float32]:
    """A random field (nlat, nlon) of unit variance with waves down to `shortest` degrees."""
    y, x = np.radians(lat), np.radians(lon)
    field = np.zeros((lat.size, lon.size), np.float32)
    for _ in range(MODES):
        k, m = rng.integers(1, round(360 / shortest), 2)
        along_y = np.asarray(np.sin(m * y + rng.uniform(0, 2 * np.pi)), np.float32)
        field += along_y[:, None] * np.asarray(
            np.cos(k * x + rng.uniform(0, 2 * np.pi)), np.float32
        )
    return field / np.float32(np.sqrt(MODES / 4))


def write_ocean_day(
    path: Path, day: dt.date, depths: Sequence[float], step: float, seed: int = 0
) -> None:
    """Write one daily file packed, chunked and compressed as GLORYS12V1's are.

    Args:
        path: NetCDF file.
        day: Its day.
        depths: Levels, m.
        step: Grid step, degrees; 1/12 is the real one.
        seed: Of the fields.
    """
    lat, lon = nodes(step)
    rng = np.random.default_rng(seed)
    coast = waves(lat, lon, rng, 40.0) + np.float32(0.3) * waves(lat, lon, rng, 4.0)
    shore = float(np.quantile(coast, 1 - LAND))
    noise = np.asarray(rng.normal(0, NOISE, coast.shape), np.float32)
    with netCDF4.Dataset(path, "w") as file:
        axes: dict[str, Sequence[float] | NDArray] = {
            "time": [0.0],
            "depth": depths,
            "latitude": lat,
            "longitude": lon,
        }
        for name, values in axes.items():
            file.createDimension(name, len(values))
            kind = "f8" if name == "time" else "f4"
            file.createVariable(name, kind, (name,))[:] = np.asarray(values)
        file["time"].units = "hours since 1950-01-01"
        for name, (scale, offset, units) in PACKING.items():
            deep = name != "zos"
            dims = ("time", *(("depth",) if deep else ()), "latitude", "longitude")
            chunk = [min(c, s) for c, s in zip(CHUNK, (1, len(depths), *coast.shape), strict=True)]
            variable = file.createVariable(
                name,
                "i2",
                dims,
                compression="zlib",
                complevel=1,
                shuffle=True,
                chunksizes=chunk if deep else [chunk[0], *chunk[2:]],
                fill_value=FILL,
            )
            variable.setncatts({"scale_factor": scale, "add_offset": offset, "units": units})
            variable.set_auto_maskandscale(False)
            mean, large, eddy = map(np.float32, SHAPES[name])
            wide, fine = waves(lat, lon, rng, 60.0), waves(lat, lon, rng, 1.5)
            for level in range(len(depths) if deep else 1):
                decay = np.float32(np.exp(-level / 12))
                values = np.float32(mean) + decay * np.float32(large / 3) * wide
                values += decay * np.float32(eddy / 3) * fine
                raw = (values - np.float32(offset)) / np.float32(scale)
                raw += np.roll(noise, 37 * level, axis=1)
                land = coast > shore - 0.02 * level
                packed = np.where(land, FILL, np.clip(np.round(raw), -32000, 32000))
                variable[(0, level) if deep else 0] = packed.astype(np.int16)
    set_day(path, day)


def set_day(path: Path, day: dt.date) -> None:
    """Stamp a daily file with another day."""
    with netCDF4.Dataset(path, "a") as file:
        file["time"][:] = (day - dt.date(1950, 1, 1)).days * 24 + 12


def write_ocean(
    folder: Path, first: dt.date, days: int, depths: Sequence[float], step: float
) -> None:
    """Write consecutive daily files; all but their dates are alike.

    Args:
        folder: Where to; made if absent.
        first: First day.
        days: Number of files.
        depths: Levels, m.
        step: Grid step, degrees.
    """
    folder.mkdir(parents=True, exist_ok=True)
    made: Path | None = None
    for number in range(days):
        day = first + dt.timedelta(number)
        path = folder / f"mercatorglorys12v1_gl12_mean_{day:%Y%m%d}_R{day:%Y%m%d}.nc"
        if made is None:
            write_ocean_day(path, day, depths, step)
            made = path
        else:
            shutil.copyfile(made, path)
            set_day(path, day)

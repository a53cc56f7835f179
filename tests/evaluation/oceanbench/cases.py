"""Small forecasts in OceanBench's form, the same under every Python: NumPy and xarray alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

STANDARD = {
    "thetao": ("sea_water_potential_temperature", "degrees_C"),
    "so": ("sea_water_salinity", "1e-3"),
    "uo": ("eastward_sea_water_velocity", "m s-1"),
    "vo": ("northward_sea_water_velocity", "m s-1"),
    "zos": ("sea_surface_height_above_geoid", "m"),
}
# The six scoring depths, others between them, and two below the 600 m of the mixed layer.
DEPTH = (0.494025, 9.572997, 47.37369, 92.32607, 155.8507, 222.4752, 318.1274, 541.0889, 643.5668)
MASK_DEPTH = (0.494025, 47.37369, 92.32607, 222.47520, 318.12741, 541.08893, 643.56677)
STARTS = ("2024-01-03", "2024-01-10", "2024-01-17")
LEADS = 4

# Axes of the challenger: around the globe, and a box in single precision as many products have it.
GRIDS = {
    "globe": (np.arange(-78.0, 79.0, 4.0), np.arange(-180.0, 180.0, 4.0)),
    "box": (
        np.arange(30.0, 38.0, 0.25).astype(np.float32),
        np.arange(-20.0, -9.0, 0.25).astype(np.float32),
    ),
}


def forecasts(grid: str) -> tuple[xr.Dataset, xr.Dataset, xr.DataArray]:
    """Challenger, reference and ocean mask of a case."""
    lat, lon = GRIDS[grid]
    # NumPy's legacy generator, whose numbers are the same in all versions.
    random = np.random.RandomState(7)
    land = _smooth(random, lat, lon, 1)[0] > 1.2
    truth = _fields(random, lat, lon, land)
    other = _fields(random, lat, lon, land)
    challenger = {name: truth[name] + 0.3 * (other[name] - truth[name]) for name in truth}
    # Ocean that the challenger lacks, and ocean that the reference lacks.
    gaps = random.uniform(size=(2, *land.shape)) > np.array([0.98, 0.99])[:, None, None]
    for fields, gap in ((challenger, gaps[0]), (truth, gaps[1])):
        for field in fields.values():
            field[..., gap] = np.nan
    far = (np.asarray(lat, np.float64), np.asarray(lon, np.float64))
    return (
        dataset(challenger, lat, lon),
        dataset(truth, far[0] + 3e-6, far[1] - 3e-6),
        _mask(random, *far, land),
    )


def dataset(fields: dict[str, np.ndarray], lat: np.ndarray, lon: np.ndarray) -> xr.Dataset:
    """Fields on `first_day_datetime`, `lead_day_index` and the grid."""
    variables = {}
    for name, values in fields.items():
        depth = ("depth",) if name != "zos" else ()
        dims = ("first_day_datetime", "lead_day_index", *depth, "latitude", "longitude")
        standard, units = STANDARD[name]
        attributes = {"standard_name": standard, "units": units}
        variables[name] = (dims, values.astype(np.float32), attributes)
    coords = {
        "first_day_datetime": np.array(STARTS, "datetime64[ns]"),
        "lead_day_index": np.arange(LEADS),
        "depth": ("depth", np.array(DEPTH), {"standard_name": "depth", "units": "m"}),
        "latitude": ("latitude", lat, {"standard_name": "latitude", "units": "degrees_north"}),
        "longitude": ("longitude", lon, {"standard_name": "longitude", "units": "degrees_east"}),
    }
    return xr.Dataset(variables, coords=coords)


def _smooth(random: np.random.RandomState, lat: np.ndarray, lon: np.ndarray, n: int) -> np.ndarray:
    """n fields of a few waves around the circle (n, ny, nx), each of variance about one."""
    y, x = np.deg2rad(lat.astype(float))[:, None], np.deg2rad(lon.astype(float))
    stretch = 1 if np.ptp(lon) > 300 else 20
    found = np.zeros((n, lat.size, lon.size))
    for wave in range(1, 6):
        phase = random.uniform(0, 2 * np.pi, (2, n, 1, 1))
        size = random.normal(0, 1, (n, 1, 1))
        found += size * np.sin(wave * stretch * x + phase[0]) * np.cos(3 * stretch * y + phase[1])
    return found


def _fields(
    random: np.random.RandomState, lat: np.ndarray, lon: np.ndarray, land: np.ndarray
) -> dict[str, np.ndarray]:
    """One set of fields, NaN on land, which grows with depth."""
    depth = np.array(DEPTH)
    shape = (len(STARTS), LEADS, depth.size, lat.size, lon.size)

    def waves(levels: int) -> np.ndarray:
        count = len(STARTS) * LEADS * levels
        field = _smooth(random, lat, lon, count).reshape((*shape[:2], levels, *shape[3:]))
        return field + random.normal(0, 0.2, field.shape)

    below = depth[:, None, None]
    fields = {
        "thetao": 20.0 * np.exp(-below / 300.0) + waves(depth.size) * 0.2,
        "so": 35.0 + below / 1000.0 + 0.02 * waves(depth.size),
        "uo": 0.6 * waves(depth.size),
        "vo": 0.6 * waves(depth.size),
        "zos": 0.3 * waves(1)[:, :, 0],
    }
    bottom = np.where(_smooth(random, lat, lon, 1)[0] > 1.0, 100.0, 10_000.0)
    dry = land | (below > bottom)
    for name, field in fields.items():
        field[..., dry if name != "zos" else dry[0]] = np.nan
    return fields


def _mask(
    random: np.random.RandomState, lat: np.ndarray, lon: np.ndarray, land: np.ndarray
) -> xr.DataArray:
    """An ocean mask twice as fine, of which a tenth more is land."""
    fine_lat = np.sort(np.concatenate([lat, lat[:-1] + np.diff(lat) * 0.4]))
    fine_lon = np.sort(np.concatenate([lon, lon[:-1] + np.diff(lon) * 0.4]))
    ocean = random.uniform(size=(len(MASK_DEPTH), fine_lat.size, fine_lon.size)) > 0.1
    ocean[:, ::2, ::2] &= ~land
    coords = {"depth": np.array(MASK_DEPTH), "latitude": fine_lat, "longitude": fine_lon}
    return xr.DataArray(ocean, coords=coords, dims=tuple(coords), name="ocean_mask")


def write(data: xr.Dataset, folder: Path) -> None:
    """Write one Zarr v2 store a start, with `time` for the leads, as official ones are."""
    folder.mkdir(parents=True)
    for number, start in enumerate(STARTS):
        days = np.datetime64(start, "ns") + np.arange(LEADS) * np.timedelta64(1, "D")
        one = data.isel(first_day_datetime=number, drop=True).rename(lead_day_index="time")
        one = one.assign_coords(time=("time", days, {"standard_name": "time"}))
        one = one.assign_coords(forecast_reference_time=days[0] - np.timedelta64(1, "D"))
        path = folder / f"{start.replace('-', '')}.zarr"
        chunks = {
            name: {"chunks": (1,) * (one[name].ndim - 2) + one[name].shape[-2:]}
            for name in one.data_vars
        }
        one.to_zarr(path, zarr_format=2, consolidated=True, encoding=chunks)


def observations(grid: str) -> dict[str, xr.Dataset]:
    """Daily observations (YYYYMMDD) of a case along `obs`, as OceanBench's stores hold them."""
    random = np.random.RandomState(11)
    lat, lon = (axis.astype(float) for axis in GRIDS[grid])
    east = 180.0 if grid == "globe" else lon[-1] + 0.2
    depths = np.array([-0.5, 0.0, 0.494025, 0.9, 3.0, 30.0, 92.32607, 150.0, 400.0, 590.0, 650.0])
    days = {}
    for start in STARTS:
        for lead in range(LEADS):
            day = np.datetime64(start) + np.timedelta64(lead, "D")
            profiles, tracks, drifters = 400, 60, 60
            parts = [
                (profiles, random.choice(depths, profiles), ("thetao", "so")),
                (tracks, np.zeros(tracks), ("zos",)),
            ]
            parts += [
                (drifters, np.full(drifters, z), ("uo", "vo")) for z in (9.0, 9.0, 22.0, 15.0)
            ]
            where = random.uniform(size=(2, drifters))  # one place for all depths of a drifter
            columns: dict[str, list[np.ndarray]] = {"depth": [], "latitude": [], "longitude": []}
            values: dict[str, list[np.ndarray]] = {name: [] for name in STANDARD}
            times = []
            for number, depth, measured in parts:
                place = where if "uo" in measured else random.uniform(size=(2, number))
                kept = random.uniform(size=number) > 0.3
                columns["depth"].append(depth[kept])
                columns["latitude"].append((lat[0] + place[0] * np.ptp(lat))[kept])
                columns["longitude"].append((lon[0] + place[1] * (east - lon[0]))[kept])
                hour = np.full(number, 6) if "uo" in measured else random.randint(0, 24, number)
                times.append((day + hour * np.timedelta64(1, "h")).astype("datetime64[ns]")[kept])
                for name, found in values.items():
                    noise = random.normal(0, 1, number)[kept]
                    mean = {"thetao": 15.0, "so": 35.0}.get(name, 0.0)
                    found.append(mean + noise if name in measured else np.full(kept.sum(), np.nan))
            data = {STANDARD[name][0]: ("obs", np.concatenate(x)) for name, x in values.items()}
            data |= {name: ("obs", np.concatenate(x)) for name, x in columns.items()}
            data["time"] = ("obs", np.concatenate(times))
            days[str(day).replace("-", "")] = xr.Dataset(data)
    return days


def topography(grid: str) -> xr.DataArray:
    """A mean dynamic topography, one row shorter than the grid."""
    lat, lon = (axis.astype(float) for axis in GRIDS[grid])
    height = 0.2 * np.sin(np.deg2rad(3 * lat))[:, None] + 0.001 * lon
    return xr.DataArray(
        height[1:],
        coords={"latitude": lat[1:] + 2e-6, "longitude": lon},
        dims=("latitude", "longitude"),
        name="mdt",
        attrs={"standard_name": STANDARD["zos"][0], "units": "m"},
    )


def fine_mask(grid: str) -> xr.DataArray:
    """An ocean mask at 1/12 degree: blocks of 2 degrees, of which a fifth is land."""
    random = np.random.RandomState(13)
    lat, lon = (axis.astype(float) for axis in GRIDS[grid])
    shape = 12 * int(np.ptp(lat) + 2), 4320 if grid == "globe" else 12 * int(np.ptp(lon) + 2)
    blocks = random.uniform(size=(len(MASK_DEPTH), shape[0] // 24 + 1, shape[1] // 24 + 1)) > 0.2
    ocean = blocks.repeat(24, axis=1).repeat(24, axis=2)[:, : shape[0], : shape[1]]
    coords = {
        "depth": np.array(MASK_DEPTH),
        "latitude": np.floor(lat[0]) - 1 + np.arange(shape[0]) / 12,
        "longitude": np.floor(lon[0]) + np.arange(shape[1]) / 12,
    }
    return xr.DataArray(ocean, coords=coords, dims=tuple(coords), name="ocean_mask")

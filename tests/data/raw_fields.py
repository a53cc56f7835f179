"""The contents of small raw files for tests: axes, packing, units, and fields of each day.

Fields are smooth functions of place and day plus seeded noise.
"""

from __future__ import annotations

import datetime as dt

import numpy as np

STEP = 10.0  # degrees, of both products
LAT = np.arange(-80.0, 90.1, STEP)  # 90 N is a node, as in GLORYS12V1
LON = np.arange(-180.0, 180.0, STEP)
FORCING_LAT = np.arange(-90.0, 90.1, STEP)
DEPTHS = np.array([0.494025, 9.572997, 55.76429, 155.8507, 453.9377])
USED_DEPTHS = (9.572997, 155.8507, 453.9377)

# scale_factor and add_offset of GLORYS12V1
PACKING = {
    "thetao": (7.32444226741791e-4, 21.0),
    "so": (1.52592547237873e-3, -1.52592547237873e-3),
    "uo": (6.10370188951492e-4, 0.0),
    "vo": (6.10370188951492e-4, 0.0),
    "zos": (3.05185094475746e-4, 0.0),
}
ICE_PACKING = {
    "siconc": (3.81481368094683e-5, -3.81481368094683e-5),
    "sithick": (7.62962736189365e-4, -7.62962736189365e-4),
    "usi": (3.05185094475746e-5, 0.0),
    "vsi": (3.05185094475746e-5, 0.0),
}
UNITS = {
    "thetao": "degrees_C",
    "so": "1e-3",
    "uo": "m s-1",
    "vo": "m s-1",
    "zos": "m",
    "u10": "m s-1",
    "v10": "m s-1",
    "t2m": "K",
    "msl": "Pa",
    "d2m": "K",
    "siconc": "1",
    "sithick": "m",
    "usi": "m s-1",
    "vsi": "m s-1",
    **dict.fromkeys(("ssr", "strd"), "J m**-2"),
    **dict.fromkeys(("msnlwrf", "msnswrf", "msshf", "mslhf"), "W m**-2"),
    **dict.fromkeys(("metss", "mntss"), "N m**-2"),
    **dict.fromkeys(("mer", "mtpr"), "kg m**-2 s**-1"),
}
# What the Climate Data Store has called the mean rates since 2024.
NEW_NAMES = {
    "msnlwrf": "avg_snlwrf",
    "msnswrf": "avg_snswrf",
    "msshf": "avg_ishf",
    "mslhf": "avg_slhtf",
    "metss": "avg_iews",
    "mntss": "avg_inss",
    "mer": "avg_ie",
    "mtpr": "avg_tprate",
}
FILL = -32767


def ocean_wet() -> np.ndarray:
    """(depth, lat, lon) True in the ocean: two continents, Antarctica, and a shelf."""
    wet = np.ones((DEPTHS.size, LAT.size, LON.size), bool)
    wet[:, :1, :] = False
    wet[:, 4:14, 8:11] = False
    wet[:, 9:, 22:27] = False
    wet[3:, 3:15, 11:13] = False
    wet[4:, 14:, :] = False
    return wet


def _season(day: dt.date) -> float:
    return float(np.cos(2 * np.pi * (day.timetuple().tm_yday - 15) / 365.25))


def _noise(day: dt.date, seed: int, shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng([seed, day.toordinal()]).normal(size=shape)


def ocean_fields(day: dt.date, seed: int = 0) -> dict[str, np.ndarray]:
    """One day's fields, (depth, lat, lon) or (lat, lon) float64, NaN on land."""
    wet = ocean_wet()
    z = DEPTHS[:, None, None]
    phi, lam = np.radians(LAT)[:, None], np.radians(LON)
    decay = np.exp(-z / 300.0)
    noise = _noise(day, seed, (5, *wet.shape))
    fields = {
        "thetao": 2
        + (20 * np.cos(phi) ** 2 - 3 * _season(day) * np.sin(phi)) * decay
        + 0.3 * noise[0],
        "so": 35 + np.sin(phi) * np.cos(lam) * decay + 0.1 * noise[1],
        "uo": 0.3 * np.cos(3 * phi) * decay + 0.02 * np.sin(lam) + 0.05 * noise[2],
        "vo": 0.1 * np.sin(2 * lam) * np.cos(phi) * decay + 0.05 * noise[3],
        "zos": (0.5 * np.cos(2 * phi) + 0.1 * np.sin(lam) + 0.05 * noise[4, 0])[None],
    }
    fields = {name: np.where(wet[: len(x)], x, np.nan) for name, x in fields.items()}
    return fields | {"zos": fields["zos"][0]}


def ice_fields(day: dt.date, seed: int = 0) -> dict[str, np.ndarray]:
    """One day's sea ice, (lat, lon) float64, 0 in open water and NaN on land."""
    phi = np.radians(LAT)[:, None]
    noise = _noise(day, seed + 200, (4, LAT.size, LON.size))
    cold = np.clip((np.abs(phi) - np.radians(55)) / np.radians(30), 0, 1)
    ice = cold * np.clip(0.8 + 0.1 * noise[0], 0.2, 1) * ocean_wet()[0]
    fields = {
        "siconc": ice,
        "sithick": 2 * ice,
        "usi": np.where(ice > 0, 0.1 * np.clip(noise[1], -2, 2), 0),
        "vsi": np.where(ice > 0, 0.1 * np.clip(noise[2], -2, 2), 0),
    }
    return {name: np.where(ocean_wet()[0], x, np.nan) for name, x in fields.items()}


def forcing_fields(day: dt.date, hour: int = 12, seed: int = 0) -> dict[str, np.ndarray]:
    """One sample of the atmosphere, (lat, lon) float64, south to north and west to east."""
    phi, lam = np.radians(FORCING_LAT)[:, None], np.radians(LON)
    noise = _noise(day, seed + 100, (4, FORCING_LAT.size, LON.size))
    daily = np.cos(2 * np.pi * hour / 24 + lam)
    return {
        "u10": 8 * np.sin(3 * phi) + 2 * noise[0] + 0 * lam,
        "v10": 2 * np.sin(lam) * np.cos(phi) + 2 * noise[1],
        "t2m": 250 + 45 * np.cos(phi) ** 2 - 6 * _season(day) * np.sin(phi) + daily + noise[2],
        "msl": 1.0e5 + 1500 * np.cos(4 * phi) + 300 * noise[3] + 0 * lam,
    }


def flux_fields(day: dt.date, hour: int = 12, seed: int = 0) -> dict[str, np.ndarray]:
    """Dew point and fluxes as their samples are labelled, (lat, lon) float64.

    `ssr` and `strd` are sums over the hour in J m-2, the other fluxes means over it.
    """
    phi, lam = np.radians(FORCING_LAT)[:, None], np.radians(LON)
    noise = np.random.default_rng([seed + 300, day.toordinal(), hour]).normal(
        size=(8, FORCING_LAT.size, LON.size)
    )
    sun = np.maximum(0, np.cos(phi) * -np.cos(2 * np.pi * hour / 24 + lam))
    return {
        "d2m": 247 + 43 * np.cos(phi) ** 2 + noise[0] + 0 * lam,
        "ssr": 3600 * 700 * sun,
        "strd": 3600 * (250 + 100 * np.cos(phi) ** 2 + 5 * noise[1] + 0 * lam),
        "msnlwrf": -60 + 10 * noise[2],
        "msnswrf": 700 * sun,
        "msshf": -20 + 10 * noise[3],
        "mslhf": -90 + 20 * noise[4],
        "metss": 0.1 * np.cos(3 * phi) + 0.02 * noise[5],
        "mntss": 0.05 * np.sin(lam) + 0.02 * noise[6],
        "mer": -3e-5 + 1e-5 * noise[4],
        "mtpr": 3e-5 * np.abs(noise[7]),
    }

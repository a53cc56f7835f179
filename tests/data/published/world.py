"""A tiny world of stores and published files: two whole years, one of them a leap year."""

from __future__ import annotations

import datetime as dt
import json
from types import SimpleNamespace

import numpy as np

from hybridom.config import Config
from hybridom.grid import Grid, write_grid
from hybridom.layout import Layout
from hybridom.variables import FORCING_SETS, ICE, PROGNOSTIC, VARIABLES

DEPTHS = (0.494025, 55.76429, 155.8507, 453.9377)
NZ, NY, NX = 4, 7, 18  # the file's 9 rows run from pole to pole
YEARS = (2000, 2001)
FIRST = {year: dt.date(year, 1, 1) for year in YEARS}
DAYS = {2000: 366, 2001: 365}
PERIODS = {
    "train": {"start": "2000-01-01", "end": "2000-12-31"},
    "validation": {"start": "2001-01-01", "end": "2001-06-30"},
    "test": {"start": "2001-07-01", "end": "2001-12-31"},
}

ONE_YEAR = {
    "train": {"start": "2001-01-01", "end": "2001-03-31"},
    "validation": {"start": "2001-04-01", "end": "2001-06-30"},
    "test": {"start": "2001-07-01", "end": "2001-12-31"},
}

RANGES = {"thetao": (-1, 25), "so": (30, 37), "zos": (-1, 1), "uo": (-1, 1), "vo": (-1, 1)}


def make_config(root, **sections):
    """A 20-degree grid from 70S to 70N, two whole years, one of them a leap year."""
    data = {
        "experiment": "tiny",
        "paths": {"resources": str(root / "resources"), "results": str(root / "results")},
        "source": {"kind": "files", "ocean_dir": "none", "forcing_dir": "none", "sea_ice": True},
        "grid": {"name": "g20", "resolution": 20.0, "lat": (-70.0, 70.0), "depths": DEPTHS},
        "periods": PERIODS,
        "forcing": "bulk8",
        "training": {"curriculum": [{"days": 1, "steps": 1}]},
        "forecast": {"days": 2, "first": "2001-08-01", "last": "2001-08-01"},
    }
    return Config.model_validate(data | sections)


def wet_cells():
    """(depth, lat, lon): two continents, a shelf."""
    wet = np.ones((NZ, NY, NX), bool)
    wet[:, 1:5, 3:5] = False
    wet[:, 0, :] = False
    wet[2:, :, 12:14] = False
    return wet


def field(name, entries, generator):
    """(entries, [depth,] lat, lon) float32 inside the plausible range of the variable."""
    variable = VARIABLES[name]
    shape = (entries, *((NZ,) if variable.has_depth else ()), NY, NX)
    middle = 0.5 * (variable.valid_min + variable.valid_max)
    reach = 0.1 * (variable.valid_max - variable.valid_min)
    low, high = RANGES.get(name, (middle - reach, middle + reach))
    values = generator.uniform(low, high, shape)
    if variable.role != "forcing":
        sea = wet_cells() if variable.has_depth else wet_cells()[0]
        values = np.where(sea, values, np.nan)
    return values.astype(np.float32)


def write_store(path, manifest, names, axis, values, grid, seed):
    """A store as `hybridom prepare` leaves it, and the parts of its manifest that count."""
    generator = np.random.default_rng(seed)
    dataset = grid.to_dataset().assign_coords({axis: (axis, np.asarray(values, np.int32))})
    for name in names:
        cell = ("depth", "latitude", "longitude")[0 if VARIABLES[name].has_depth else 1 :]
        dataset[name] = ((axis, *cell), field(name, len(values), generator))
    encoding = {name: {"chunks": (122, *dataset[name].shape[1:])} for name in names}
    dataset.to_zarr(path, zarr_format=3, consolidated=False, encoding=encoding)
    content = {"grid_hash": grid.hash, "checksum": f"sha256:{seed}"}
    manifest.write_text(json.dumps(content))


def make_stores(config):
    """Grid, stores of both years, and a climatology of unsmoothed noise."""
    layout = Layout(config)
    g = config.grid
    grid = Grid.regular(g.resolution, g.lat, g.lon, g.depths)
    write_grid(layout.grid_file, grid, wet_cells(), wet_cells().astype(float), {})
    forcing = FORCING_SETS[config.forcing]
    for year in YEARS:
        first = (FIRST[year] - dt.date(1970, 1, 1)).days
        numbers = range(first, first + DAYS[year])
        for store, manifest, names, seed in (
            (layout.state_store, layout.state_manifest, (*PROGNOSTIC, *ICE), 1),
            (layout.forcing_store, layout.forcing_manifest, forcing, 2),
        ):
            store(year).parent.mkdir(parents=True, exist_ok=True)
            write_store(store(year), manifest(year), names, "time", numbers, grid, seed * year)
    rows = range(1, 366)
    path, manifest = layout.climatology_store, layout.climatology_manifest
    write_store(path, manifest, PROGNOSTIC, "dayofyear", rows, grid, 3)
    return SimpleNamespace(config=config, layout=layout, grid=grid, wet=wet_cells())


def published_config(root, exported, forcing="surface3", **sections):
    """A configuration that reads the exported files."""
    source = {
        "kind": "published",
        "ocean_dir": str(exported),
        "forcing_dir": str(exported),
        "climatology": str(exported / "climate_mean_s_t_ssh.npy"),
        "mask": str(exported / "mask_20.npy"),
        "sea_ice": True,
    }
    skeleton = {"wind_stress": forcing == "surface3"}
    return make_config(root, source=source, forcing=forcing, skeleton=skeleton, **sections)


def entry_of(config, year, kind):
    """The entry that `prepare` leaves in the manifest."""
    layout = Layout(config)
    manifest = layout.state_manifest(year) if kind == "state" else layout.forcing_manifest(year)
    return json.loads(manifest.read_text())["published"]

"""A tiny ocean whose days follow a linear law, in the stores that training and forecasts read.

Anomalies decay and are pushed by the forcing: x' = DECAY x + PUSH * forcing anomaly, so that a
network with the right inputs can learn the next day.
"""

from __future__ import annotations

import datetime as dt
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from hybridom.config import Config, load
from hybridom.data.stores import write_json
from hybridom.grid import Grid, write_grid
from hybridom.layout import Layout
from hybridom.variables import FORCING_SETS, PROGNOSTIC, VARIABLES, cf_attributes

DECAY, PUSH = 0.7, 0.5
TOTAL = 10  # optimiser steps of the configuration below
FIRST, DAYS = dt.date(2001, 1, 1), 80
FORCING = FORCING_SETS["surface3"]
MEAN = {"thetao": 15.0, "so": 35.0, "uo": 0.0, "vo": 0.0, "zos": 0.0}
MEAN |= {"u10": 0.0, "v10": 0.0, "t2m": 285.0}
SPREAD = {"thetao": 0.5, "so": 0.1, "uo": 0.02, "vo": 0.02, "zos": 0.05}
SPREAD |= {"u10": 5.0, "v10": 5.0, "t2m": 3.0}

CONFIG = """
experiment: tiny
paths: {{raw: {root}/raw, resources: {root}/resources, results: {root}/results}}
source: {{kind: files, ocean_dir: {root}/raw, forcing_dir: {root}/raw}}
grid: {{name: tiny, resolution: 20, lat: [-60, 60], depths: [10, 50, 200]}}
periods:
  train: {{start: 2001-01-01, end: 2001-02-09}}
  validation: {{start: 2001-02-10, end: 2001-02-24}}
  test: {{start: 2001-02-25, end: 2001-03-21}}
climatology: {{harmonics: 0}}
skeleton: {{substeps: 2}}
networks:
  ilap: &network
    {{embed: 8, latent: 16, spatial_layers: 2, blocks: 2, heads: 2, window: 4, mlp_ratio: 2,
      drop_path: 0.2}}
  state: *network
training:
  batch: 2
  curriculum:
    - {{days: 1, steps: 6}}
    - {{days: 2, steps: 4}}
  learning_rate: 1e-3
  warmup_steps: 2
  ema: 0.9
  weight_decay: 0.01
  cache: memory
  validation: {{every: 5, leads: [1, 2], starts: 2}}
  checkpoint: {{minutes: 1e-9, keep: 100}}
forecast: {{days: 8, first: 2001-02-25, last: 2001-03-01, every: 2}}
"""


@dataclass(frozen=True)
class World:
    """Files of the tiny ocean and how to configure it."""

    root: Path
    grid: Grid
    wet: np.ndarray

    @property
    def file(self) -> Path:
        """The configuration file."""
        return self.root / "config.yaml"

    def config(self, *overrides: str, experiment: str = "tiny") -> tuple[Config, Layout]:
        """Configuration with overrides, under its own experiment, and its paths."""
        config = load(self.file, [f"experiment={experiment}", *overrides])
        return config, Layout(config)


def make_world(root: Path, seed: int = 1) -> World:
    """Write grid, stores, climatology, statistics and configuration under `root`."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "config.yaml").write_text(CONFIG.format(root=root))
    grid = Grid.regular(20.0, (-60.0, 60.0), (-180.0, 180.0), (10.0, 50.0, 200.0))
    wet = np.ones(grid.shape, dtype=bool)
    wet[:, 2:4, 3:6] = False
    wet[2, :, 10:12] = False
    world = World(root, grid, wet)
    _, layout = world.config()
    write_stores(world, layout, linear_ocean(grid, seed))
    return world


def write_stores(world: World, layout: Layout, anomalies: dict[str, np.ndarray]) -> None:
    """Write grid, stores, climatology and statistics of an ocean with these anomalies."""
    wet = world.wet
    write_grid(layout.grid_file, world.grid, wet, wet.astype(np.float64), {})
    fields = {name: MEAN[name] + SPREAD[name] * x for name, x in anomalies.items()}
    days = np.datetime64(FIRST, "D") + np.arange(DAYS)
    year = FIRST.year
    ocean = {name: fields[name] for name in PROGNOSTIC}
    write(layout.state_store(year), layout.state_manifest(year), world, "time", days, ocean)
    air = {name: fields[name] for name in FORCING}
    write(layout.forcing_store(year), layout.forcing_manifest(year), world, "time", days, air)
    mean = {n: np.full((365, *x.shape[1:]), MEAN[n], np.float32) for n, x in fields.items()}
    store, manifest = layout.climatology_store, layout.climatology_manifest
    write(store, manifest, world, "dayofyear", np.arange(1, 366), mean)
    write_statistics(layout.statistics_file, fields, wet)


def linear_ocean(grid: Grid, seed: int) -> dict[str, np.ndarray]:
    """Anomalies in standard deviations, (days, [nz,] ny, nx); variables listen to one forcing."""
    rng = np.random.default_rng(seed)
    flat = (DAYS, grid.ny, grid.nx)
    found = {name: rng.standard_normal(flat).astype(np.float32) for name in FORCING}
    for number, name in enumerate(PROGNOSTIC):
        shape = grid.shape if VARIABLES[name].has_depth else grid.shape[1:]
        push = found[FORCING[number % len(FORCING)]]
        days = [rng.standard_normal(shape).astype(np.float32)]
        for day in range(DAYS - 1):
            days.append(DECAY * days[-1] + PUSH * push[day])
        found[name] = np.stack(days)
    return found


def write(
    store: Path,
    manifest: Path,
    world: World,
    axis: str,
    values: np.ndarray,
    fields: dict[str, np.ndarray],
) -> None:
    """Write a store of daily fields, land as NaN for ocean variables, with its manifest."""
    ds = world.grid.to_dataset().assign_coords({axis: values})
    for name, x in fields.items():
        centres = ("latitude", "longitude")
        wet = world.wet
        if name in PROGNOSTIC:
            x = np.where(wet if VARIABLES[name].has_depth else wet[0], x, np.nan)
        dims = (axis, *(("depth", *centres) if VARIABLES[name].has_depth else centres))
        ds[name] = (dims, x.astype(np.float32), cf_attributes(name))
        ds[name].encoding["chunks"] = (1, *x.shape[1:]) if axis == "time" else x.shape
    if axis == "time":
        ds["time"].encoding = {"units": "days since 1970-01-01", "dtype": "int32"}
    ds.to_zarr(store, zarr_format=3, consolidated=False)
    write_json(manifest, {"checksum": f"of {store.name}", "grid_hash": world.grid.hash})


def write_statistics(path: Path, fields: dict[str, np.ndarray], wet: np.ndarray) -> None:
    """Write the true scales of the linear law."""
    ds = xr.Dataset()
    for name in fields:
        deep = VARIABLES[name].has_depth
        tendency = SPREAD[name] * np.std(np.diff(fields[name], axis=0)) / np.std(fields[name])
        kinds = {"mean": MEAN[name], "std": SPREAD[name]}
        kinds |= {"anomaly_std": SPREAD[name], "tendency_std": tendency}
        for kind, value in kinds.items():
            ds[f"{name}_{kind}"] = ("depth", np.full(len(wet), value)) if deep else value
    ds.to_netcdf(path)


def losses(file: Path) -> list[tuple[str, ...]]:
    """Each row of a metrics file as text, without what depends on the clock."""
    rows = [line.split(",") for line in file.read_text().splitlines()]
    clock = ("samples_per_second", "data_wait")
    kept = [i for i, name in enumerate(rows[0]) if name not in clock]
    return [tuple(row[i] for i in kept) for row in rows[1:]]


def contents(path: Path) -> dict[str, Any]:
    """Contents of a checkpoint."""
    found: dict[str, Any] = torch.load(path, weights_only=True)
    return found


def assert_same_run(a: Layout, b: Layout) -> None:
    """Same losses, published weights, averages and optimiser, bit for bit."""
    assert losses(a.train_log) == losses(b.train_log)
    for name in ("checkpoint.pt", f"checkpoints/step_{TOTAL:09d}.pt"):
        x, y = contents(a.train_dir / name), contents(b.train_dir / name)
        for part in {"model", "average", "optimiser", "loss", "progress"} & set(x):
            torch.testing.assert_close(x[part], y[part], rtol=0.0, atol=0.0)


def assert_close_runs(a: Layout, b: Layout, tolerance: float) -> None:
    """Same losses, scores and published weights to a tolerance."""
    for x, y in zip(losses(a.train_log), losses(b.train_log), strict=True):
        for p, q in zip(x, y, strict=True):
            # a bias is the difference of numbers that are nearly the same
            assert (p, q) == ("", "") or math.isclose(
                float(p), float(q), rel_tol=tolerance, abs_tol=1e-3 * tolerance
            )
    x, y = contents(a.checkpoint)["model"], contents(b.checkpoint)["model"]
    torch.testing.assert_close(x, y, rtol=0.0, atol=tolerance)


def manifest_of(path: Path) -> dict[str, object]:
    """Contents of a JSON file."""
    return json.loads(path.read_text())

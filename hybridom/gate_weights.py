"""Weights that the gate of a region gave to its own and its driver's fluxes along a forecast.

They are made again from the stored states of the forecast, one day each: the weights of a lead are
those of the day that ends there. Nothing is rolled out.
"""

from __future__ import annotations

import datetime as dt
import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from hybridom import __version__
from hybridom.checkpoint import LoadedModel, load_model
from hybridom.config import Config, Period, StageConfig, narrow
from hybridom.data.datasets import DayReader
from hybridom.data.prepare import model_grid
from hybridom.data.stores import open_store
from hybridom.errors import UserError
from hybridom.files import write_netcdf
from hybridom.forecast import ForecastSlabs, outer_forecast
from hybridom.gate import SOURCES, TRACERS
from hybridom.layout import Layout

DIMENSIONS = ("lead", "source", "tracer", "direction", "level", "latitude", "longitude")

log = logging.getLogger(__name__)


def write_gate_weights(config: Config | StageConfig, layout: Layout, start: dt.date) -> None:
    """Write `layout.gate_weights(start)`, the weights at the leads `evaluation.gate_leads`.

    NetCDF with `weight` (lead, source, tracer, direction, level, latitude, longitude), float32, NaN
    on land: sources are the region's own flux and the driver's of the day before the lead and of
    the lead, directions and levels are one where they share weights. Over sources they sum to one.

    Args:
        config: The whole configuration, or the part of the stage `gate`.
        layout: Its paths.
        start: Start date of a forecast that is there.

    Raises:
        UserError: There is no driver; an input is missing or does not fit; the forecast is that of
            another checkpoint; no lead lies within it.
    """
    config = narrow(config, "gate")
    leads = _leads(config)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    loaded = load_model(layout.checkpoint, device)
    grid, wet = model_grid(config, layout)
    loaded.require_grid(grid, wet, layout.grid_file)
    store = layout.forecast_store(start)
    _require_own(store, loaded, start)
    driver = outer_forecast(config, layout, grid, wet, start)
    if driver is None:
        raise UserError("region: there is no driver, so no gate; add section region")
    period = Period(start=start, end=start + dt.timedelta(leads[-1]))
    reader = DayReader(layout, grid, wet, loaded.model.forcing_names, "none", period)
    slabs = ForecastSlabs(loaded, reader, start, store, device, driver)
    found = []
    for lead in leads:
        days = slabs.conditions(lead - 1), slabs.conditions(lead)
        weights = loaded.model.gate_weights(slabs.stored(lead - 1), *days)
        found.append(weights[0].cpu().numpy())
    path = layout.gate_weights(start)
    _write(path, np.stack(found), leads, loaded, start)
    log.info("%s: written, leads %s", path, ", ".join(map(str, leads)))


def _leads(config: StageConfig) -> list[int]:
    """Leads that the forecast has."""
    wanted, days = config.evaluation.gate_leads, config.forecast.days
    found = sorted({lead for lead in wanted if lead <= days})
    if not found:
        raise UserError(
            f"evaluation.gate_leads: {', '.join(map(str, wanted))} all lie beyond forecast.days "
            f"{days}; name a lead within the forecast"
        )
    return found


def _require_own(store: Path, loaded: LoadedModel, start: dt.date) -> None:
    """Refuse a forecast that other weights made."""
    with open_store(store) as data:
        found = data.attrs.get("checkpoint_sha256")
    if found != loaded.digest:
        raise UserError(
            f"{store}: made by checkpoint {str(found)[:12]}, expected {loaded.digest[:12]} of "
            f"{loaded.path}: run `hybridom forecast --start {start}` again"
        )


def _write(
    path: Path, weights: NDArray[Any], leads: list[int], loaded: LoadedModel, start: dt.date
) -> None:
    """Write the file, which appears complete or not at all.

    Args:
        path: NetCDF file.
        weights: `DIMENSIONS`, anything on land.
        leads: Days.
        loaded: The model.
        start: Start date.
    """
    grid, directions, levels = loaded.grid, weights.shape[3], weights.shape[4]
    sea = loaded.wet if levels == grid.nz else loaded.wet[:1]
    axes = grid.to_dataset()
    kept = [name for name in axes.variables if not str(name).startswith("depth")]
    data = axes[kept].drop_vars("depth", errors="ignore")
    data["weight"] = (
        DIMENSIONS,
        np.where(sea, weights, np.nan).astype(np.float32),
        {
            "long_name": "weight of a tracer flux in the gated flux of the region",
            "units": "1",
            "cell_methods": "area: mean where sea",
        },
    )
    names = ["x", "y"] if directions == 2 else ["shared"]
    data = data.assign_coords(
        lead=(
            "lead",
            np.array(leads, np.int32),
            {"standard_name": "forecast_period", "units": "days"},
        ),
        source=("source", list(SOURCES), {"long_name": "whose flux, and of which day"}),
        tracer=("tracer", list(TRACERS), {"long_name": "tracer that is carried"}),
        direction=("direction", names, {"long_name": "direction of the flux"}),
    )
    if levels == grid.nz:
        data = data.assign_coords(depth=("level", grid.depth, axes["depth"].attrs))
        del data["depth"].attrs["bounds"]
    data.attrs |= {
        "title": f"Weights of the gate along the HybridOM forecast from {start}",
        "source": loaded.path.name,
        "checkpoint_sha256": loaded.digest,
        "hybridom_version": __version__,
    }
    write_netcdf(path, data)

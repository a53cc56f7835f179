"""Forecast: a checkpoint, an analysis and the forcing that follows become a Zarr store.

The store has one chunk for each lead, lead 0 being the analysis itself. It is written under a
temporary name and resumed at the first missing lead: the model runs in float32, the precision of
the store, and takes land out of every state, so a day read back goes on bit for bit. Leads are
written while the next ones are computed.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
import xarray as xr

from hybridom import __version__
from hybridom.checkpoint import LoadedModel, load_model
from hybridom.conditions import Conditions
from hybridom.config import Config, Period, StageConfig, config_hash, narrow
from hybridom.data.datasets import DayReader
from hybridom.data.days import TIME_UNITS, day_number
from hybridom.data.driver import Driver, DriverForecast
from hybridom.data.prepare import model_grid
from hybridom.data.stores import Slab, StorePlan, open_arrays, write_store
from hybridom.errors import UserError
from hybridom.grid import Grid, Mask
from hybridom.layout import Layout
from hybridom.state import Forcing, OceanState
from hybridom.variables import PROGNOSTIC, VARIABLES, cf_attributes

log = logging.getLogger(__name__)


def forecast(
    config: Config | StageConfig, layout: Layout, start: dt.date, checkpoint: Path | None = None
) -> None:
    """Forecast from the analysis of `start` with analysed forcing; goes on where it was stopped.

    Writes `layout.forecast_store(start)`: variables (lead, [depth,] latitude, longitude), cell
    centres, float32, NaN on land; and its manifest.

    Args:
        config: The whole configuration, or the part of the stage `forecast`.
        layout: Its paths.
        start: Day of the analysis.
        checkpoint: The model, `.pt` or `.safetensors`; None: that of the experiment.

    Raises:
        UserError: An input is missing or does not fit; a field of the forecast is not finite.
    """
    config = narrow(config, "forecast")
    days = config.forecast.days
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    loaded = load_model(checkpoint or layout.checkpoint, device)
    grid, wet = model_grid(config, layout)
    loaded.require_grid(grid, wet, layout.grid_file)
    names = loaded.model.forcing_names
    if names != tuple(config.forcing_names):
        raise UserError(
            f"{loaded.path}: trained with forcing {', '.join(names)}, but the configuration gives "
            f"{', '.join(config.forcing_names)} (key forcing); train again or change the key"
        )
    if loaded.config.get("region") and config.region is None:
        raise UserError(
            f"{loaded.path}: trained as a region with a driver, but the configuration has no "
            "section region; add it"
        )
    driver = outer_forecast(config, layout, grid, wet, start)
    period = Period(start=start, end=start + dt.timedelta(days))
    reader = DayReader(layout, grid, wet, names, "none", period)
    # A day that is missing at the end is better found before the first step than after the last.
    reader.forcing(period.end)
    plan = _plan(config, layout, loaded, start, driver)
    rollout = ForecastSlabs(loaded, reader, start, plan.partial, device, driver)
    write_store(plan, rollout, f"forecast {start}")


def outer_forecast(
    config: StageConfig, layout: Layout, grid: Grid, wet: Mask, start: dt.date
) -> DriverForecast | None:
    """The forecast of the same start date that drives a region; None: nothing drives.

    Raises:
        UserError: It is missing or too short, or the region does not fit into its driver.
    """
    if config.region is None:
        return None
    found = Driver(layout, grid, wet).forecast(start)
    found.require_days(config.forecast.days, "forecast.days")
    return found


class ForecastSlabs:
    """The leads of one forecast, from the analysis or from a lead that is stored already.

    Args:
        loaded: The model.
        reader: Analyses, forcing and climatologies by day.
        start: Day of lead 0.
        partial: The unfinished store, from which an interrupted forecast goes on.
        device: Where the model is.
        driver: What drives a region; None: nothing does.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        reader: DayReader,
        start: dt.date,
        partial: Path,
        device: torch.device,
        driver: DriverForecast | None = None,
    ) -> None:
        self.loaded, self.reader, self.start = loaded, reader, start
        self.partial, self.device, self.driver = partial, device, driver
        self.states: Iterator[OceanState] | None = None
        self.reached: int | None = None

    def __call__(self, leads: Sequence[int]) -> Iterator[Slab]:
        """Yield the fields of leads in ascending order; a lead between them must be stored."""
        for lead in leads:
            yield self.slab(lead)

    def slab(self, lead: int) -> Slab:
        """Fields of a lead, NaN on land.

        Raises:
            UserError: A field is not finite.
        """
        if lead == 0:
            state = self._analysis()
            forcing = Forcing(self._tensors(self.reader.forcing(self.start)))
            self.loaded.model.check_start(state, forcing)
        else:
            if self.states is None or self.reached != lead - 1:
                self.states = self._states_after(lead - 1)
            with torch.no_grad():
                state = next(self.states)
        self.reached = lead
        return {name: self._field(name, x, lead) for name, x in state.items()}

    def _states_after(self, lead: int) -> Iterator[OceanState]:
        first = self._analysis() if lead == 0 else self.stored(lead)
        return self.loaded.model.unroll(first, self._conditions_from(lead))

    def _conditions_from(self, lead: int) -> Iterator[Conditions]:
        """Conditions of the day of `lead` and of all that follow, one day in memory at a time."""
        while True:
            yield self.conditions(lead)
            lead += 1

    def conditions(self, lead: int) -> Conditions:
        """What the model is given of the day of a lead."""
        day = self.start + dt.timedelta(lead)
        outer = None
        if self.driver is not None:
            outer = OceanState(**self._tensors(self.driver.state(lead)))
        return Conditions(
            Forcing(self._tensors(self.reader.forcing(day))),
            OceanState(**self._tensors(self.reader.climatology(day))),
            Forcing(self._tensors(self.reader.forcing_climatology(day))),
            outer,
        )

    def _analysis(self) -> OceanState:
        return OceanState(**self._tensors(self.reader.state(self.start)))

    def stored(self, lead: int) -> OceanState:
        """The ocean of a lead that is stored already, NaN on land."""
        store = open_arrays(self.partial, PROGNOSTIC)
        return OceanState(
            **self._tensors({name: np.asarray(store[name][lead]) for name in PROGNOSTIC})
        )

    def _tensors(self, fields: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
        """Fields with a batch axis of one, on the device."""
        return {name: torch.as_tensor(x)[None].to(self.device) for name, x in fields.items()}

    def _field(self, name: str, values: torch.Tensor, lead: int) -> np.ndarray:
        wet = self.loaded.wet if VARIABLES[name].has_depth else self.loaded.wet[0]
        field = values[0].cpu().numpy()
        bad = wet & ~np.isfinite(field)
        if bad.any():
            raise UserError(
                f"forecast {self.start}: {name} is not finite at lead {lead} "
                f"({self.start + dt.timedelta(lead)}) in {int(bad.sum())} of {int(wet.sum())} wet "
                f"cells; train {self.loaded.path} for longer rollouts or more steps"
            )
        return np.where(wet, field, np.float32(np.nan))


def _plan(
    config: StageConfig,
    layout: Layout,
    loaded: LoadedModel,
    start: dt.date,
    driver: DriverForecast | None,
) -> StorePlan:
    """Layout, attributes and origin of the store of one start date."""
    grid, days = loaded.grid, config.forecast.days
    # Other start dates do not touch this store, so they are no part of its hash.
    used = {"grid": config.grid, "forcing": config.forcing, "days": days}
    driven = ""
    if driver is not None:
        named = config.region.driver
        used["driver"] = {"experiment": named.experiment, "grid": named.grid}
        driven = f", driven by the forecast of {named.experiment} on {named.grid}"
    period = [start + dt.timedelta(n) for n in range(days + 1)]
    origin = {
        "config_hash": config_hash(StageConfig("forecast", used)),
        "grid_hash": grid.hash,
        "checkpoint_sha256": loaded.digest,
        "inputs_hash": _inputs_hash(layout, period, driver),
    }
    attributes = {
        "title": f"HybridOM forecast from {start}",
        "source": f"{loaded.path.name}, analysis and analysed forcing of the stores "
        f"{period[0]} to {period[-1]}{driven}",
        "hybridom_version": __version__,
        "hybridom_version_training": loaded.version,
        **origin,
    }
    centres = ("latitude", "longitude")
    variables = {
        name: (
            ("lead", *(("depth", *centres) if VARIABLES[name].has_depth else centres)),
            cf_attributes(name) | {"cell_methods": "area: mean where sea"},
        )
        for name in PROGNOSTIC
    }
    return StorePlan(
        layout.forecast_store(start),
        layout.forecast_manifest(start),
        _coordinates(grid, period).assign_attrs(attributes),
        variables,
        origin,
    )


def _coordinates(grid: Grid, period: list[dt.date]) -> xr.Dataset:
    numbers = np.array([day_number(day) for day in period], np.int32)
    calendar = {"units": TIME_UNITS, "calendar": "standard"}
    leads = np.arange(len(period), dtype=np.int32)
    return grid.to_dataset().assign_coords(
        lead=("lead", leads, {"standard_name": "forecast_period", "units": "days"}),
        time=("lead", numbers, {"standard_name": "time", **calendar}),
        start_date=((), numbers[0], {"standard_name": "forecast_reference_time", **calendar}),
    )


def _inputs_hash(layout: Layout, period: list[dt.date], driver: DriverForecast | None) -> str:
    """Checksum over the manifests of the stores that a forecast reads."""
    manifests = [layout.climatology_manifest, layout.state_manifest(period[0].year)]
    manifests += [layout.forcing_manifest(year) for year in sorted({d.year for d in period})]
    found = hashlib.sha256()
    for path in manifests:
        if not path.exists():
            raise UserError(f"{path}: no manifest of a complete store; run `hybridom prepare`")
        found.update(json.loads(path.read_text())["checksum"].encode())
    if driver is not None:
        found.update(driver.checksum.encode())
    return found.hexdigest()

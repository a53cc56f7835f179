"""Writing the published files from finished stores.

Land and cells that the model grid leaves out are NaN in the yearly files, whose readers turn NaN
into zeros, and 0 in the climatology, whose readers do not. All days of a year are needed, because
the row of a day is its place in the year.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hybridom.data.climatology import read_climatology
from hybridom.data.days import DAYS_IN_YEAR
from hybridom.data.plans import AnyConfig
from hybridom.data.published.formats import lay_out_hdf5, lay_out_npy
from hybridom.data.published.inputs import Export, open_ice, open_year, training_extremes
from hybridom.data.published.layout import (
    ANOMALIES,
    CLIMATOLOGY_FILE,
    WINDS,
    climatology_channels,
    forcing_file,
    state_channels,
    state_file,
    stem,
)
from hybridom.data.published.reading import year_days
from hybridom.data.published.rows import RowFile, write_rows
from hybridom.data.stores import open_arrays
from hybridom.layout import Layout
from hybridom.variables import FLUXES8, PROGNOSTIC, VARIABLES

log = logging.getLogger(__name__)

Float32 = NDArray[np.float32]
Mask = NDArray[np.bool_]

NET_SHORT_WAVE = {"msnswrf": "ssr"}  # the same flux under the name that `bulk8` stores give it


def export_year(config: AnyConfig, layout: Layout, year: int, output: Path) -> None:
    """Write the files of a year: the state with winds, the fluxes, or both.

    Which of them follows the forcing set: `surface3` and `surface4` hold the winds that a state
    file needs, `fluxes8` the fluxes of a forcing file, `bulk8` all.

    Args:
        config: With the sections of stage `climatology`.
        layout: Paths of the stores.
        year: Year.
        output: Folder of the published files; made if absent.

    Raises:
        UserError: A store is missing, lacks a day, a variable or a value.
    """
    export = Export.open(config, layout, output)
    if set(WINDS) <= set(config.forcing_names):
        _export_state(export, year)
    else:
        log.info("year %d: forcing %s holds no winds, no state file", year, config.forcing)
    if fluxes := _fluxes(config):
        _export_fluxes(export, year, fluxes)


def find_extremes(config: AnyConfig, layout: Layout, output: Path) -> None:
    """Find the extremes that normalise the fluxes, where the forcing set has them.

    `export_year` would do so itself; jobs for several years wait for one that does it first.

    Raises:
        UserError: As `training_extremes`.
    """
    if fluxes := _fluxes(config):
        training_extremes(Export.open(config, layout, output), fluxes)


def _fluxes(config: AnyConfig) -> list[str]:
    """Names in the stores of what `FLUXES8` lists; none where the forcing set lacks one."""
    held = config.forcing_names
    names = [name if name in held else NET_SHORT_WAVE.get(name, name) for name in FLUXES8]
    return names if set(names) <= set(held) else []


def _export_state(export: Export, year: int) -> None:
    layout, days, depth = export.layout, year_days(year), export.grid.depth
    origin = export.origin(
        [layout.state_manifest(year), layout.forcing_manifest(year), layout.climatology_manifest]
    )
    state, forcing = layout.state_store(year), layout.forcing_store(year)
    arrays = open_year(state, PROGNOSTIC, days) | open_year(forcing, WINDS, days)
    arrays |= open_ice(state)
    climatology = open_arrays(layout.climatology_store, ANOMALIES)
    table = state_channels(export.grid.nz)
    shape = (len(days), table[WINDS[-1]].stop, *export.frame.shape)

    def row(index: int) -> Float32:
        out = np.full(shape[1:], np.nan, np.float32)
        for name, channels in table.items():
            path = forcing if name in WINDS else state
            values = export.checked(arrays[name][index], name, path, str(days[index]))
            if name in ANOMALIES:
                values = values - read_climatology(climatology[name], days[index : index + 1])[0]
            export.frame.place(out[channels], values)
        return out

    labels = _labels(table, depth)
    title = f"daily ocean state of {year}; zos, thetao, so are anomalies from the climatology"
    attributes = {"title": title, **_hashes(origin)}
    lay_out = functools.partial(
        lay_out_hdf5,
        channels=labels,
        axes=(days, export.frame, depth),
        attributes=attributes,
        of_data={},
    )
    path = state_file(export.output, *export.names(), year)
    write_rows(RowFile(path, shape, lay_out, origin, {"days": len(days)}), row, path.name)


def _export_fluxes(export: Export, year: int, fluxes: Sequence[str]) -> None:
    layout, days = export.layout, year_days(year)
    store = layout.forcing_store(year)
    arrays = open_year(store, fluxes, days)
    path = forcing_file(export.output, *export.names(), year)
    low, high = training_extremes(export, fluxes)
    origin = export.origin([layout.forcing_manifest(year)])
    origin |= {"minimum": low.tolist(), "maximum": high.tolist()}
    shape = (len(days), len(fluxes), *export.frame.shape)

    def row(index: int) -> Float32:
        out = np.full(shape[1:], np.nan, np.float32)
        for channel, name in enumerate(fluxes):
            values = export.checked(arrays[name][index], name, store, str(days[index]))
            span = high[channel] - low[channel]
            export.frame.place(out[channel], (values.astype(np.float64) - low[channel]) / span)
        return out

    of_data = {
        "minimum": low,
        "maximum": high,
        "physical_units": [VARIABLES[name].units for name in fluxes],
        "comment": "value = minimum + data * (maximum - minimum), extremes of the training period",
    }
    lay_out = functools.partial(
        lay_out_hdf5,
        channels=[(name, "1") for name in FLUXES8],
        axes=(days, export.frame, np.empty(0)),
        attributes={"title": f"daily surface fluxes of {year}, normalised", **_hashes(origin)},
        of_data=of_data,
    )
    write_rows(RowFile(path, shape, lay_out, origin, {"days": len(days)}), row, path.name)


def export_climatology(config: AnyConfig, layout: Layout, output: Path) -> None:
    """Write climate_mean_s_t_ssh.npy: (365, 4 nz + 1, rows + 1, columns) float32.

    North to south, after a first row of zeros that readers drop. Channels so, uo, vo, thetao, zos;
    zero on land.

    Raises:
        UserError: The climatology is missing, or lacks a value.
    """
    export = Export.open(config, layout, output)
    store = layout.climatology_store
    arrays = open_arrays(store, PROGNOSTIC)
    table = climatology_channels(export.grid.nz)
    rows, columns = export.frame.shape
    shape = (DAYS_IN_YEAR, table["zos"].stop, rows + 1, columns)

    def row(index: int) -> Float32:
        out = np.zeros(shape[1:], np.float32)
        northward = out[:, 1:][:, ::-1]
        for name, channels in table.items():
            held = np.asarray(arrays[name][index])
            values = export.checked(held, name, store, f"row {index + 1}")
            sea = export.wet if VARIABLES[name].has_depth else export.wet[0]
            export.frame.place(northward[channels], np.where(sea, values, np.float32(0.0)))
        return out

    origin = export.origin([layout.climatology_manifest])
    path = output / CLIMATOLOGY_FILE
    channels = [name for name, _ in _labels(table, export.grid.depth)]
    lay_out = functools.partial(lay_out_npy, shape=shape)
    write_rows(RowFile(path, shape, lay_out, origin, {"channels": channels}), row, path.name)


def export_mask(config: AnyConfig, layout: Layout, output: Path) -> None:
    """Write mask_05.npy and mask_05_ori.npy: (nz, rows, columns) float32, 1 in the ocean.

    The release reads two; how they differ is not documented, so that both hold the wet mask.

    Raises:
        UserError: grid.nc is missing.
    """
    export = Export.open(config, layout, output)
    mask = np.zeros((export.grid.nz, *export.frame.shape), np.float32)
    export.frame.place(mask, export.wet)
    output.mkdir(parents=True, exist_ok=True)
    for ending in ("", "_ori"):
        path = output / f"mask_{stem(*export.names())}{ending}.npy"
        temporary = path.with_name(path.name + ".partial")
        with open(temporary, "wb") as file:
            np.save(file, mask)
        os.replace(temporary, path)
        log.info("%s: written", path)


def _labels(table: Mapping[str, slice], depths: NDArray[np.float64]) -> list[tuple[str, str]]:
    """Name and unit of each channel, such as thetao_55.76 and degrees_C."""
    return [
        (f"{name}_{z:.4g}" if VARIABLES[name].has_depth else name, VARIABLES[name].units)
        for name in table
        for z in (depths if VARIABLES[name].has_depth else (0.0,))
    ]


def _hashes(origin: Mapping[str, Any]) -> dict[str, str]:
    return {key: origin[key] for key in ("config_hash", "grid_hash")}

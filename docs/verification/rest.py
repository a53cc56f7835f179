"""A resting stratified ocean over real coasts and a stepped bottom, for 40 days."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cartopy.crs as ccrs
import common
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from torch import Tensor

from hybridom.config import SkeletonConfig
from hybridom.constants import RHO_0
from hybridom.figures import style
from hybridom.figures.basemap import draw_field, projection
from hybridom.grid import Grid
from hybridom.physics.eos import density_anomaly
from hybridom.physics.pressure import hydrostatic_pressure
from hybridom.physics.skeleton import Skeleton
from hybridom.physics.vorticity import geostrophic_velocity
from hybridom.state import Forcing, OceanState
from hybridom.twin.geography import TwinGrid, levels, wet_cells

DEGREES = 4.0
DAYS = 40
PATCH = (-150.0, 30.0)
EPSILON = float(np.finfo(np.float64).eps)
WARMEST = 24.0  # degC at the surface at rest
# Vertical mixing would wear down any stratification; currents this slow need few substeps.
STILL = SkeletonConfig(vertical_diffusivity=0.0, substeps=2)
OTHER = STILL.model_copy(update={"advection": "tvd", "scheme": "rk3", "sea_surface": "continuity"})
STARTS = {
    "at rest": common.BLUE,
    "round-off of temperature": common.GREEN,
    "0.1 K warmer patch": common.ORANGE,
}
QUANTITIES = {"thetao": "Temperature (K)", "vorticity": "Vorticity (s⁻¹)"}


def ocean() -> tuple[Grid, np.ndarray]:
    """Grid and wet cells of the embedded ocean: a real coastline, a bottom in steps."""
    twin = TwinGrid.of(DEGREES)
    lat = (twin.lat[0] - DEGREES / 2, twin.lat[-1] + DEGREES / 2)
    lon = (twin.lon[0] - DEGREES / 2, twin.lon[-1] + DEGREES / 2)
    grid = Grid.regular(DEGREES, lat, lon, twin.depth)
    return grid, wet_cells(levels(twin), grid.nz)


def at_rest(core: Skeleton) -> OceanState:
    """Temperature and salinity that depend on depth alone, level and still (1, ...)."""
    column = torch.zeros((1, *core.grid.shape), dtype=torch.float64)
    depth = core.geometry.depth
    thetao = column + 2.0 + (WARMEST - 2.0) * torch.exp(-depth / 700)
    return OceanState(thetao, column + 36.0 - torch.tanh(depth / 900), column, column, column[:, 0])


def three_starts(core: Skeleton) -> OceanState:
    """Rest; rest with a last digit of noise in temperature; rest with a warmer patch at the top.

    The currents are those that pressure drives: none where it is level. The sea stands as much
    higher as its water is lighter, so that pressure at the bottom is that of rest.
    """
    rest, g = at_rest(core), core.geometry
    noise = np.random.default_rng(0).uniform(-1, 1, core.grid.shape)
    lon, lat = np.meshgrid(core.grid.lon, core.grid.lat)
    patch = 0.1 * np.exp(-(((lon - PATCH[0]) / 25) ** 2) - ((lat - PATCH[1]) / 12) ** 2)
    fading = np.exp(-core.grid.depth / 300)[:, None, None]
    changes = np.stack([0 * noise, EPSILON * WARMEST * noise, fading * patch])
    thetao, so = rest.thetao + torch.tensor(changes), rest.so.expand(3, -1, -1, -1)
    rho = density_anomaly(thetao, so, g.depth)
    lighter = g.clean(density_anomaly(rest.thetao, rest.so, g.depth) - rho)
    zos = (lighter * g.dz).sum(-3) / RHO_0
    pressure = hydrostatic_pressure(rho, zos, g)
    uo, vo = geostrophic_velocity(pressure, g, core.config.f_min)
    return OceanState(thetao, so, g.clean(uo), g.clean(vo), zos)


def run(core: Skeleton, start: OceanState) -> tuple[dict[str, np.ndarray], Tensor]:
    """Day after day with the currents of the first day, as an untrained model keeps them.

    Returns:
        Largest absolute change since the first day of each field, and largest vorticity,
        name -> (DAYS + 1, members); last change of temperature (members, nz, ny, nx).
    """
    calm = Forcing({name: torch.zeros_like(start.zos) for name in ("u10", "v10")})
    state, vorticity = start, common.state_vorticity(start, core)
    history = [_largest(core, state - start, vorticity)]
    for _ in range(DAYS):
        after = core(state, calm, calm)
        state = replace(state, thetao=after.thetao, so=after.so, zos=after.zos)
        history.append(_largest(core, state - start, after.vorticity))
    change = core.geometry.clean(state.thetao - start.thetao)
    return {name: np.array([day[name] for day in history]) for name in history[0]}, change


def _largest(core: Skeleton, change: OceanState, vorticity: Tensor) -> dict[str, np.ndarray]:
    """Largest absolute value in each member's ocean."""
    sea = {True: core.geometry.wet, False: core.surface.wet.squeeze(0)}
    fields = {name: getattr(change, name) for name in ("thetao", "so", "zos")}
    return {
        name: torch.where(sea[name != "zos"], x, 0.0).abs().flatten(1).amax(1).numpy()
        for name, x in (fields | {"vorticity": vorticity}).items()
    }


def draw_history(axes: Axes, history: np.ndarray, unit: float) -> None:
    """Largest values against time; exact zeros lie on the lower edge."""
    floor = 1e-3 * unit
    for (name, colour), values in zip(STARTS.items(), history.T, strict=True):
        label = f"{name}: exactly 0" if not values.any() else name
        axes.semilogy(np.maximum(values, floor), color=colour, label=label, clip_on=False)
    axes.axhline(unit, color=common.GREY, linestyle=":", linewidth=1.0, label="one round-off")
    axes.set(xlabel="Day", xlim=(0, DAYS), ylim=(floor, None))


def draw(core: Skeleton, history: dict[str, np.ndarray], change: Tensor) -> Figure:
    """Bottom, response to the patch, and histories."""
    figure = Figure(figsize=(style.PAGE_WIDTH, 4.9))
    view = projection(core.grid)
    letters = style.letters()
    wet = core.geometry.wet.numpy()
    depth = np.where(wet[0], (wet * core.grid.dz[:, None, None]).sum(0), np.nan)
    patch = np.where(wet[0], change[2, 0].numpy(), np.nan)
    peak = np.nanquantile(np.abs(patch), 0.995)  # a few coastal cells change more
    for column, (name, field, colours, norm, label) in enumerate(
        (
            ("Bottom, in steps", depth, "Blues", Normalize(0, 4000), "m"),
            (
                f"Surface temperature by day {DAYS}, patch",
                patch,
                style.DIFFERENCE,
                Normalize(-peak, peak),
                "K",
            ),
        )
    ):
        axes = figure.add_subplot(2, 2, column + 1, projection=view)
        draw_field(axes, core.grid, field, colours, norm)
        figure.colorbar(ScalarMappable(norm, colours), ax=axes, shrink=0.75, label=label)
        style.heading(axes, next(letters), name)
        if column:
            axes.plot(*PATCH, "+", color="black", transform=ccrs.PlateCarree())
    scales = {"thetao": EPSILON * WARMEST, "vorticity": EPSILON * core.geometry.f_t.abs().max()}
    for column, (name, label) in enumerate(QUANTITIES.items()):
        axes = figure.add_subplot(2, 2, column + 3)
        draw_history(axes, history[name], float(scales[name]))
        style.heading(axes, next(letters), f"{label}: largest change")
        if not column:
            axes.legend(loc="center right")
    return figure


def main(arguments: Sequence[str] | None = None) -> dict[str, float]:
    """Integrate, draw and report."""
    out = common.output_folder(__doc__, arguments)
    grid, wet = ocean()
    core = Skeleton(grid, wet, STILL, torch.float64)
    starts = three_starts(core)
    history, change = run(core, starts)
    other = Skeleton(grid, wet, OTHER, torch.float64)
    more, _ = run(other, at_rest(other))
    numbers = {
        "days": DAYS,
        "wet_cells": int(wet.sum()),
        "steps_of_the_bottom": len(np.unique(wet.sum(0))) - 1,
    }
    for name, values in history.items():
        numbers[f"rest_{name}"] = max(values[:, 0].max(), more[name].max())
    speeds = torch.maximum(starts.uo.abs(), starts.vo.abs()).flatten(1).amax(1)
    numbers["rest_speed"] = float(speeds[0])
    for member, name in ((1, "round_off"), (2, "patch")):
        numbers[f"{name}_speed"] = float(speeds[member])
        numbers[f"{name}_thetao"] = history["thetao"][:, member].max()
        numbers[f"{name}_vorticity"] = history["vorticity"][:, member].max()
    with style.context():
        common.save(draw(core, history, change), out / "rest.png")
    return common.report(numbers)


if __name__ == "__main__":
    main()

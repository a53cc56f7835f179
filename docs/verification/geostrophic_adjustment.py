"""Rossby's adjusted state from potential vorticity, and whether the skeleton keeps it."""

from __future__ import annotations

from collections.abc import Sequence

import common
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hybridom.config import SkeletonConfig
from hybridom.constants import EARTH_RADIUS, GRAVITY
from hybridom.figures import style
from hybridom.grid import Grid
from hybridom.physics.skeleton import Skeleton
from hybridom.state import Forcing, OceanState

CENTRE = 45.0
DEPTH = 1.0  # m: the equivalent depth of a first baroclinic mode
STEP = 0.01  # m, half the jump of the sea surface
CELLS = (2, 4, 8, 16)  # a deformation radius, in the convergence test
DEPTHS = (4.0, 1.0, 0.25)  # m; radii of 61, 30 and 15 km
DAYS = 30
CONFIG = SkeletonConfig(wind_stress=False, viscosity=False, sea_surface="continuity")
# All that changes the vorticity of a layer but stretching is off.
LINEAR = SkeletonConfig(
    geostrophic_advection=False,
    planetary=False,
    wind_stress=False,
    viscosity=False,
    sea_surface="continuity",
)


def radius(depth: float) -> float:
    """Deformation radius sqrt(g H) / f, m."""
    return float(np.sqrt(GRAVITY * depth)) / common.coriolis(CENTRE)


def north(grid: Grid) -> np.ndarray:
    """Distance of the rows from the front, m."""
    return EARTH_RADIUS * np.deg2rad(grid.lat - CENTRE)


def closed_form(y: np.ndarray, depth: float) -> tuple[np.ndarray, np.ndarray]:
    """Sea surface (m) and eastward current (m s-1) long after the step was let go.

    The sea stood STEP higher in the south.
    """
    decay = np.exp(-np.abs(y) / radius(depth))
    speed = GRAVITY * STEP / (common.coriolis(CENTRE) * radius(depth))
    return -np.sign(y) * STEP * (1 - decay), speed * decay


def belt(depth: float, cells: int) -> Grid:
    """Rows to 10 deformation radii on both sides of the front, `cells` a radius; few columns."""
    half = 10 * np.rad2deg(radius(depth) / EARTH_RADIUS)
    rows = half / (10 * cells)
    return common.layer(rows, (CENTRE - half, CENTRE + half), depth, (0.0, 4 * rows))


def adjusted(grid: Grid, before: np.ndarray) -> tuple[common.Inversion, np.ndarray]:
    """Stream function with the potential vorticity of a resting sea surface `before` (ny, nx)."""
    inversion = common.Inversion(grid, common.coriolis(CENTRE), "free")
    q = -grid.f_t[:, None] * before / inversion.depth
    return inversion, inversion.stream_function(q)


def straight(depth: float, cells: int) -> tuple[Grid, common.Inversion, np.ndarray]:
    """The adjusted state of a front along a latitude circle."""
    grid = belt(depth, cells)
    before = np.broadcast_to(-STEP * np.sign(north(grid))[:, None], grid.shape[1:])
    return grid, *adjusted(grid, before)


def error(depth: float, cells: int) -> float:
    """Largest difference from the closed form, as a part of STEP."""
    grid, inversion, psi = straight(depth, cells)
    eta = inversion.f_0 / GRAVITY * psi[:, 0]
    return float(np.abs(eta - closed_form(north(grid), depth)[0]).max() / STEP)


def flat_errors(errors: dict[float, list[float]]) -> np.ndarray:
    """Errors without what the curvature of the Earth adds, which is linear in the radius."""
    smaller, larger = np.array(errors[DEPTHS[2]]), np.array(errors[DEPTHS[1]])
    return 2 * smaller - larger


def energy_ratio(depth: float, cells: int) -> float:
    """Kinetic energy gained over potential energy released: 1/3 (Rossby 1938)."""
    grid, inversion, psi = straight(depth, cells)
    state = inversion.state(psi)
    weight = np.cos(np.deg2rad(grid.lat))
    kinetic = 0.5 * depth * (weight * state.uo[0, :, 0].numpy() ** 2).sum()
    released = 0.5 * GRAVITY * (weight * (STEP**2 - state.zos[:, 0].numpy() ** 2)).sum()
    return float(kinetic / released)


def kept_potential_vorticity() -> float:
    """Largest change of zeta - f eta / H in a day, over the largest change of its two parts.

    Random currents, with divergence, in one layer with an island in a closed box.
    """
    grid = Grid.regular(1.0, (20.0, 50.0), (-40.0, 0.0), (50.0,))
    wet = np.ones(grid.shape, bool)
    wet[:, 12:17, 18:24] = False
    core = Skeleton(grid, wet, LINEAR, torch.float64)
    noise = np.random.default_rng(0).normal(scale=0.05, size=(5, *grid.shape))
    thetao, so, u, v, zos = (torch.tensor(x) for x in noise)
    state = OceanState(thetao + 10, so + 35, u, v, zos[0])
    after = core(state, Forcing({}), Forcing({}))
    eta = core.surface.clean(zos)[0]
    zeta = common.state_vorticity(state, core)
    before = common.potential_vorticity(zeta, eta, core)
    change = common.potential_vorticity(after.vorticity, after.zos, core) - before
    return float(change.abs().max() / (after.vorticity - zeta).abs().max())


def hold(grid: Grid, inversion: common.Inversion, psi: np.ndarray) -> np.ndarray:
    """Sea surface (m) of every day, (DAYS + 1, ny, nx), from the state of `psi`."""
    core = Skeleton(grid, np.ones(grid.shape, bool), CONFIG, torch.float64)
    days = [psi]
    for _ in range(DAYS):
        days.append(common.next_day(days[-1], core, inversion))
    return inversion.f_0 / GRAVITY * np.stack(days)


def meander() -> tuple[Grid, common.Inversion, np.ndarray]:
    """The adjusted state of a front that winds by one deformation radius."""
    grid = common.layer(1 / 16, (CENTRE - 2.5, CENTRE + 2.5), DEPTH, (0.0, 5.0))
    line = radius(DEPTH) * np.sin(2 * np.pi * grid.lon / 5.0)
    before = -STEP * np.tanh((north(grid)[:, None] - line) / 5e3)
    return grid, *adjusted(grid, before)


def draw_profiles(axes: Axes, current: Axes) -> None:
    """Sea surface and current across the front."""
    grid, inversion, psi = straight(DEPTH, 4)
    state, y = inversion.state(psi), north(grid)
    fine = np.linspace(-200e3, 200e3, 801)
    exact = closed_form(fine, DEPTH)
    found = state.zos[:, 0].numpy(), state.uo[0, :, 0].numpy()
    axes.plot(
        fine / 1e3, -100 * STEP * np.sign(fine), color=common.GREY, linestyle=":", label="before"
    )
    for panel, one, other in zip((axes, current), found, exact, strict=True):
        panel.plot(fine / 1e3, 100 * other, color=common.BLUE, label="closed form")
        panel.plot(y / 1e3, 100 * one, "o", color=common.ORANGE, markersize=2.5, label="inverted")
        panel.set(xlabel="North of the front (km)", xlim=(-200, 200))
    axes.set_ylabel("Sea level (cm)")
    current.set_ylabel("Eastward current (cm s⁻¹)")
    axes.legend()


def draw_errors(axes: Axes, errors: dict[float, list[float]]) -> None:
    """Difference from the closed form against resolution."""
    for (depth, values), colour in zip(
        errors.items(), (common.BLUE, common.GREEN, common.PINK), strict=True
    ):
        label = f"radius {radius(depth) / 1e3:.0f} km"
        axes.loglog(CELLS, values, "o-", color=colour, label=label)
    flat = flat_errors(errors)
    axes.loglog(CELLS, flat, "k.-", linewidth=0.8, label="radius → 0")
    order = flat[-1] * (np.array(CELLS) / CELLS[-1]) ** -2.0
    axes.loglog(CELLS, order, ":", color=common.GREY, label="order 2")
    axes.set_xticks(CELLS, [str(n) for n in CELLS])
    axes.minorticks_off()
    axes.set(xlabel="Cells a deformation radius", ylabel="Largest error / step")
    axes.legend()


def draw_days(axes: Axes, drifts: dict[str, np.ndarray]) -> None:
    """Change of the sea surface against time."""
    floor = 1e-17
    for (name, drift), colour in zip(drifts.items(), (common.BLUE, common.ORANGE), strict=True):
        axes.semilogy(np.maximum(drift, floor), color=colour, label=name)
    axes.axhline(np.finfo(float).eps, color=common.GREY, linestyle=":", label="one round-off")
    axes.set(xlabel="Day", ylabel="Largest change / step", xlim=(0, DAYS), ylim=(floor, 10))
    axes.legend(loc="center right")


def draw(errors: dict[float, list[float]], drifts: dict[str, np.ndarray]) -> Figure:
    """All panels."""
    figure = Figure(figsize=(style.PAGE_WIDTH, 5.2))
    panels = figure.subplots(2, 2).ravel()
    titles = (
        "Adjusted sea level",
        "Adjusted current",
        "Difference from the closed form",
        "Sea level after adjustment, day by day",
    )
    for axes, letter, title in zip(panels, style.letters(), titles, strict=False):
        style.heading(axes, letter, title)
    draw_profiles(*panels[:2])
    draw_errors(panels[2], errors)
    draw_days(panels[3], drifts)
    return figure


def main(arguments: Sequence[str] | None = None) -> dict[str, float]:
    """Invert, integrate, draw and report."""
    out = common.output_folder(__doc__, arguments)
    errors = {depth: [error(depth, cells) for cells in CELLS] for depth in DEPTHS}
    runs = {"front along a latitude": straight(DEPTH, 4), "winding front": meander()}
    drifts = {}
    for name, (grid, inversion, psi) in runs.items():
        eta = hold(grid, inversion, psi)
        drifts[name] = np.abs(eta - eta[0]).max((1, 2)) / STEP
    steady, winding = drifts.values()
    numbers = {
        "pv_change_over_vorticity_change": kept_potential_vorticity(),
        "deformation_radius_km": radius(DEPTH) / 1e3,
        "energy_ratio": energy_ratio(DEPTH, 16),
        "days": DAYS,
        "steady_drift": steady.max(),
        "winding_drift": winding.max(),
    }
    for depth, values in errors.items():
        numbers[f"error_{radius(depth) / 1e3:.0f}_km_{CELLS[-1]}_cells"] = values[-1]
    flat = flat_errors(errors)
    numbers["error_flat"] = flat[-1]
    numbers |= {
        f"order_flat_{n}_cells": order
        for n, order in zip(CELLS[1:], np.log2(flat[:-1] / flat[1:]), strict=True)
    }
    with style.context():
        common.save(draw(errors, drifts), out / "geostrophic_adjustment.png")
    return common.report(numbers)


if __name__ == "__main__":
    main()

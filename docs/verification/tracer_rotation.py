"""A bell and a slotted cylinder on a disc that turns about an axis inclined to the pole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import common
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from hybridom.constants import EARTH_RADIUS
from hybridom.figures import style
from hybridom.grid import Grid
from hybridom.operators import Geometry
from hybridom.physics.advection import limited_fluxes, upwind_weights
from hybridom.physics.fluxes import FaceWeights, convergence, face_fluxes
from hybridom.physics.stability import transport_rate
from hybridom.physics.time_integration import Fields, integrate

AXIS = (0.0, 35.0)  # where the axis of rotation meets the surface (degrees east, north)
DISC = 27.0  # degrees: what lies farther from the axis does not move
BOX = {"lat": (6.0, 63.6), "lon": (-36.0, 36.0)}
PERIOD = 86400.0 * 12
RESOLUTIONS = (2.4, 1.2, 0.6)
SHAPES = ("bell", "cylinder")
SCHEMES = {"upwind": common.ORANGE, "tvd": common.BLUE}
# Part of its content that a cell may hand on in a step that makes no new extremum: all, or half.
NUMBER = {"upwind": 0.9, "tvd": 0.45}


@dataclass(frozen=True)
class Turn:
    """One revolution.

    Attributes:
        grid: The grid.
        area: Cell areas (ny, nx), m2.
        before, quarter, after: Tracers of `SHAPES` (2, ny, nx).
        lowest, highest: Extrema of every step (steps + 1, 2).
    """

    grid: Grid
    area: np.ndarray
    before: np.ndarray
    quarter: np.ndarray
    after: np.ndarray
    lowest: np.ndarray
    highest: np.ndarray


def cartesian(lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
    """Position on the unit sphere (..., 3) of points in degrees."""
    lon, lat = np.deg2rad(lon), np.deg2rad(lat)
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], -1)


def from_axis(lon: np.ndarray, lat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Degrees of arc eastward and northward of the axis, on the azimuthal equidistant map."""
    axis = cartesian(*np.array(AXIS))
    north = cartesian(np.array(AXIS[0]), np.array(AXIS[1] + 90.0))
    east = np.cross(north, axis)
    point = cartesian(lon, lat)
    distance = np.rad2deg(np.arccos(np.clip(point @ axis, -1, 1)))
    bearing = np.arctan2(point @ east, point @ north)
    return distance * np.sin(bearing), distance * np.cos(bearing)


def shapes(grid: Grid, turned: float = 0.0) -> np.ndarray:
    """A cosine bell north of the axis and a slotted cylinder, (2, ny, nx), after a turn in rad."""
    lon, lat = np.meshgrid(grid.lon, grid.lat)
    x, y = from_axis(lon, lat)
    # what is here now was there before: turn the place back
    cos, sin = np.cos(-turned), np.sin(-turned)
    x, y = cos * x - sin * y, sin * x + cos * y
    radius = np.hypot(x, y - 13.5)
    bell = np.where(radius < 13.0, 0.5 * (1 + np.cos(np.pi * radius / 13.0)), 0.0)
    slot = (np.abs(x) < 2.5) & (y < 16.5)
    cylinder = np.where((radius < 10.0) & ~slot, 1.0, 0.0)
    return np.stack([bell, cylinder])


def flow(grid: Grid, geometry: Geometry) -> FaceWeights:
    """Rigid rotation of the disc, anticlockwise, without divergence in any cell.

    The transport through a face is the difference of a stream function between its two ends.
    """
    lon, lat = np.meshgrid(grid.lon_bounds, grid.lat_bounds)
    nearness = cartesian(lon, lat) @ cartesian(*np.array(AXIS))
    rate = 2 * np.pi / PERIOD
    psi = -rate * EARTH_RADIUS**2 * np.maximum(nearness, np.cos(np.deg2rad(DISC)))
    psi = torch.tensor(psi)[None]
    u = -(psi[:, 1:] - psi[:, :-1]) / geometry.length_u
    v = (psi[..., 1:] - psi[..., :-1]) / geometry.length_v
    return upwind_weights(u, v, None, geometry)


def turn(resolution: float, scheme: str) -> Turn:
    """Carry both shapes once around the axis."""
    grid = Grid.regular(resolution, **BOX)
    geometry = Geometry(grid, np.ones(grid.shape, bool), torch.float64)
    weights = flow(grid, geometry)

    def tendency(fields: Fields) -> Fields:
        (c,) = fields
        change = convergence(face_fluxes(c, weights, geometry), geometry)
        if scheme == "tvd":
            change = change + convergence(limited_fluxes(c, weights, geometry), geometry)
        return (change,)

    # a multiple of four, to stop after a quarter of a turn
    rate = float(transport_rate(weights, geometry).max())
    steps = 4 * int(np.ceil(PERIOD * rate / NUMBER[scheme] / 4))
    start = torch.tensor(shapes(grid))[:, None]
    c, quarter = start, start
    extrema = [_extrema(c)]
    for step in range(1, steps + 1):
        ((c,), _) = integrate(tendency, (c,), PERIOD / steps, 1, "rk3")
        extrema.append(_extrema(c))
        if step == steps // 4:
            quarter = c
    lowest, highest = (np.array(x) for x in zip(*extrema, strict=True))
    before, quarter, after = (x[:, 0].numpy() for x in (start, quarter, c))
    return Turn(grid, grid.area, before, quarter, after, lowest, highest)


def _extrema(c: Tensor) -> tuple[list[float], list[float]]:
    return c.amin((1, 2, 3)).tolist(), c.amax((1, 2, 3)).tolist()


def norms(run: Turn) -> dict[str, np.ndarray]:
    """Relative errors after the turn in the first, second and largest norm, each of `SHAPES`."""
    difference = np.abs(run.after - run.before)
    return {
        "l1": _mean(difference, run) / _mean(np.abs(run.before), run),
        "l2": np.sqrt(_mean(difference**2, run) / _mean(run.before**2, run)),
        "max": difference.max((1, 2)) / run.before.max((1, 2)),
    }


def _mean(c: np.ndarray, run: Turn) -> np.ndarray:
    return (c * run.area).sum((1, 2)) / run.area.sum()


def draw_map(axes: Axes, run: Turn, shape: int) -> None:
    """The tracer before, after a quarter and after a turn (filled), and where it belongs."""
    grid = run.grid
    axes.pcolormesh(grid.lon, grid.lat, run.after[shape], cmap="Blues", vmin=0, vmax=1)
    axes.contour(grid.lon, grid.lat, run.before[shape], [0.1, 0.5], colors="black", linewidths=0.8)
    exact = shapes(grid, 0.5 * np.pi)[shape]
    axes.contour(grid.lon, grid.lat, exact, [0.1, 0.5], colors=common.GREY, linewidths=0.8)
    axes.contour(
        grid.lon, grid.lat, run.quarter[shape], [0.1, 0.5], colors=common.ORANGE, linewidths=0.8
    )
    axes.plot(*AXIS, "+", color="black")
    axes.set(xlabel="Longitude (°E)", ylabel="Latitude (°N)")
    axes.grid(False)


def draw(runs: dict[tuple[str, float], Turn]) -> Figure:
    """Maps of both schemes, a section, and errors against resolution."""
    figure = Figure(figsize=(style.PAGE_WIDTH, 5.4))
    panels = figure.subplots(2, 3)
    letters = style.letters()
    finest = RESOLUTIONS[-1]
    for row, shape in enumerate(SHAPES):
        for column, scheme in enumerate(SCHEMES):
            draw_map(panels[row, column], runs[scheme, finest], row)
            style.heading(panels[row, column], next(letters), f"{shape.capitalize()}, {scheme}")
        axes = panels[row, 2]
        for scheme, colour in SCHEMES.items():
            values = [norms(runs[scheme, size])["l1"][row] for size in RESOLUTIONS]
            axes.loglog(RESOLUTIONS, values, "o-", color=colour, label=scheme)
        for order, dashes in ((1, ":"), (2, "--"))[: 2 - row]:
            line = values[-1] * (np.array(RESOLUTIONS) / finest) ** order
            axes.loglog(RESOLUTIONS, line, dashes, color=common.GREY, label=f"order {order}")
        axes.set_xticks(RESOLUTIONS, [f"{size:g}" for size in RESOLUTIONS])
        axes.minorticks_off()
        axes.set(xlabel="Cell (degrees)", ylabel="Relative error, first norm")
        axes.legend()
        style.heading(axes, next(letters), f"{shape.capitalize()}: error after a turn")
    return figure


def main(arguments: Sequence[str] | None = None) -> dict[str, float]:
    """Turn, draw and report."""
    out = common.output_folder(__doc__, arguments)
    runs = {(scheme, size): turn(size, scheme) for scheme in SCHEMES for size in RESOLUTIONS}
    numbers: dict[str, float] = {"steps": len(runs["tvd", RESOLUTIONS[-1]].lowest) - 1}
    for scheme in SCHEMES:
        coarse, fine = (norms(runs[scheme, size]) for size in RESOLUTIONS[-2:])
        for n, shape in enumerate(SHAPES):
            for name, value in fine.items():
                numbers[f"{scheme}_{shape}_{name}"] = value[n]
            numbers[f"{scheme}_{shape}_order_l1"] = np.log2(coarse["l1"][n] / fine["l1"][n])
            numbers[f"{scheme}_{shape}_peak"] = runs[scheme, RESOLUTIONS[-1]].after[n].max()
        every = [runs[scheme, size] for size in RESOLUTIONS]
        numbers[f"{scheme}_content_change"] = max(
            np.abs(_mean(run.after, run) / _mean(run.before, run) - 1).max() for run in every
        )
        numbers[f"{scheme}_overshoot"] = max(
            max((run.highest - run.highest[0]).max(), (run.lowest[0] - run.lowest).max())
            for run in every
        )
    with style.context():
        common.save(draw(runs), out / "tracer_rotation.png")
    return common.report(numbers)


if __name__ == "__main__":
    main()

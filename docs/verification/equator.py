"""The regularised geostrophic velocity between 20S and 20N."""

from __future__ import annotations

from collections.abc import Sequence

import common
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from hybridom.config import SkeletonConfig
from hybridom.constants import EARTH_RADIUS, GRAVITY, OMEGA, RHO_0
from hybridom.figures import style
from hybridom.grid import Grid
from hybridom.operators import Geometry
from hybridom.physics.skeleton import Skeleton
from hybridom.physics.vorticity import geostrophic_velocity
from hybridom.state import Forcing, OceanState

DEFAULT = SkeletonConfig().f_min
F_MIN = {DEFAULT / 4: common.GREEN, DEFAULT: common.BLUE, 2 * DEFAULT: common.ORANGE}
EDGE = 20.25  # degrees: a row of centres lies on the equator
RESOLUTIONS = (0.5, 0.3, 0.1)
WAVE_SPEED = 2.5  # m s-1, of a first baroclinic Kelvin wave
HEIGHT = 0.1  # m, of its sea surface on the equator
SLOPE = 1e-7  # of a sea surface that rises to the north
DEPTH = 100.0  # m


def belt(resolution: float) -> Grid:
    """One layer on both sides of the equator, of few columns."""
    return common.layer(resolution, (-EDGE, EDGE), DEPTH, (0.0, 4 * resolution))


def kelvin_wave(lat: np.ndarray) -> np.ndarray:
    """Sea surface (m) of an equatorial Kelvin wave, whose current is g eta / c.

    That current is in geostrophic balance at every latitude of the sphere, the equator included.
    """
    return HEIGHT * np.exp(-2 * OMEGA * EARTH_RADIUS / WAVE_SPEED * (1 - np.cos(np.deg2rad(lat))))


def tilt(lat: np.ndarray) -> np.ndarray:
    """Sea surface (m) with the slope SLOPE on the equator; no finite flow balances it there."""
    return SLOPE * EARTH_RADIUS * np.sin(np.deg2rad(lat))


def eastward(grid: Grid, eta: np.ndarray, f_min: float) -> np.ndarray:
    """Geostrophic velocity (ny,), m s-1, of a zonally uniform sea surface (ny,)."""
    geometry = Geometry(grid, np.ones(grid.shape, bool), torch.float64)
    pressure = GRAVITY * RHO_0 * torch.tensor(eta)[:, None].expand(grid.shape)
    return geostrophic_velocity(pressure, geometry, f_min)[0][0, :, 0].numpy()


def factor(f: np.ndarray, f_min: float) -> np.ndarray:
    """What stands for 1/f, s."""
    return f / (f**2 + f_min**2)


def wave_error(resolution: float) -> float:
    """Largest difference of the wave's current from g eta / c f^2 / (f^2 + f_min^2), relative."""
    grid = belt(resolution)
    eta = kelvin_wave(grid.lat)
    exact = GRAVITY * eta / WAVE_SPEED * grid.f_t * factor(grid.f_t, DEFAULT)
    return float(np.abs(eastward(grid, eta, DEFAULT) - exact)[1:-1].max() / exact.max())


def day_and_gradient(f_min: float) -> tuple[Tensor, Tensor]:
    """Vorticity after a day of random fields, and how its square depends on the sea surface."""
    grid = Grid.regular(3.0, (-19.5, 19.5), (-180.0, 180.0), (10.0, 50.0, 200.0))
    core = Skeleton(grid, np.ones(grid.shape, bool), SkeletonConfig(f_min=f_min), torch.float64)
    noise = torch.tensor(np.random.default_rng(0).normal(size=(5, 1, *grid.shape)))
    thetao = 20 * torch.exp(-core.geometry.depth / 200) + 0.1 * noise[0]
    zos = (0.02 * noise[4][:, 0]).requires_grad_()
    state = OceanState(thetao, 35 + 0.1 * noise[1], 0.02 * noise[2], 0.02 * noise[3], zos)
    wind = Forcing({"u10": 5 * noise[4][:, 1], "v10": 5 * noise[4][:, 2]})
    zeta = core(state, wind, wind).vorticity
    (gradient,) = torch.autograd.grad((zeta**2).sum(), zos)
    return zeta.detach(), gradient


def draw_factor(axes: Axes) -> None:
    """1/f and what replaces it."""
    lat = np.linspace(-20, 20, 801)
    f = 2 * OMEGA * np.sin(np.deg2rad(lat))
    with np.errstate(divide="ignore"):
        axes.plot(lat, 1e-4 / f, color="black", linewidth=0.9, label="1 / f")
        plane = common.beta(0.0) * EARTH_RADIUS * np.deg2rad(lat)
        axes.plot(lat, 1e-4 / plane, color=common.PINK, linestyle="--", label="1 / (β y)")
    for f_min, colour in F_MIN.items():
        axes.plot(lat, 1e-4 * factor(f, f_min), color=colour, label=_label(f_min))
    axes.set(xlabel="Latitude (°N)", ylabel="10⁴ s", ylim=(-22, 22), xlim=(-20, 20))
    axes.legend(loc="upper left", fontsize=7)


def draw_currents(axes: Axes, kind: str) -> None:
    """Eastward current of the wave, or of the tilted surface."""
    grid = belt(RESOLUTIONS[0])
    lat = grid.lat
    eta = kelvin_wave(lat) if kind == "wave" else tilt(lat)
    gradient = np.gradient(eta, EARTH_RADIUS * np.deg2rad(lat))
    with np.errstate(divide="ignore", invalid="ignore"):
        axes.plot(lat, -100 * GRAVITY * gradient / grid.f_t, "k.-", linewidth=0.8, label="1 / f")
    if kind == "wave":
        fine = np.linspace(-20, 20, 401)
        exact = 100 * GRAVITY * kelvin_wave(fine) / WAVE_SPEED
        axes.plot(fine, exact, color=common.PINK, linestyle="--", label="closed form g η / c")
    for f_min, colour in F_MIN.items():
        axes.plot(lat, 100 * eastward(grid, eta, f_min), color=colour, label=_label(f_min))
    axes.set(xlabel="Latitude (°N)", ylabel="cm s⁻¹", xlim=(-20, 20))
    if kind == "wave":
        axes.legend(fontsize=7)
    else:
        axes.set_ylim(-42, 42)


def draw_choice(axes: Axes) -> None:
    """Part of the geostrophic velocity that is kept against f_min."""
    f_min = np.geomspace(1e-6, 1e-4, 100)
    for lat, colour in ((5, common.ORANGE), (10, common.GREEN), (20, common.BLUE)):
        f = common.coriolis(lat)
        axes.semilogx(f_min, f * factor(f, f_min), color=colour, label=f"{lat}°")
    axes.axvline(DEFAULT, color=common.GREY, linestyle=":", label="default")
    axes.set(xlabel="f_min (s⁻¹)", ylabel="Part of 1 / f", ylim=(0, 1.02))
    axes.legend(loc="lower left")


def _label(f_min: float) -> str:
    return f"f_min = {1e5 * f_min:g}·10⁻⁵"


def draw() -> Figure:
    """All panels."""
    figure = Figure(figsize=(style.PAGE_WIDTH, 5.2))
    panels = figure.subplots(2, 2).ravel()
    titles = (
        "What stands for 1/f",
        "Current of a Kelvin wave",
        "Current of a sea that rises to the north",
        "Part of the geostrophic current that is left",
    )
    for axes, letter, title in zip(panels, style.letters(), titles, strict=False):
        style.heading(axes, letter, title)
    draw_factor(panels[0])
    draw_currents(panels[1], "wave")
    draw_currents(panels[2], "tilt")
    draw_choice(panels[3])
    return figure


def main(arguments: Sequence[str] | None = None) -> dict[str, float]:
    """Compute, draw and report."""
    out = common.output_folder(__doc__, arguments)
    grid = belt(RESOLUTIONS[-1])
    row = grid.ny // 2
    surface, wave = tilt(grid.lat), kelvin_wave(grid.lat)
    current = np.abs(eastward(grid, surface, DEFAULT))
    errors = [wave_error(size) for size in RESOLUTIONS]
    curvature = (wave[row + 1] - 2 * wave[row] + wave[row - 1]) / grid.dy[row] ** 2
    numbers = {
        "f_min": DEFAULT,
        "latitude_of_the_middle_row": abs(grid.lat[row]),
        "speed_on_the_equator": current[row],
        "largest_speed_over_bound": current.max() / (GRAVITY * SLOPE / (2 * DEFAULT)),
        "latitude_of_the_largest_speed": abs(grid.lat[current.argmax()]),
        "latitude_where_f_is_f_min": np.rad2deg(np.arcsin(DEFAULT / (2 * OMEGA))),
        "wave_error": errors[-1],
        "wave_order": np.log(errors[-2] / errors[-1]) / np.log(RESOLUTIONS[-2] / RESOLUTIONS[-1]),
        "wave_current_beta_plane": -GRAVITY / common.beta(0.0) * curvature,
        "wave_current_closed_form": GRAVITY * HEIGHT / WAVE_SPEED,
    }
    for lat in (2, 5, 10, 20):
        f = common.coriolis(lat)
        numbers[f"part_left_at_{lat}_degrees"] = f * factor(f, DEFAULT)
    for f_min in F_MIN:
        zeta, gradient = day_and_gradient(f_min)
        name = f"f_min_{f_min:.2g}"
        numbers[f"{name}_largest_vorticity"] = float(zeta.abs().max())
        numbers[f"{name}_largest_gradient"] = float(gradient.abs().max())
        finite = torch.isfinite(zeta).all() and torch.isfinite(gradient).all()
        numbers[f"{name}_all_finite"] = int(finite)
    with style.context():
        common.save(draw(), out / "equator.png")
    return common.report(numbers)


if __name__ == "__main__":
    main()

"""Phase speed of Rossby waves in a mid-latitude channel against theory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import common
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.linalg import eigh

from hybridom.config import SkeletonConfig
from hybridom.constants import EARTH_RADIUS, GRAVITY, SECONDS_PER_DAY
from hybridom.figures import style
from hybridom.grid import Grid
from hybridom.physics.skeleton import Skeleton

SOUTH, NORTH, CENTRE = 40.0, 50.0, 45.0
SECTOR = (-45.0, 45.0)  # a quarter of the globe, repeated
RADIUS = EARTH_RADIUS * np.cos(np.deg2rad(CENTRE))  # of the latitude circle, m
WAVES = np.array([4, 8, 12, 16, 24, 32, 48])  # around the whole latitude circle
DEPTHS = (4000.0, 100.0)  # of the layer, m
COLOURS = (common.BLUE, common.ORANGE)
DAYS = 30
SPEED = 1e-5  # m s-1, largest current: the waves are linear
CONFIG = SkeletonConfig(wind_stress=False, viscosity=False, sea_surface="continuity")
RESOLUTION = 0.5  # degrees
SHOWN = 12  # wave of the first panel
REFINED, REFINEMENTS = np.array([4, 24]), (2.5, 1.25, 0.625)  # waves; degrees
ROWS = 400  # of the eigenvalue problem on the sphere


@dataclass(frozen=True)
class Voyage:
    """Waves that ran side by side.

    Attributes:
        grid: Their channel.
        days: Stream function (DAYS + 1, waves, ny, nx), m2 s-1.
        turn: Turn of the phase in a day (waves,), rad, positive for westward.
        growth: Factor by which the amplitude grows in a day (waves,).
    """

    grid: Grid
    days: np.ndarray
    turn: np.ndarray
    growth: np.ndarray


def theory(wave: np.ndarray, depth: float) -> np.ndarray:
    """Frequency on the beta plane of the first meridional mode, s-1, positive for westward."""
    k = wave / (EARTH_RADIUS * np.cos(np.deg2rad(CENTRE)))
    l = np.pi / (EARTH_RADIUS * np.deg2rad(NORTH - SOUTH))  # noqa: E741
    deformation = np.sqrt(GRAVITY * depth) / common.coriolis(CENTRE)
    return common.beta(CENTRE) * k / (k**2 + l**2 + deformation**-2)


def on_the_sphere(wave: int, depth: float) -> tuple[float, np.ndarray, np.ndarray]:
    """The same without the beta plane: an eigenvalue problem in latitude on ROWS rows.

    Returns:
        Frequency, s-1; the mode in latitude; the weight under which modes are orthogonal.
    """
    rows = (NORTH - SOUTH) / ROWS
    grid = Grid.regular(rows, (SOUTH, NORTH), (0.0, rows), (depth / 2,))
    cos, f, f_0 = np.cos(np.deg2rad(grid.lat)), grid.f_t, common.coriolis(CENTRE)
    k = wave / (EARTH_RADIUS * cos)
    stretching = f * f_0 / (GRAVITY * depth)
    operator = np.diag(k**2 + stretching) - common.meridional_laplacian(grid, "fixed").toarray()
    drift = common.beta(0.0) * cos * f * f_0 / (f**2 + CONFIG.f_min**2) * k
    # the area weight of a row makes the operator symmetric
    area = np.diff(np.sin(np.deg2rad(grid.lat_bounds)))
    operator = area[:, None] * operator
    omega, modes = eigh(
        np.diag(area * drift), 0.5 * (operator + operator.T), subset_by_index=[ROWS - 1, ROWS - 1]
    )
    return float(omega[0]), modes[:, 0] / np.abs(modes).max(), cos * drift


def meridional(waves: np.ndarray, depth: float, lat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Modes and weights (waves, ny) of `on_the_sphere` at the given latitudes."""
    fine = SOUTH + (np.arange(ROWS) + 0.5) * (NORTH - SOUTH) / ROWS
    solved = [on_the_sphere(int(wave), depth)[1:] for wave in waves]
    modes, weights = (np.array([np.interp(lat, fine, x[n]) for x in solved]) for n in (0, 1))
    return modes, weights


def sail(resolution: float, depth: float, waves: np.ndarray) -> Voyage:
    """Let waves run side by side, and measure them."""
    grid = common.layer(resolution, (SOUTH, NORTH), depth, SECTOR)
    core = Skeleton(grid, np.ones(grid.shape, bool), CONFIG, torch.float64)
    inversion = common.Inversion(grid, common.coriolis(CENTRE), "fixed")
    modes, weights = meridional(waves, depth, grid.lat)
    along = waves[:, None] * np.deg2rad(grid.lon)
    scale = np.maximum(waves / np.cos(np.deg2rad(CENTRE)), 180 / (NORTH - SOUTH)) / EARTH_RADIUS
    days = [SPEED / scale[:, None, None] * modes[:, :, None] * np.cos(along)[:, None, :]]
    for _ in range(DAYS):
        days.append(common.next_day(days[-1], core, inversion))
    series = np.einsum("twyx,wy,wx->tw", np.stack(days), modes * weights, np.exp(-1j * along))
    time = np.arange(DAYS + 1)
    turn = np.polyfit(time, np.unwrap(np.angle(series), axis=0), 1)[0]
    growth = np.exp(np.polyfit(time, np.log(np.abs(series)), 1)[0])
    return Voyage(grid, np.stack(days), turn, growth)


def frequency(turn: np.ndarray) -> np.ndarray:
    """Frequency (s-1) of a wave whose phase turns by `turn` (rad) a day in the model.

    The pressure stays as it is over a day, so that a day is one Euler step: it turns the phase by
    arctan(omega day), not by omega day.
    """
    return np.tan(turn) / SECONDS_PER_DAY


def draw_drift(axes: Axes, voyage: Voyage) -> None:
    """Sea level along the middle of the channel against time, and the crests of theory."""
    time = np.arange(DAYS + 1)
    middle = voyage.days[:, list(WAVES).index(SHOWN), voyage.grid.ny // 2]
    peak = np.abs(middle).max()
    axes.pcolormesh(voyage.grid.lon, time, middle, cmap=style.DIFFERENCE, vmin=-peak, vmax=peak)
    degrees_a_day = np.rad2deg(np.arctan(theory(SHOWN, DEPTHS[0]) * SECONDS_PER_DAY)) / SHOWN
    for crest in 360 / SHOWN * np.arange(-1, 4):
        axes.plot(crest - degrees_a_day * time, time, color="black", linewidth=0.9, linestyle="--")
    axes.set(xlabel="Longitude (°)", ylabel="Day", xlim=SECTOR, ylim=(0, DAYS))
    axes.grid(False)


def draw_dispersion(axes: Axes, voyages: dict[float, Voyage]) -> None:
    """Phase speed against wavenumber."""
    smooth = np.linspace(2, 52, 200)
    for (depth, voyage), colour in zip(voyages.items(), COLOURS, strict=True):
        axes.plot(smooth, -theory(smooth, depth) * RADIUS / smooth, color=colour)
        measured = -frequency(voyage.turn) * RADIUS / WAVES
        axes.plot(WAVES, measured, "o", color=colour, markersize=4.5, label=f"H = {depth:.0f} m")
    axes.set(xlabel="Waves around the globe", ylabel="Phase speed (m s⁻¹)")
    axes.legend(loc="lower right")


def draw_growth(axes: Axes, voyages: dict[float, Voyage]) -> None:
    """Growth of the amplitude against frequency."""
    turning = np.linspace(0, 0.27, 100)
    axes.plot(turning, np.sqrt(1 + turning**2), color=common.GREY, label="√(1 + ω²)")
    for (depth, voyage), colour in zip(voyages.items(), COLOURS, strict=True):
        omega = np.tan(voyage.turn)
        axes.plot(
            omega, voyage.growth, "o", color=colour, markersize=4.5, label=f"H = {depth:.0f} m"
        )
    axes.set(xlabel="ω (day⁻¹)", ylabel="Factor a day")
    axes.legend()


def draw_convergence(axes: Axes, errors: dict[float, np.ndarray]) -> None:
    """Error of the frequency against the size of a cell."""
    sizes, values = np.array(list(errors)), np.array(list(errors.values()))
    for wave, error, colour in zip(REFINED, values.T, (common.GREEN, common.PINK), strict=True):
        axes.loglog(sizes, error, "o-", color=colour, label=f"wave {wave}")
        axes.loglog(sizes, error[-1] * (sizes / sizes[-1]) ** 2, ":", color=common.GREY)
    axes.set(xlabel="Cell (degrees); dotted: order 2", ylabel="Relative error of ω")
    axes.set_xticks(sizes, [f"{size:g}" for size in sizes])
    axes.minorticks_off()
    axes.legend()


def draw(voyages: dict[float, Voyage], errors: dict[float, np.ndarray]) -> Figure:
    """All panels."""
    figure = Figure(figsize=(style.PAGE_WIDTH, 5.4))
    (drift, dispersion), (growth, convergence) = figure.subplots(2, 2)
    letters = style.letters()
    draw_drift(drift, voyages[DEPTHS[0]])
    style.heading(drift, next(letters), f"Sea level at 45°N, wave {SHOWN}; dashed: theory")
    draw_dispersion(dispersion, voyages)
    style.heading(dispersion, next(letters), "Phase speed: skeleton (dots), theory (lines)")
    draw_growth(growth, voyages)
    style.heading(growth, next(letters), "Growth of the amplitude: an explicit day")
    draw_convergence(convergence, errors)
    style.heading(convergence, next(letters), "Convergence to the frequency on the sphere")
    return figure


def main(arguments: Sequence[str] | None = None) -> dict[str, float]:
    """Measure, draw and report."""
    out = common.output_folder(__doc__, arguments)
    numbers: dict[str, float] = {}
    voyages = {depth: sail(RESOLUTION, depth, WAVES) for depth in DEPTHS}
    for depth, voyage in voyages.items():
        omega, name = frequency(voyage.turn), f"H{depth:.0f}"
        sphere = np.array([on_the_sphere(int(wave), depth)[0] for wave in WAVES])
        explicit = np.hypot(1, omega * SECONDS_PER_DAY)
        numbers |= {
            f"{name}_speed_of_wave_{wave}_m_s": -omega[n] * RADIUS / wave
            for n, wave in enumerate(WAVES)
            if wave in (WAVES[0], WAVES[-1])
        }
        numbers |= {
            f"{name}_error_beta_plane": np.abs(omega / theory(WAVES, depth) - 1).max(),
            f"{name}_error_sphere": np.abs(omega / sphere - 1).max(),
            f"{name}_day_slows_phase_by": 1 - (voyage.turn / np.tan(voyage.turn)).min(),
            f"{name}_largest_growth": voyage.growth.max(),
            f"{name}_growth_error": np.abs(voyage.growth / explicit - 1).max(),
        }
    errors = {}
    exact = np.array([on_the_sphere(int(wave), DEPTHS[0])[0] for wave in REFINED])
    for resolution in REFINEMENTS:
        voyage = sail(resolution, DEPTHS[0], REFINED)
        errors[resolution] = np.abs(frequency(voyage.turn) / exact - 1)
    for n, wave in enumerate(REFINED):
        *_, middle, fine = (error[n] for error in errors.values())
        numbers[f"wave_{wave}_error_at_{REFINEMENTS[-1]:g}_degrees"] = fine
        numbers[f"wave_{wave}_order"] = np.log2(middle / fine)
    with style.context():
        common.save(draw(voyages, errors), out / "rossby_wave.png")
    return common.report(numbers)


if __name__ == "__main__":
    main()

"""Start states that the package keeps, and how they are made.

The package keeps spun-up states of the default embedded ocean on 1 January of each year, so that
these years can be simulated side by side. State Y+1 is the end of year Y that began from state Y,
rounded to KEPT_BITS. A start from a state differs from going on by this rounding and by a first
step that is a forward Euler step; on the first day that makes 3e-4 degC and 5e-5 m of sea surface
height in root mean square, less than half a packing quantum of the product and about 3 % of the
change from day to day.

Only the standard library is imported at the top: the workflow asks `packaged_state` as it plans.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hybridom.errors import UserError

if TYPE_CHECKING:
    from hybridom.config import TwinConfig
    from hybridom.twin.geography import Array, TwinGrid

STATE_DIR = Path(__file__).parent / "data"
# Significant bits kept of each field. They lie at centres, but u at east faces, v at north faces
# and tke at the top faces of cells; psi is the surface pressure over density, m2 s-2.
KEPT_BITS = {"temp": 14, "salt": 16, "u": 11, "v": 11, "tke": 8, "psi": 14}
UNITS = {"temp": "degC", "salt": "g/kg", "u": "m/s", "v": "m/s", "tke": "m2/s2", "psi": "m2/s2"}
_NAME = re.compile(r"state_(\d+)deg_seed(-?\d+)_dt(\d+)-(\d+)_(\d{8})\.nc$")


@dataclass(frozen=True)
class StateName:
    """What the name of a state file says: degrees, seed, time steps (s), and 00:00 of a day."""

    degrees: int
    seed: int
    dt_tracer: int
    dt_momentum: int
    day: dt.date

    @classmethod
    def of(cls, config: TwinConfig, day: dt.date) -> StateName:
        """The name of the state of `config` at 00:00 of `day`."""
        return cls(
            config.degrees, config.seed, round(config.dt_tracer), round(config.dt_momentum), day
        )

    @classmethod
    def parse(cls, path: Path) -> StateName | None:
        """Read a file name; None if it is not one of a state."""
        m = _NAME.match(path.name)
        if m is None:
            return None
        degrees, seed, tracer, momentum = (int(x) for x in m.groups()[:4])
        day = dt.datetime.strptime(m[5], "%Y%m%d").date()
        return cls(degrees, seed, tracer, momentum, day)

    def __str__(self) -> str:
        """The file name."""
        return (
            f"state_{self.degrees}deg_seed{self.seed}_dt{self.dt_tracer}-{self.dt_momentum}"
            f"_{self.day:%Y%m%d}.nc"
        )


def packaged_state(config: TwinConfig, year: int, folder: Path = STATE_DIR) -> Path | None:
    """The package's state from which `year` can start without the year before it.

    Args:
        config: Section `twin` of the configuration.
        year: Calendar year.
        folder: Where the states lie.

    Returns:
        The state, or None if there is none for these settings, or if the simulation's first year
        does not itself start from one (then the years have to follow one another).
    """
    first = folder / str(StateName.of(config, config.start))
    if year == config.start.year:
        return first if first.exists() else None
    path = folder / str(StateName.of(config, dt.date(year, 1, 1)))
    return path if first.exists() and path.exists() else None


def similar_state(config: TwinConfig, folder: Path = STATE_DIR) -> Path | None:
    """The package's state of the same resolution that is nearest in season, then in date."""
    named = ((StateName.parse(path), path) for path in sorted(folder.glob("state_*.nc")))
    usable = [(name, path) for name, path in named if name and name.degrees == config.degrees]
    if not usable:
        return None

    def distance(item: tuple[StateName, Path]) -> tuple[int, int]:
        first, other = config.start, item[0].day
        phase = (first.timetuple().tm_yday - other.timetuple().tm_yday) % 365
        return min(phase, 365 - phase), abs((first - other).days)

    return min(usable, key=distance)[1]


def read_state(path: Path, grid: TwinGrid) -> dict[str, Array]:
    """Fields of a state file, each (nz, ny, nx), psi (ny, nx), 0 on land.

    Raises:
        UserError: The file is not one of this grid.
    """
    import netCDF4
    import numpy as np

    with netCDF4.Dataset(path) as f:
        f.set_auto_mask(False)
        missing = [name for name in KEPT_BITS if name not in f.variables]
        if missing:
            raise UserError(f"{path}: variable {missing[0]!r} is missing from this start state")
        fields = {name: np.asarray(f[name][:]) for name in KEPT_BITS}
    for name, values in fields.items():
        expected = grid.shape if name != "psi" else grid.shape[1:]
        if values.shape != expected:
            raise UserError(f"{path}: {name} has shape {values.shape}, expected {expected}")
    return fields


def write_state(path: Path, grid: TwinGrid, fields: Mapping[str, Array], history: str) -> None:
    """Write the fields of `fields_of_restart`, rounded to KEPT_BITS and compressed.

    Args:
        path: File.
        grid: Cells.
        fields: Each (nz, ny, nx), psi (ny, nx).
        history: How the state came about.
    """
    from hybridom.twin.netcdf import atomic_dataset

    axes = {
        "depth": (grid.depth, "m"),
        "latitude": (grid.lat, "degrees_north"),
        "longitude": (grid.lon, "degrees_east"),
    }
    with atomic_dataset(path) as f:
        f.Conventions, f.history = "CF-1.8", history
        f.title = f"Start state of the embedded ocean at {grid.degrees:g} degrees"
        f.source = "Veros, C grid; coordinates are those of cell centres"
        for name, (values, units) in axes.items():
            f.createDimension(name, len(values))
            v = f.createVariable(name, "f8", (name,))
            v.standard_name, v.units = name, units
            v[:] = values
        f["depth"].positive = "down"
        for name, bits in KEPT_BITS.items():
            v = f.createVariable(
                name,
                "f4",
                tuple(axes)[3 - fields[name].ndim :],
                zlib=True,
                complevel=9,
                shuffle=True,
                significant_digits=bits,
                quantize_mode="BitRound",
            )
            v.units = UNITS[name]
            v[:] = fields[name]


def fields_of_restart(path: Path) -> dict[str, Array]:
    """Fields of a start state out of a Veros restart, each (nz, ny, nx), psi (ny, nx).

    Raises:
        UserError: The file is not a Veros restart.
    """
    import h5py
    import numpy as np

    try:
        with h5py.File(path) as f:
            core = f["core"]
            now = int(core["tau"][()])
            veros = {name: np.asarray(core[name][2:-2, 2:-2, ..., now]) for name in KEPT_BITS}
    except (OSError, KeyError) as e:
        raise UserError(f"{path}: expected a restart file of Veros ({e})") from None
    return {name: a.transpose(2, 1, 0)[::-1] if a.ndim == 3 else a.T for name, a in veros.items()}


def write_states(
    config: TwinConfig,
    years: Sequence[int],
    folder: Path,
    from_restart: Path | None = None,
    spinup_years: int = 20,
) -> list[Path]:
    """Make the states of 1 January of each of `years` by simulating from one to the next.

    Args:
        config: Section `twin`; its period is not used.
        years: Consecutive calendar years.
        folder: Where the states go; monthly restarts lie in its `work`, so that an interrupted
            call continues.
        from_restart: Veros restart to take as 1 January of the first year; None spins up from
            rest.
        spinup_years: Years simulated from rest before the first year.

    Returns:
        The states, oldest first.
    """
    from hybridom.twin.geography import TwinGrid
    from hybridom.twin.plan import Start, calendar_year
    from hybridom.twin.run import simulate

    grid = TwinGrid.of(config.degrees)
    first = dt.date(years[0], 1, 1)
    if from_restart is None:
        rest = dt.date(years[0] - spinup_years, 1, 1)
        start = Start(rest, f"rest on {rest}", rest_day=rest)
        for year in range(rest.year, years[0]):
            restart = simulate(config, calendar_year(config, start), folder / "work", None)
            start = Start(dt.date(year + 1, 1, 1), f"end of {year}", restart=restart)
        history = f"{spinup_years} years from rest"
    else:
        restart, history = from_restart, f"restart {from_restart.name}"
    paths = [folder / str(StateName.of(config, first))]
    write_state(paths[0], grid, fields_of_restart(restart), history)
    for year in years[1:]:
        start = Start(dt.date(year - 1, 1, 1), paths[-1].name, state=paths[-1])
        restart = simulate(config, calendar_year(config, start), folder / "work", None)
        paths.append(folder / str(StateName.of(config, dt.date(year, 1, 1))))
        write_state(paths[-1], grid, fields_of_restart(restart), f"one year from {start.origin}")
    return paths

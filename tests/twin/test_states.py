from __future__ import annotations

import datetime as dt
import subprocess
import sys
from pathlib import Path

import netCDF4
import numpy as np
import pytest

from hybridom.config import TwinConfig
from hybridom.errors import UserError
from hybridom.twin import states
from hybridom.twin.geography import TwinGrid, levels, wet_cells
from hybridom.twin.states import StateName

CONFIG = TwinConfig()
GRID = TwinGrid.of(4)


def touch(folder: Path, *days: dt.date, **settings: object) -> list[Path]:
    config = CONFIG.model_copy(update=settings)
    paths = [folder / str(StateName.of(config, day)) for day in days]
    for path in paths:
        path.touch()
    return paths


def test_names_return() -> None:
    name = StateName.of(CONFIG, dt.date(2003, 1, 1))
    assert str(name) == "state_4deg_seed1_dt14400-3600_20030101.nc"
    assert StateName.parse(Path(str(name))) == name
    assert StateName.parse(Path("geography_4deg.nc")) is None


def test_the_default_years_have_states_in_the_package() -> None:
    found = [states.packaged_state(CONFIG, year) for year in CONFIG.years]
    assert all(path is not None and path.exists() for path in found)


def test_states_in_the_package_are_small() -> None:
    sizes = {path.name: path.stat().st_size for path in states.STATE_DIR.glob("*.nc")}
    assert max(sizes.values()) <= 500_000, sizes


def test_a_state_serves_only_its_own_settings(tmp_path: Path) -> None:
    touch(tmp_path, dt.date(2001, 1, 1), dt.date(2002, 1, 1))
    assert states.packaged_state(CONFIG, 2002, tmp_path) is not None
    for change in ({"seed": 2}, {"dt_tracer": 10800.0}, {"dt_momentum": 1800.0}, {"degrees": 2}):
        other = CONFIG.model_copy(update=change)
        assert states.packaged_state(other, 2002, tmp_path) is None, change


def test_years_follow_one_another_if_the_first_one_has_no_state(tmp_path: Path) -> None:
    touch(tmp_path, dt.date(2001, 1, 1), dt.date(2002, 1, 1))
    late = CONFIG.model_copy(update={"start": dt.date(2001, 6, 1)})
    assert states.packaged_state(late, 2001, tmp_path) is None
    assert states.packaged_state(late, 2002, tmp_path) is None


def test_the_nearest_season_is_chosen_among_other_states(tmp_path: Path) -> None:
    days = [dt.date(2001, 1, 1), dt.date(2002, 1, 1), dt.date(2001, 7, 1)]
    paths = touch(tmp_path, *days)
    for start, expected in (
        (dt.date(2005, 6, 1), paths[2]),
        (dt.date(2005, 12, 20), paths[1]),
        (dt.date(2001, 2, 1), paths[0]),
    ):
        config = CONFIG.model_copy(update={"start": start, "seed": 9})
        assert states.similar_state(config, tmp_path) == expected
    assert states.similar_state(CONFIG.model_copy(update={"degrees": 2}), tmp_path) is None


def test_a_state_returns_within_its_kept_bits(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    fields = {
        name: rng.uniform(1, 30, GRID.shape if name != "psi" else GRID.shape[1:]).astype("f4")
        for name in states.KEPT_BITS
    }
    states.write_state(tmp_path / "state.nc", GRID, fields, "test")
    found = states.read_state(tmp_path / "state.nc", GRID)
    for name, bits in states.KEPT_BITS.items():
        assert np.abs(found[name] / fields[name] - 1).max() <= 2.0 ** -(bits + 1), name


def test_states_of_the_package_have_water_where_the_geography_has() -> None:
    wet = wet_cells(levels(GRID), len(GRID.depth))
    fields = states.read_state(states.packaged_state(CONFIG, 2001), GRID)
    np.testing.assert_array_equal(fields["salt"] > 0, wet)
    assert 33 < fields["salt"][wet].min() < fields["salt"][wet].max() < 37.5
    assert not fields["psi"][~wet[0]].any()


def test_a_state_of_another_grid_is_refused() -> None:
    path = states.packaged_state(CONFIG, 2001)
    with pytest.raises(UserError, match="temp has shape"):
        states.read_state(path, TwinGrid.of(2))


def test_a_file_that_is_no_state_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.nc"
    netCDF4.Dataset(path, "w").close()
    with pytest.raises(UserError, match="'temp' is missing"):
        states.read_state(path, GRID)


def test_a_file_that_is_no_restart_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "restart.h5"
    path.write_text("text")
    with pytest.raises(UserError, match=r"restart\.h5: expected a restart"):
        states.fields_of_restart(path)


def test_planning_imports_nothing_heavy() -> None:
    code = (
        "import sys, hybridom.twin.states; "
        "print([m for m in ('numpy', 'netCDF4', 'xarray', 'veros', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

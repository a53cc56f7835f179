"""Fields of a coarse grid on a fine one, against loops and closed forms."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from hybridom.data.driver import Registration
from hybridom.errors import UserError
from hybridom.grid import Grid

FILES = Path("driver/grid.nc"), Path("region/grid.nc")
DEPTHS = (5.0, 40.0, 150.0)


def ocean(grid: Grid, seed: int, part: float = 0.7) -> np.ndarray:
    """Wet cells in patches, fewer with depth."""
    rng = np.random.default_rng(seed)
    noise = rng.random(grid.shape[1:])
    return np.stack([noise < part - 0.1 * k for k in range(grid.nz)])


def noise(grid: Grid, wet: np.ndarray, seed: int) -> np.ndarray:
    """Random numbers at wet cells, NaN on land."""
    values = np.random.default_rng(seed).standard_normal(grid.shape).astype(np.float32)
    return np.where(wet, values, np.float32(np.nan))


def register(coarse: Grid, coarse_wet: np.ndarray, fine: Grid, fine_wet: np.ndarray):
    return Registration(coarse, coarse_wet, fine, fine_wet, *FILES)


def sea(grid: Grid) -> np.ndarray:
    return np.ones(grid.shape, bool)


def by_loops(coarse, coarse_wet, fine, fine_wet, field):
    """Every fine cell for itself; the level is the same in both grids."""
    out = np.zeros(fine.shape)
    continued = 0
    for k, j, i in np.argwhere(fine_wet):
        rows = neighbours(coarse.lat, fine.lat[j], None)
        columns = neighbours(coarse.lon, fine.lon[i], 360.0 if coarse.periodic else None)
        total = weight = 0.0
        for row, y in rows:
            for column, x in columns:
                if coarse_wet[k, row, column] and y * x > 0:
                    total += y * x * float(field[k, row, column])
                    weight += y * x
        if weight == 0.0:
            continued += 1
            wet = np.argwhere(coarse_wet[k])
            away = [apart(fine.lat[j], fine.lon[i], coarse.lat[r], coarse.lon[c]) for r, c in wet]
            total, weight = float(field[k][tuple(wet[int(np.argmin(away))])]), 1.0
        out[k, j, i] = total / weight
    return out, continued


def neighbours(nodes, point, period):
    """Nodes on both sides of a point and their weights."""
    if period is not None:
        nodes = np.asarray(nodes) % period
        ahead = (nodes - point) % period
        ahead[np.isclose(ahead, period, atol=1e-7)] = 0.0
        upper = int(np.argmin(ahead))
        behind = (point - nodes) % period
        behind[upper] = period
        lower = int(np.argmin(behind))
        part = behind[lower] / (behind[lower] + ahead[upper])
        return [(lower, 1.0 - part), (upper, part)]
    if point <= nodes[0]:
        return [(0, 1.0)]
    if point >= nodes[-1]:
        return [(len(nodes) - 1, 1.0)]
    upper = next(n for n, node in enumerate(nodes) if node > point)
    part = (point - nodes[upper - 1]) / (nodes[upper] - nodes[upper - 1])
    return [(upper - 1, 1.0 - part), (upper, part)]


def apart(lat, lon, other_lat, other_lon):
    """Great-circle distance in radians (haversine)."""
    y, x = math.radians(other_lat - lat), math.radians(other_lon - lon)
    h = math.sin(y / 2) ** 2
    h += math.cos(math.radians(lat)) * math.cos(math.radians(other_lat)) * math.sin(x / 2) ** 2
    return 2 * math.asin(math.sqrt(min(h, 1.0)))


@pytest.mark.parametrize(
    ("coarse", "fine"),
    [
        (Grid.regular(8.0, (-80, 80), depths=DEPTHS), (4.0, (8, 64), (120, 240))),
        (Grid.regular(5.0, (-60, 60), depths=DEPTHS), (2.0, (-60, -40), (-30, 30))),
        (Grid.regular(6.0, (-30, 30), (100, 160), DEPTHS), (1.5, (-30, 30), (100, 160))),
        (Grid.regular(6.0, (-30, 30), (0, 360), DEPTHS), (4.0, (-20, 20), (-180, 180))),
        (Grid.regular(5.0, (-30, 30), (-20, 40), DEPTHS), (2.0, (-20, 20), (-10, 30))),
    ],
    ids=["double", "not whole", "a box in itself", "all around", "across Greenwich"],
)
def test_every_cell_is_the_wet_mean_of_its_corners_or_its_nearest_wet_cell(coarse, fine) -> None:
    grid = Grid.regular(*fine, depths=DEPTHS)
    coarse_wet, wet = ocean(coarse, 1, 0.45), ocean(grid, 2, 0.9)
    field = noise(coarse, coarse_wet, 3)
    found = register(coarse, coarse_wet, grid, wet)
    values = found("thetao", field)
    expected, continued = by_loops(coarse, coarse_wet, grid, wet, field)
    assert continued > 5 and found.report()["continued_cells"] == continued
    near = np.abs(values - expected) < 1e-5
    # Two wet cells may be equally far away; either will do.
    assert np.count_nonzero(~near) <= 0.02 * wet.sum()
    assert values.dtype == np.float32 and not values[~wet].any()
    assert (values[wet] != 0).all()


def test_a_field_that_is_linear_in_degrees_stays_so_across_the_date_line() -> None:
    coarse = Grid.regular(5.0, (-60, 60), depths=DEPTHS)
    fine = Grid.regular(2.0, (-20, 20), (150, 210), DEPTHS)
    plane = 3.0 + 0.1 * coarse.lat[:, None] + 0.02 * (coarse.lon % 360.0)
    values = register(coarse, sea(coarse), fine, sea(fine))("zos", plane)
    expected = 3.0 + 0.1 * fine.lat[:, None] + 0.02 * fine.lon
    np.testing.assert_allclose(values, expected, rtol=1e-6)


def test_beyond_the_outermost_centre_its_value_holds() -> None:
    coarse = Grid.regular(8.0, (-16, 16), (0, 48), DEPTHS)
    fine = Grid.regular(2.0, (-16, 16), (0, 48), DEPTHS)
    field = noise(coarse, sea(coarse), 1)
    values = register(coarse, sea(coarse), fine, sea(fine))("so", field)
    for rows, row in ((slice(0, 2), 0), (slice(-2, None), -1)):
        for columns, column in ((slice(0, 2), 0), (slice(-2, None), -1)):
            corner = values[:, rows, columns]
            assert (corner == field[:, row, column][:, None, None]).all()


@pytest.mark.parametrize("resolution", [1.2, 7.2, 1 / 12])
def test_where_longitudes_begin_changes_no_bit(resolution: float) -> None:
    size = 12 * resolution
    lat = (-size, size)
    around = resolution > 1
    lons = [(-180.0, 180.0), (0.0, 360.0)] if around else [(170.0, 190.0), (-190.0, -170.0)]
    west = Grid.regular(resolution, lat, lons[0], DEPTHS)
    wet = ocean(west, 1, 0.5)
    field = noise(west, wet, 2)
    half = west.nx // 2 if around else 0
    results = []
    begin = 180.0 - 1.5 * resolution
    for lon, turn in zip(lons, (0, half), strict=True):
        coarse = Grid.regular(resolution, lat, lon, DEPTHS)
        for origin in (0.0, -360.0):
            box = (begin + origin, begin + origin + 6 * resolution)
            fine = Grid.regular(resolution / 3, (-2 * resolution, 3 * resolution), box, DEPTHS)
            fine_wet = ocean(fine, 3, 0.9)
            given = (np.roll(x, -turn, axis=-1) for x in (wet, field))
            there, values = given
            found = register(coarse, there, fine, fine_wet)
            assert found.report()["continued_cells"] > 0
            results.append(found("thetao", values))
    for other in results[1:]:
        assert np.array_equal(other, results[0])


@pytest.mark.parametrize("origin", [0.0, -360.0])
@pytest.mark.parametrize("resolution", [4.0, 0.1])
def test_the_same_cells_give_the_same_values(resolution: float, origin: float) -> None:
    lon = (170.0, 190.0) if resolution < 1 else (-180.0, 180.0)
    coarse = Grid.regular(resolution, (8, 16), lon, DEPTHS)
    box = (176.0 + origin, 184.0 + origin)
    fine = Grid.regular(resolution, (8, 16), box, DEPTHS)
    wet = ocean(coarse, 1)
    field = noise(coarse, wet, 2)
    place = np.flatnonzero(
        (coarse.lon % 360 > box[0] % 360) & (coarse.lon % 360 < box[0] % 360 + 8)
    )
    place = place[np.argsort(coarse.lon[place] % 360)]
    inside = wet[:, :, place]
    values = register(coarse, wet, fine, inside)("uo", field)
    assert np.array_equal(values, np.where(inside, field[:, :, place], 0))


def test_levels_are_matched_by_depth() -> None:
    coarse = Grid.regular(10.0, (-30, 30), depths=(5.0, 40.0, 150.0, 400.0))
    fine = Grid.regular(5.0, (-20, 20), (0, 40), depths=(5.04, 149.5))
    field = np.broadcast_to(np.arange(4.0)[:, None, None], coarse.shape)
    values = register(coarse, sea(coarse), fine, sea(fine))("thetao", field)
    assert (values[0] == 0).all() and (values[1] == 2).all()
    assert values.shape == fine.shape


def test_a_cell_without_wet_corner_takes_the_nearest_of_its_own_level() -> None:
    coarse = Grid.regular(10.0, (0, 40), (0, 80), DEPTHS)
    fine = Grid.regular(5.0, (0, 40), (0, 80), DEPTHS)
    wet, fine_wet = np.zeros(coarse.shape, bool), np.zeros(fine.shape, bool)
    wet[0], fine_wet[0] = True, True
    wet[1, 2, 7] = wet[1, 0, 0] = True
    fine_wet[1, 5, 1] = True
    field = np.arange(coarse.ny * coarse.nx, dtype=np.float32).reshape(1, coarse.ny, coarse.nx)
    found = register(coarse, wet, fine, fine_wet)
    values = found("so", np.repeat(field, 3, axis=0))
    assert values[1, 5, 1] == field[0, 0, 0] and not values[1, 5, 2:].any()
    report = found.report()
    assert report["continued_by_level"] == [0, 1, 0]
    distance = apart(fine.lat[5], fine.lon[1], coarse.lat[0], coarse.lon[0]) * 6371.0
    assert report["furthest_km"] == pytest.approx(distance, rel=1e-3)


def test_the_report_says_how_the_grids_lie() -> None:
    coarse = Grid.regular(8.0, (-80, 80), depths=DEPTHS)
    fine = Grid.regular(4.0, (8, 64), (120, 240), DEPTHS[:2])
    report = register(coarse, sea(coarse), fine, sea(fine)).report()
    assert report["ratio"] == 2.0 and report["levels"] == 2 and report["driver_levels"] == 3
    assert report["box"] == [8, 64, 120, 240] and report["driver_box"] == [-80, 80, -180, 180]
    assert report["wet_cells"] == 2 * 14 * 30 and report["continued_cells"] == 0
    assert report["driver_grid_hash"] == coarse.hash and report["grid_hash"] == fine.hash


@pytest.mark.parametrize(
    ("box", "depths", "said"),
    [
        (((-40, 20), (110, 150)), DEPTHS, "-40 to 20 N, those of the driver from -30 to 30 N"),
        (((-20, 20), (90, 150)), DEPTHS, "90 to 150 E, those of the driver from 100 to 160 E"),
        (((-20, 20), (110, 150)), (5.0, 60.0), "level 60 m is none of the driver's 3 levels"),
    ],
)
def test_a_box_that_does_not_fit_is_refused_with_numbers(box, depths, said) -> None:
    coarse = Grid.regular(5.0, (-30, 30), (100, 160), DEPTHS)
    fine = Grid.regular(2.5, *box, depths)
    with pytest.raises(
        UserError, match=r"region/grid\.nc: does not fit into its driver driver/"
    ) as e:
        register(coarse, sea(coarse), fine, sea(fine))
    assert said in str(e.value)


def test_a_level_without_ocean_of_the_driver_around_the_box_is_refused() -> None:
    coarse = Grid.regular(10.0, (-40, 40), depths=DEPTHS)
    fine = Grid.regular(5.0, (-20, 20), (0, 40), DEPTHS)
    wet = sea(coarse)
    wet[2] = coarse.lon > 90  # far from the box
    with pytest.raises(
        UserError, match=r"64 cells are wet at 150 m, but of the 36 cells of driver"
    ):
        register(coarse, wet, fine, sea(fine))
    fine_wet = sea(fine)
    fine_wet[2] = False  # the region has no ocean there either
    register(coarse, wet, fine, fine_wet)


@pytest.mark.parametrize("which", ["driver", "region"])
def test_a_grid_without_ocean_is_refused(which: str) -> None:
    coarse = Grid.regular(10.0, (-40, 40), depths=DEPTHS)
    fine = Grid.regular(5.0, (-20, 20), (0, 40), DEPTHS)
    masks = {"driver": sea(coarse), "region": sea(fine)}
    masks[which][:] = False
    with pytest.raises(UserError, match=f"{which}/grid.nc: wet mask: no ocean cell"):
        register(coarse, masks["driver"], fine, masks["region"])


def test_a_driver_without_value_in_a_wet_cell_is_refused_by_name() -> None:
    coarse = Grid.regular(10.0, (-40, 40), depths=DEPTHS)
    fine = Grid.regular(5.0, (-20, 20), (0, 40), DEPTHS)
    field = np.zeros(coarse.shape, np.float32)
    field[1, 4, 20] = np.inf
    found = register(coarse, sea(coarse), fine, sea(fine))
    with pytest.raises(UserError, match=r"vo: .* cells of region/grid\.nc have no value"):
        found("vo", field)
    with pytest.raises(ValueError, match="shape"):
        found("vo", field[:, :-1])

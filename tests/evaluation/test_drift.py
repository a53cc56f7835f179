from __future__ import annotations

import logging
import math

import numpy as np
import pytest
from scipy.stats import chisquare

from hybridom.config.output import BootstrapConfig, EvaluationConfig
from hybridom.constants import EARTH_RADIUS, SECONDS_PER_DAY
from hybridom.evaluation import drift
from hybridom.evaluation.averages import average
from hybridom.evaluation.case import open_case
from hybridom.evaluation.families import FAMILIES
from hybridom.evaluation.particles import (
    Currents,
    Domain,
    advect,
    distance,
    seed_particles,
)
from hybridom.evaluation.tables import write_parquet
from hybridom.grid import Grid
from tests.evaluation.in_memory import currents, make_case, scored

KM = 1e-3 * EARTH_RADIUS


def settings(particles=200, days=10, seed=5):
    return EvaluationConfig(drift={"particles": particles, "days": days, "seed": seed})


def uniform(grid, u, v):
    shape = (grid.ny, grid.nx)
    return Currents(np.full(shape, float(u)), np.full(shape, float(v)))


def field(grid, function):
    return function(*np.meshgrid(grid.lon, grid.lat))


def rotation(grid, tilt, days):
    """Solid-body rotation once in so many days about an axis tilted from the pole."""
    speed = 2 * math.pi * EARTH_RADIUS / (days * SECONDS_PER_DAY)
    lon, lat = (np.deg2rad(x) for x in np.meshgrid(grid.lon, grid.lat))
    u = speed * (np.cos(lat) * np.cos(tilt) + np.sin(lat) * np.cos(lon) * np.sin(tilt))
    return Currents(u, -speed * np.sin(lon) * np.sin(tilt))


def value(table, metric, lead, region="global", system="model"):
    keep = (table["metric"] == metric) & (table["lead"] == lead)
    keep &= (table["region"] == region) & (table["system"] == system)
    assert keep.sum() == 1
    return float(table.loc[keep, "value"].iloc[0])


def scalar_rate(grid, lon, lat, part, first, last):
    """Bilinear in space and linear in time, by loops and by axes that are searched."""
    if not grid.lat_bounds[0] <= lat <= grid.lat_bounds[-1]:
        return math.nan, math.nan
    columns = np.concatenate([grid.lon - 360, grid.lon, grid.lon + 360])
    k = int(np.searchsorted(columns, lon, side="right")) - 1
    j = int(np.searchsorted(grid.lat, lat, side="right")) - 1
    rows = [min(max(j, 0), grid.ny - 1), min(max(j + 1, 0), grid.ny - 1)]
    spread = grid.lat[rows[1]] - grid.lat[rows[0]]
    north = (lat - grid.lat[rows[0]]) / spread if spread > 0 else 0.0
    east = (lon - columns[k]) / (columns[k + 1] - columns[k])
    found = []
    for name in ("u", "v"):
        total = 0.0
        for time, weight in ((first, 1 - part), (last, part)):
            values = getattr(time, name)
            for row, wy in zip(rows, (1 - north, north), strict=True):
                for column, wx in ((k, 1 - east), (k + 1, east)):
                    total += weight * wy * wx * values[row, column % grid.nx]
        found.append(total)
    u, v = found
    degrees = 180 / math.pi / EARTH_RADIUS
    return degrees * u / math.cos(math.radians(lat)), degrees * v


def scalar_advect(grid, lon, lat, first, last, hours):
    """One particle by classical Runge-Kutta with hourly steps."""
    h = 3600.0
    for n in range(hours):
        k1 = scalar_rate(grid, lon, lat, n / hours, first, last)
        half = (n + 0.5) / hours
        k2 = scalar_rate(grid, lon + h / 2 * k1[0], lat + h / 2 * k1[1], half, first, last)
        k3 = scalar_rate(grid, lon + h / 2 * k2[0], lat + h / 2 * k2[1], half, first, last)
        k4 = scalar_rate(grid, lon + h * k3[0], lat + h * k3[1], (n + 1) / hours, first, last)
        lon += h / 6 * (k1[0] + 2 * k2[0] + 2 * k3[0] + k4[0])
        lat += h / 6 * (k1[1] + 2 * k2[1] + 2 * k3[1] + k4[1])
        lon = (lon + 180) % 360 - 180
    return lon, lat


def test_positions_equal_scalar_runge_kutta_with_searched_cells():
    rng = np.random.default_rng(1)
    grid = Grid.regular(5.0, lat=(-70, 70))
    first, last = (
        Currents(*rng.normal(0, 3.0, (2, grid.ny, grid.nx)) * (rng.random((grid.ny, 1)) > 0.2))
        for _ in range(2)
    )
    lon, lat, _ = seed_particles(grid, np.ones((grid.ny, grid.nx), bool), 60, 2)
    lon[:2], lat[2:4] = (-179.99, 179.99), (-69.5, 69.5)
    found = advect(lon, lat, first, last, Domain.of(grid))
    expected = np.array(
        [scalar_advect(grid, x, y, first, last, 24) for x, y in zip(lon, lat, strict=True)]
    )
    assert np.isfinite(expected).all(axis=1).sum() > 50
    np.testing.assert_allclose(found[0], expected[:, 0], atol=1e-9)
    np.testing.assert_allclose(found[1], expected[:, 1], atol=1e-9)


def test_a_uniform_eastward_flow_carries_along_the_parallel_across_the_date_line():
    grid = Grid.regular(2.0)
    lon, lat = np.array([179.5, 0.0, -120.0]), np.array([0.0, 60.0, -35.5])
    flow = uniform(grid, 1.0, 0.0)
    x, y, path = advect(lon, lat, flow, flow, Domain.of(grid))
    turned = np.rad2deg(SECONDS_PER_DAY / (EARTH_RADIUS * np.cos(np.deg2rad(lat))))
    np.testing.assert_allclose(x, (lon + turned + 180) % 360 - 180, atol=1e-10)
    assert x[0] < -179.0
    np.testing.assert_array_equal(y, lat)
    # Hourly chords of the parallel, which great circles cut short by less than a millionth.
    np.testing.assert_allclose(path, 86.4, rtol=1e-6)
    half = np.deg2rad(turned) / 2
    chord = 2 * KM * np.arcsin(np.cos(np.deg2rad(lat)) * np.sin(half))
    np.testing.assert_allclose(distance(lon, lat, x, y), chord, rtol=1e-9)


def test_solid_body_rotation_brings_every_particle_back_after_a_period():
    days = 10
    errors = []
    for resolution in (4.0, 2.0):
        grid = Grid.regular(resolution)
        flow = rotation(grid, 0.5, days)
        # A band about the tilted equator, so that no particle comes near a pole.
        turn = np.linspace(-np.pi, np.pi, 40, endpoint=False)
        lat = np.arctan(math.tan(0.5) * np.cos(turn))
        lon, lat = np.rad2deg(turn), np.rad2deg(lat)
        x, y, path = lon, lat, np.zeros(lon.size)
        for _ in range(days):
            x, y, length = advect(x, y, flow, flow, Domain.of(grid))
            path += length
        errors.append(distance(lon, lat, x, y).max())
        np.testing.assert_allclose(path, 2 * np.pi * KM, rtol=2 * np.deg2rad(resolution) ** 2)
    # The bilinear currents are of second order.
    assert errors[1] < 40.0
    assert errors[0] / errors[1] == pytest.approx(4.0, rel=0.15)


def test_the_scheme_is_of_fourth_order_in_its_step():
    # Currents linear in latitude, and none across it: bilinear interpolation is exact.
    grid = Grid.regular(1.0, lat=(-30, 30))
    lat = field(grid, lambda lon, lat: lat)
    first = Currents(np.full(lat.shape, 5.0), 1.0 - 0.5 * lat)
    last = Currents(np.full(lat.shape, -4.0), 2.0 + 0.3 * lat)
    start = np.array([10.0]), np.array([3.0])

    def end(step):
        x, y, _ = advect(*start, first, last, Domain.of(grid), 24.0, step * 3600.0)
        return np.array([x[0], y[0]])

    exact = end(0.05)
    errors = [np.abs(end(step) - exact) for step in (6.0, 3.0, 1.5)]
    orders = np.log2([errors[0] / errors[1], errors[1] / errors[2]])
    np.testing.assert_allclose(orders[:, 1], 4.0, atol=0.3)


def test_the_current_between_two_days_is_their_weighted_mean():
    grid = Grid.regular(2.0)
    rest, flow = uniform(grid, 0, 0), uniform(grid, 2.0, 0)
    start = np.array([5.0]), np.array([0.0])
    x, _, _ = advect(*start, rest, flow, Domain.of(grid), hours=24)
    turned = np.rad2deg(0.5 * 2.0 * SECONDS_PER_DAY / EARTH_RADIUS)
    assert x[0] - 5.0 == pytest.approx(turned, rel=1e-12)
    first_half, _, _ = advect(*start, rest, uniform(grid, 1.0, 0), Domain.of(grid), hours=12)
    assert first_half[0] - 5.0 == pytest.approx(turned / 4, rel=1e-12)


def test_land_stops_a_particle_and_what_stands_there_is_not_read():
    grid = Grid.regular(1.0, lat=(-10, 10), lon=(0, 40))
    wet = np.ones((grid.ny, grid.nx), bool)
    wet[:, 20:] = False
    u = np.where(wet, 2.0, np.nan)
    flow = Currents.at_sea(u, np.where(wet, 0.0, 1e20), wet)
    lon, lat = np.array([15.2]), np.array([0.3])
    for _ in range(60):
        lon, lat, _ = advect(lon, lat, flow, flow, Domain.of(grid))
    # Between the last wet centre at 19.5 and the first dry one at 20.5 the current falls to zero.
    assert 20.4 < lon[0] <= 20.5
    assert lat[0] == pytest.approx(0.3)


def test_a_particle_beyond_an_edge_is_gone_for_good():
    grid = Grid.regular(1.0, lat=(-10, 10), lon=(0, 40))
    flow, back = uniform(grid, 2.0, 0), uniform(grid, -2.0, 0)
    lon, lat = np.array([39.0, 5.0, 0.2]), np.array([0.0, 0.0, 9.9])
    x, y, path = advect(lon, lat, flow, flow, Domain.of(grid))
    for found in (x, y, path):
        assert list(np.isnan(found)) == [True, False, False]
    x, _, _ = advect(x, y, back, back, Domain.of(grid))
    assert list(np.isnan(x)) == [True, False, False]


def test_a_particle_that_crosses_the_pole_is_dropped():
    grid = Grid.regular(2.0, lat=(0, 90))
    flow = uniform(grid, 0.0, 2.0)
    _, lat, _ = advect(np.array([3.0, 3.0]), np.array([89.0, 80.0]), flow, flow, Domain.of(grid))
    assert np.isnan(lat[0])
    assert lat[1] == pytest.approx(80.0 + np.rad2deg(2 * SECONDS_PER_DAY / EARTH_RADIUS))


def test_distances_equal_those_of_vectors():
    rng = np.random.default_rng(0)
    lon, lat = rng.uniform(-360, 360, (2, 50)), np.rad2deg(np.arcsin(rng.uniform(-1, 1, (2, 50))))
    a, o = np.deg2rad(lat), np.deg2rad(lon)
    points = np.stack([np.cos(a) * np.cos(o), np.cos(a) * np.sin(o), np.sin(a)])
    across = np.linalg.norm(np.cross(points[:, 0], points[:, 1], axis=0), axis=0)
    angle = np.arctan2(across, (points[:, 0] * points[:, 1]).sum(axis=0))
    np.testing.assert_allclose(distance(lon[0], lat[0], lon[1], lat[1]), KM * angle, rtol=1e-9)
    assert distance(0.0, 0.0, 180.0, 0.0) == pytest.approx(np.pi * KM)


def test_seeds_are_reproducible_wet_and_in_proportion_to_area():
    grid = Grid.regular(10.0)
    wet = np.random.default_rng(4).random((grid.ny, grid.nx)) > 0.4
    lon, lat, cell = seed_particles(grid, wet, 40_000, 7)
    again = seed_particles(grid, wet, 40_000, 7)
    for one, other in zip((lon, lat, cell), again, strict=True):
        np.testing.assert_array_equal(one, other)
    assert not np.array_equal(lon, seed_particles(grid, wet, 40_000, 8)[0])

    j = np.searchsorted(grid.lat_bounds, lat) - 1
    i = np.searchsorted(grid.lon_bounds, lon) - 1
    np.testing.assert_array_equal(j * grid.nx + i, cell)
    assert wet[j, i].all()
    area = np.where(wet, grid.area, 0.0)[wet]
    count = np.bincount(cell, minlength=wet.size).reshape(wet.shape)[wet]
    assert chisquare(count, 40_000 * area / area.sum()).pvalue > 1e-3
    # Uniform within cells: the parts of a cell's area south and west of a particle.
    sine = np.sin(np.deg2rad(grid.lat_bounds))
    parts = (np.sin(np.deg2rad(lat)) - sine[j]) / np.diff(sine)[j], (lon - grid.lon_bounds[i]) / 10
    for part in parts:
        histogram = np.histogram(part, bins=10, range=(0, 1))[0]
        assert chisquare(histogram).pvalue > 1e-3


def test_a_forecast_with_the_currents_of_the_truth_has_no_separation():
    grid = Grid.regular(10.0, depths=(5.0, 50.0))
    rng = np.random.default_rng(0)
    wet = rng.random(grid.shape) > 0.2
    truth = {name: rng.normal(0, 1, (5, *grid.shape)) for name in ("uo", "vo")}
    table = scored(drift, make_case(grid, wet, truth, {"model": truth}), settings())
    assert sorted(table["lead"].unique()) == [1, 2, 3, 4]
    assert set(table["metric"]) == set(drift.METRICS)
    for lead in range(1, 5):
        assert value(table, "separation", lead) == 0.0
        assert value(table, "separation_median", lead) == 0.0
        assert value(table, "path_length", lead) == value(table, "path_length_truth", lead) > 0


def test_separation_and_path_lengths_of_two_uniform_flows_have_a_closed_form():
    grid = Grid.regular(2.0, lat=(-60, 60))
    wet = np.ones(grid.shape, bool)
    truth = currents(grid, lambda lon, lat: 0.6 * np.cos(np.deg2rad(lat)), lambda lon, lat: 0, 4)
    model = {name: 1.5 * x for name, x in truth.items()}
    boxes = {"box": (-20.0, 40.0, 170.0, -150.0)}
    case = make_case(grid, wet, truth, {"model": model, "persistence": truth}, boxes)
    table = scored(drift, case, settings(300, 2, 11))
    assert sorted(table["lead"].unique()) == [1, 2]
    lon, lat, _ = seed_particles(grid, wet[0], 300, 11)
    inside = (lat > -20) & (lat < 40) & ((lon > 170) | (lon < -150))
    # Turning about the axis of the Earth: the same angle everywhere, but for the bilinear cosine.
    turn = 0.6 * SECONDS_PER_DAY / EARTH_RADIUS
    for lead in (1, 2):
        for region, members in (("global", lat < 91), ("box", inside)):
            cosine = np.cos(np.deg2rad(lat[members]))
            apart = 2 * KM * np.arcsin(cosine * np.sin(0.25 * turn * lead))
            assert value(table, "separation", lead, region) == pytest.approx(apart.mean(), rel=2e-4)
            assert value(table, "separation_median", lead, region) == pytest.approx(
                np.median(apart), rel=4e-4
            )
            path = KM * turn * lead * cosine.mean()
            keys = {"lead": lead, "region": region}
            assert value(table, "path_length_truth", **keys) == pytest.approx(path, rel=2e-4)
            assert value(table, "path_length", **keys) == pytest.approx(1.5 * path, rel=2e-4)
            assert value(table, "left", **keys) == 1.0
    assert value(table, "separation", 2, system="persistence") == 0.0


def test_particles_that_left_in_either_flow_count_in_neither():
    grid = Grid.regular(1.0, lat=(-5, 5), lon=(0, 20))
    wet = np.ones(grid.shape, bool)
    truth = currents(grid, lambda lon, lat: -1.0, lambda lon, lat: 0, 6)
    model = currents(grid, lambda lon, lat: 1.0, lambda lon, lat: 0, 6)
    still = currents(grid, lambda lon, lat: 0, lambda lon, lat: 0, 6)
    case = make_case(grid, wet, truth, {"model": model, "still": still})
    table = scored(drift, case, settings(2000, 5, 1))
    lon, lat, _ = seed_particles(grid, wet[0], 2000, 1)
    turn = np.rad2deg(SECONDS_PER_DAY / EARTH_RADIUS) / np.cos(np.deg2rad(lat))
    for lead in range(1, 6):
        west, east = lon - lead * turn >= 0, lon + lead * turn <= 20
        assert value(table, "left", lead) == pytest.approx((west & east).mean(), abs=1e-12)
        assert value(table, "left", lead, system="still") == pytest.approx(west.mean(), abs=1e-12)
        assert value(table, "separation", lead) == pytest.approx(2 * 86.4 * lead, rel=2e-4)
    assert 0.5 < value(table, "left", 5) < 0.7


def test_without_currents_at_lead_zero_all_are_released_a_day_later(caplog):
    grid = Grid.regular(5.0)
    rng = np.random.default_rng(2)
    wet = np.ones(grid.shape, bool)
    truth, model = (
        {name: rng.normal(0, 0.5, (4, *grid.shape)) for name in ("uo", "vo")} for _ in range(2)
    )
    with caplog.at_level(logging.WARNING):
        late = scored(drift, make_case(grid, wet, truth, {"model": model}, first=1), settings())
    assert "begins at lead 1: lead 0 is missing" in caplog.text
    assert late.loc[late["lead"] == 1, "value"].isna().all()
    # The same as a forecast that starts a day later.
    shifted = [{name: x[1:] for name, x in fields.items()} for fields in (truth, model)]
    early = scored(drift, make_case(grid, wet, shifted[0], {"model": shifted[1]}), settings())
    for metric in drift.METRICS:
        for lead in (1, 2):
            assert value(late, metric, lead + 1) == value(early, metric, lead)


def test_a_case_without_currents_and_a_region_without_particles_have_no_values():
    grid = Grid.regular(10.0)
    wet = np.ones(grid.shape, bool)
    zos = {"zos": np.zeros((3, *grid.shape))}
    empty = scored(drift, make_case(grid, wet, zos, {"model": zos}), settings())
    assert len(empty) == 0
    assert list(empty) == ["lead", "region", "variable", "depth", "system", "metric", "value"]
    flow = currents(grid, lambda lon, lat: 1.0, lambda lon, lat: 0, 3)
    case = make_case(grid, wet, flow, {"model": flow}, {"far": (75.0, 80.0, 0.0, 10.0)})
    table = scored(drift, case, settings(5, 2, 0))
    assert table.loc[table["region"] == "far", "value"].isna().all()
    assert table.loc[table["region"] == "global", "value"].notna().all()


def test_averages_over_starts_give_the_ratio_of_mean_lengths(tmp_path):
    grid = Grid.regular(10.0, lat=(-60, 60))
    wet = np.ones(grid.shape, bool)
    chosen = settings(100, 2, 3)
    paths, singles = [], []
    for number, speed in enumerate((0.2, 0.5)):
        truth = currents(grid, lambda lon, lat, u=speed: u, lambda lon, lat: 0, 3)
        model = {name: (1.0 + 3.0 * speed) * x for name, x in truth.items()}
        case = make_case(grid, wet, truth, {"model": model})
        singles.append(scored(drift, case, chosen))
        paths.append(tmp_path / f"{number}.parquet")
        write_parquet(singles[-1], paths[-1])
    table = average(FAMILIES["drift"], paths, BootstrapConfig(samples=20))
    assert set(table["metric"]) == {
        *("separation", "separation_median", "path_length", "path_length_ratio", "left")
    }
    lengths = [
        [value(single, metric, 2) for single in singles]
        for metric in ("path_length", "path_length_truth")
    ]
    expected = sum(lengths[0]) / sum(lengths[1])
    assert expected == pytest.approx((0.2 * 1.6 + 0.5 * 2.5) / 0.7, rel=1e-3)
    assert value(table, "path_length_ratio", 2) == pytest.approx(expected, rel=1e-12)
    both = [value(single, "separation", 2) for single in singles]
    assert value(table, "separation", 2) == pytest.approx(sum(both) / 2)


def test_separations_from_stores_equal_those_of_the_fields_in_them(shared_world):
    world = shared_world
    start = world.config.forecast.first
    case = open_case(world.config, world.layout, start)
    table = scored(drift, case, settings(50, 3, 9))
    assert sorted(table["lead"].unique()) == [1, 2, 3]
    assert list(table["system"].unique()) == list(case.systems)
    lon, lat, _ = seed_particles(world.grid, world.wet[0], 50, 9)
    truth = world.truth["uo"][world.on(start) :, 0], world.truth["vo"][world.on(start) :, 0]
    model = world.forecasts[start]["uo"][:, 0], world.forecasts[start]["vo"][:, 0]
    ends = []
    for u, v in (truth, model):
        x, y = lon, lat
        for lead in range(3):
            first, last = (
                Currents(np.nan_to_num(u[n]), np.nan_to_num(v[n])) for n in (lead, lead + 1)
            )
            x, y, _ = advect(x, y, first, last, Domain.of(world.grid))
        ends.append((x, y))
    apart = distance(*ends[0], *ends[1])
    assert np.isfinite(apart).sum() > 30
    assert value(table, "separation", 3) == pytest.approx(np.nanmean(apart), rel=1e-9)

"""The band along the open edges of a region: its cells, its scores, and their ratio to the rest."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from hybridom.config import narrow
from hybridom.errors import UserError
from hybridom.evaluation.bootstrap import interval, resamples
from hybridom.evaluation.edge_ratio import EDGE_RATIO, LIMIT
from hybridom.evaluation.regions import edge_band, region_weights
from hybridom.evaluation.scores import aggregate, evaluate_start
from hybridom.evaluation.skill import skill_table
from hybridom.evaluation.summary import summary_page
from hybridom.figures import edges_lead
from hybridom.grid import Grid
from hybridom.variables import PROGNOSTIC
from tests.evaluation.in_memory import make_case, scored
from tests.evaluation.regional import make_region

GRIDS = {
    "box": Grid.regular(4.0, (8.0, 48.0), (120.0, 180.0), (5.0, 50.0)),
    "band": Grid.regular(8.0, (-40.0, 40.0), (-180.0, 180.0), (5.0, 50.0)),
    "sector": Grid.regular(10.0, (-90.0, 90.0), (0.0, 100.0), (5.0, 50.0)),
    "cap": Grid.regular(6.0, (30.0, 90.0), (-180.0, 180.0), (5.0, 50.0)),
}


def brute_band(grid, wet, cells):
    """Cells that have a wet cell of an open edge fewer than so many rows and columns away."""
    open_cells = []
    for j in range(grid.ny):
        for i in range(grid.nx):
            south = j == 0 and grid.lat_bounds[0] > -90
            north = j == grid.ny - 1 and grid.lat_bounds[-1] < 90
            side = not grid.periodic and i in (0, grid.nx - 1)
            if wet[0, j, i] and (south or north or side):
                open_cells.append((j, i))
    found = np.zeros((grid.ny, grid.nx), bool)
    for j in range(grid.ny):
        for i in range(grid.nx):
            for row, column in open_cells:
                across = abs(i - column)
                if grid.periodic:
                    across = min(across, grid.nx - across)
                found[j, i] |= max(abs(j - row), across) < cells
    return found


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("cells", [1, 2, 3])
def test_the_band_is_what_loops_over_random_seas_find(name, cells):
    grid = GRIDS[name]
    for seed in range(4):
        wet = np.random.default_rng(seed).random(grid.shape) > 0.35
        wet = np.logical_and.accumulate(wet, axis=0)
        np.testing.assert_array_equal(edge_band(grid, wet, cells), brute_band(grid, wet, cells))


def test_band_and_interior_share_the_water_and_come_before_the_boxes():
    grid, rng = GRIDS["box"], np.random.default_rng(1)
    wet = np.logical_and.accumulate(rng.random(grid.shape) > 0.3, axis=0)
    regions = region_weights(grid, wet, {"a": (8, 30, 120, 150)}, ("kuroshio",), 2)
    assert regions.names == ("global", "edges", "interior", "a", "kuroshio")
    whole, edges, interior = regions.weights[:3]
    np.testing.assert_array_equal(edges + interior, whole)
    assert not (edges * interior).any() and edges.any() and interior.any()
    assert region_weights(grid, wet, {}).names == ("global",)


@pytest.mark.parametrize("name", ["edges", "interior"])
def test_their_names_are_taken(name):
    grid, boxes = GRIDS["box"], {name: (8, 40, 120, 160)}
    for edges in (0, 2):
        with pytest.raises(UserError, match=rf"regions\.{name}: this name is kept .*rename"):
            region_weights(grid, np.ones(grid.shape, bool), boxes, (), edges)


def test_a_grid_without_an_open_edge_is_refused_with_the_numbers():
    globe = Grid.regular(30.0, depths=(5.0,))
    with pytest.raises(UserError, match=r"edges 2: none of the 72 wet columns.*6 x 12 cells"):
        region_weights(globe, np.ones(globe.shape, bool), {}, (), 2)
    basin = np.zeros(GRIDS["box"].shape, bool)
    basin[:, 2:-2, 2:-2] = True
    with pytest.raises(UserError, match=r"edges 1: none of the 66 wet columns"):
        edge_band(GRIDS["box"], basin, 1)


def test_a_band_that_leaves_no_interior_is_refused_with_the_widest_that_does():
    grid = GRIDS["box"]  # 10 rows: the innermost two are 4 cells from an edge
    wet = np.ones(grid.shape, bool)
    with pytest.raises(UserError, match=r"edges 5: all 150 wet columns .* innermost 4 cells") as e:
        region_weights(grid, wet, {}, (), 5)
    assert "to 4 at most" in str(e.value)
    assert region_weights(grid, wet, {}, (), 4).inside[2].sum() == 2 * 7


@pytest.fixture(scope="module")
def region(tmp_path_factory):
    """A region with the scores of two forecasts."""
    world = make_region(tmp_path_factory.mktemp("edges"))
    config = narrow(world.config, "evaluate")
    for start in config.forecast.start_dates():
        evaluate_start(config, world.layout, start)
    aggregate(config, world.layout)
    return world


def rmse_at(world, start, cells, name, lead):
    """RMSE of the model at the surface over some cells."""
    error = world.forecasts[start][name][lead] - world.truth[name][world.on(start) + lead]
    error = error if name == "zos" else error[0]
    area = (cells & world.wet[0]) * world.grid.area
    return np.sqrt(np.nansum(area * error**2) / area.sum())


def test_every_family_has_both_regions(region):
    for family in ("scores", *region.config.evaluation.families):
        table = pd.read_parquet(region.layout.scores(region.config.forecast.first, family))
        assert {"edges", "interior"} <= set(table["region"]), family
    derived = pd.read_parquet(region.layout.table("derived"))
    energy = derived[(derived["variable"] == "ke") & (derived["metric"] == "energy_ratio")]
    assert {"global", "edges", "interior"} <= set(energy["region"])
    ratio = derived[derived["metric"] == EDGE_RATIO]
    assert {"ke", "mlotst"} <= set(ratio["variable"])


def test_the_ratio_is_that_of_the_mean_errors_with_shared_samples(region):
    table = pd.read_parquet(region.layout.scores_parquet)
    found = table[(table["metric"] == EDGE_RATIO) & (table["system"] == "model")]
    assert set(found["region"]) == {"edges"}
    starts, band = region.config.forecast.start_dates(), brute_band(region.grid, region.wet, 1)
    drawn = resamples(len(starts), region.config.evaluation.bootstrap) / len(starts)
    for name, lead in (("thetao", 2), ("zos", 5)):
        outer, inner = (
            np.array([rmse_at(region, start, cells, name, lead) for start in starts])
            for cells in (band, ~band)
        )
        depth = found["depth"].isna() if name == "zos" else found["depth"] == 5.0
        row = found[(found["variable"] == name) & (found["lead"] == lead) & depth]
        assert len(row) == 1
        assert row["value"].item() == pytest.approx(outer.mean() / inner.mean(), rel=1e-6)
        low, high = interval((drawn @ outer) / (drawn @ inner), 0.95)
        assert row["low"].item() == pytest.approx(low, rel=1e-6)
        assert row["high"].item() == pytest.approx(high, rel=1e-6)
        assert row["n_starts"].item() == 2


def test_every_system_variable_level_and_lead_has_its_ratio(region):
    table = pd.read_parquet(region.layout.scores_parquet)
    keys = ["variable", "depth", "lead", "system"]
    of_band = table[(table["region"] == "edges") & (table["metric"] == "rmse_mean")]
    ratio = table[table["metric"] == EDGE_RATIO]
    assert not ratio.duplicated(keys).any()
    pd.testing.assert_frame_equal(
        ratio[keys].sort_values(keys, ignore_index=True),
        of_band[keys].sort_values(keys, ignore_index=True),
    )


def test_without_a_band_there_is_no_ratio(synthetic, shared_world, tmp_path):
    start = shared_world.config.forecast.first
    evaluate_start(shared_world.config, shared_world.layout, start)
    from hybridom.evaluation.averages import average
    from hybridom.evaluation.families import FAMILIES

    path = shared_world.layout.scores(start)
    table = average(FAMILIES["scores"], [path], shared_world.config.evaluation.bootstrap)
    assert EDGE_RATIO not in set(table["metric"])
    assert "Edge band" not in summary_page(table, skill_table(table), "toy", 1)


def ratios(values):
    """A table of scores with the model's and the driver's ratio by lead, and what a page needs."""
    rows = []
    for system, by_lead in values.items():
        for lead, value in by_lead.items():
            keys = {"variable": "thetao", "depth": np.nan, "lead": lead, "system": system}
            more = {"low": value - 0.1, "high": value + 0.1}
            rows.append({**keys, "region": "edges", "metric": EDGE_RATIO, "value": value, **more})
            rows.append({**keys, "region": "global", "metric": "rmse_mean", "value": 1.0, **more})
        rows += [
            {**row, "metric": "skill_driver"}
            for row in rows
            if row["system"] == "model" == system and row["metric"] == "rmse_mean"
        ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("leads", "judged"), [(range(1, 61), 30), (range(1, 11), 10), ((1, 40), 40)]
)
def test_the_page_judges_the_band_at_day_30_or_at_the_last(leads, judged):
    values = {
        "model": {lead: 1.0 + 0.001 * lead for lead in leads},
        "driver": {lead: 1.25 + 0.001 * lead for lead in leads},
    }
    table = ratios(values)
    page = summary_page(table, skill_table(table), "box", 3)
    assert f"at day {judged}," in page and f"bold above {LIMIT:g}" in page
    model, driver = values["model"][judged], values["driver"][judged]
    assert f"<td>{model:.2f} ({model - 0.1:.2f} to {model + 0.1:.2f})</td>" in page
    assert f'<td class="over">{driver:.2f} (' in page
    assert page.count('class="over"') == 1


def test_the_page_of_a_region_has_a_line_a_variable(region):
    page = region.layout.summary.read_text()
    part = page.split("Edge band against interior")[1].split("</table>")[0]
    assert part.count("<tr><th>") == 1 + len(PROGNOSTIC) + 1  # head, and all normalised
    assert "<th>Driver</th>" in part and "I driver" in page


def test_the_line_of_the_figure_is_the_limit_of_the_page():
    assert (edges_lead.LIMIT, edges_lead.EDGE_RATIO) == (LIMIT, EDGE_RATIO)


def test_spectra_of_the_band_are_those_of_its_northern_and_southern_rows():
    """A stretch counts where its centre lies: none of those beside a side edge is in the band."""
    from hybridom.config.output import EvaluationConfig
    from hybridom.evaluation import spectra

    grid = Grid.regular(4.0, (8.0, 48.0), (120.0, 240.0), (5.0,))
    wet, rng = np.ones(grid.shape, bool), np.random.default_rng(2)
    fields = {"zos": rng.normal(size=(2, 1, grid.ny, grid.nx))}
    altered = {"zos": fields["zos"].copy()}
    altered["zos"][:, :, 2:-2] = rng.normal(size=(2, 1, grid.ny - 4, grid.nx))
    settings = EvaluationConfig(spectra={"segment": 40.0})

    def densities(truth):
        case = make_case(grid, wet, truth, {"model": truth}, edges=2)
        table = scored(spectra, case, settings)
        rows = table[(table["system"] == "truth") & (table["metric"] == "psd")]
        return {name: x["value"].to_numpy() for name, x in rows.groupby("region", observed=True)}

    one, other = densities(fields), densities(altered)
    defined = np.isfinite(one["edges"])
    assert defined.any()
    np.testing.assert_array_equal(one["edges"][defined], other["edges"][defined])
    assert not np.allclose(one["interior"][:3], other["interior"][:3])

"""The scorecard: skill over each baseline, and where it is not told apart from none."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from hybridom.errors import UserError
from hybridom.figures import scorecard, style
from hybridom.figures.inputs import read_skill
from hybridom.variables import PROGNOSTIC
from tests.figures import tables


def card(values, low, high, depth=np.nan) -> pd.DataFrame:
    lead = np.arange(1, len(values) + 1)
    return pd.DataFrame({"lead": lead, "depth": depth, "value": values, "low": low, "high": high})


def hatched(axes) -> np.ndarray:
    """Cells of a panel that carry hatches (rows, leads)."""
    cells, marks = axes.collections
    assert marks.get_hatch() == scorecard.HATCH
    found = np.zeros(cells.get_array().shape, bool)
    first = cells.get_coordinates()[0, 0, 0]
    for path in marks.get_paths():
        (west, top), (east, bottom) = path.vertices.min(axis=0), path.vertices.max(axis=0)
        assert bottom == top + 1
        found[int(top), round(west - first) : round(east - first)] = True
    return found


def test_skill_is_in_per_cent_and_unsure_where_its_interval_holds_zero():
    rows = card([0.5, -0.2, 0.1, 0.1], [0.4, -0.3, -0.1, np.nan], [0.6, -0.1, 0.3, np.nan])
    percent, unsure = scorecard.skill_cells(rows)
    np.testing.assert_allclose(percent.to_numpy(), [[50.0, -20.0, 10.0, 10.0]])
    np.testing.assert_array_equal(unsure, [[False, False, True, False]])


def test_the_whole_variable_comes_first_and_then_the_levels():
    rows = pd.concat(
        [card([x], [0.0], [1.0], d) for x, d in ((0.1, 9.0), (0.2, 5.0), (0.3, np.nan))]
    )
    percent, unsure = scorecard.skill_cells(rows)
    np.testing.assert_array_equal(percent.index, [np.nan, 5.0, 9.0])
    np.testing.assert_allclose(percent.to_numpy()[:, 0], [30.0, 20.0, 10.0])
    assert unsure.all()


def test_every_panel_shows_the_skill_of_its_variable_over_its_baseline(scored):
    with style.context():
        figure = scorecard.figure(scored.config, scored.layout)
    table = read_skill(scored.layout)
    baselines = list(scored.config.evaluation.baselines)
    assert len(figure.axes) == len(PROGNOSTIC) * len(baselines) + 1
    for number, axes in enumerate(figure.axes[:-1]):
        variable, baseline = PROGNOSTIC[number // 3], baselines[number % 3]
        rows = table[(table["variable"] == variable) & (table["system"] == baseline)]
        percent, unsure = scorecard.skill_cells(rows)
        cells = axes.collections[0].get_array()
        np.testing.assert_allclose(cells, percent.to_numpy())
        np.testing.assert_array_equal(hatched(axes), unsure)
        assert style.system_name(baseline).lower() in axes.get_title(loc="left")


def test_blue_is_better():
    better, worse = scorecard.COLOURS([0.9, 0.1])[:, :3]
    assert better[2] > 2 * better[0] and worse[0] > 2 * worse[2]


@pytest.mark.parametrize(("levels", "baselines"), [(5, 1), (93, 2)])
def test_it_stays_readable_at_any_number_of_levels(scored, tmp_path, levels, baselines):
    config = scored.config
    grid = config.grid.model_copy(update={"depths": tuple(5.0 + 4.0 * n for n in range(levels))})
    names = config.evaluation.baselines[:baselines]
    evaluation = config.evaluation.model_copy(update={"baselines": names, "regions": {}})
    config = config.model_copy(update={"grid": grid, "evaluation": evaluation})
    layout = type(scored.layout)(config)
    layout.table = lambda family: tmp_path / f"{family}.parquet"
    tables.scores(config).to_parquet(layout.table("scores"))
    with style.context():
        figure = scorecard.figure(config, layout)
        style.save(figure, [tmp_path / "card.png"], 40)
    assert max(figure.get_size_inches()) < 12
    axes = figure.axes[0]
    assert axes.collections[0].get_array().shape[0] == levels + 1
    renderer = FigureCanvasAgg(figure).get_renderer()
    boxes = [label.get_window_extent(renderer) for label in axes.get_yticklabels()]
    assert 6 <= len(boxes) <= 13
    for upper, lower in pairwise(boxes):
        assert lower.y1 < upper.y0 + 0.35 * upper.height  # a box is taller than its digits


def test_a_table_without_skill_is_refused(scored, tmp_path, monkeypatch):
    table = pd.read_parquet(scored.layout.table("scores"))
    table[table["metric"] == "bias"].to_parquet(tmp_path / "scores.parquet")
    monkeypatch.setattr(scored.layout, "table", lambda family: tmp_path / "scores.parquet")
    with pytest.raises(UserError, match="no rows of metric skill_<baseline>"):
        scorecard.figure(scored.config, scored.layout)

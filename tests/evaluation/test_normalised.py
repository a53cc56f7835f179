from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from hybridom.errors import UserError
from hybridom.evaluation.normalised import ALL
from hybridom.evaluation.scores import evaluate_start
from hybridom.variables import PROGNOSTIC


@pytest.fixture(scope="module")
def table(shared_world):
    """Scores of the first start."""
    start = shared_world.config.forecast.first
    evaluate_start(shared_world.config, shared_world.layout, start)
    return pd.read_parquet(shared_world.layout.scores(start))


@pytest.mark.parametrize("system", ["model", "persistence", "damped_persistence"])
@pytest.mark.parametrize("region", ["global", "pacific"])
@pytest.mark.parametrize("metric", ["rmse", "acc_centred", "acc_uncentred"])
def test_all_channels_count_alike_in_units_of_their_own(
    shared_world, table, system, region, metric
):
    keep = (table["system"] == system) & (table["region"] == region) & (table["metric"] == metric)
    rows = table[keep & (table["lead"] == 3)]
    values = []
    for name in PROGNOSTIC:
        channels = rows[rows["variable"] == name]
        if name != "zos":
            channels = channels.dropna(subset="depth").sort_values("depth")
        scale = shared_world.scales[name] if metric == "rmse" else 1.0
        values += list(channels["value"] / scale)
    assert len(values) == 4 * shared_world.grid.nz + 1
    (found,) = rows.loc[rows["variable"] == ALL, "value"]
    assert found == pytest.approx(np.mean(values), rel=1e-12)


def test_there_is_one_row_a_lead_region_system_and_metric(shared_world, table):
    rows = table[table["variable"] == ALL]
    assert len(rows) == 5 * 3 * 4 * 3 and rows["depth"].isna().all()
    climatology = rows[(rows["system"] == "climatology") & (rows["metric"] != "rmse")]
    assert climatology["value"].isna().all()
    assert rows.drop(climatology.index)["value"].notna().all()


def test_statistics_that_are_missing_or_of_another_grid_are_refused(world):
    path, start = world.layout.statistics_file, world.config.forecast.first
    data = xr.load_dataset(path, engine="netcdf4")
    path.unlink()
    with pytest.raises(UserError, match=r"statistics\.nc: the statistics are missing; run"):
        evaluate_start(world.config, world.layout, start)
    path.write_text("something else")
    with pytest.raises(UserError, match=r"statistics\.nc: not a file of statistics"):
        evaluate_start(world.config, world.layout, start)
    path.unlink()
    data.assign_attrs(grid_hash="another").to_netcdf(path)
    with pytest.raises(UserError, match=r"grid hash another found, that of grid\.nc is"):
        evaluate_start(world.config, world.layout, start)

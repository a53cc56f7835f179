"""Section `region` and what goes with it: what a driver needs, and what needs a driver."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path

import pytest

from hybridom.config import DriverForecastsConfig, Period, load, misfit, narrow
from hybridom.errors import UserError

CONFIG = Path(__file__).parents[1] / "config"
REGION = CONFIG / "demo_region.yaml"
DEMO = CONFIG / "demo.yaml"
UNGATED = ["networks.gate.name=none", "networks.correction.name=none"]
NETWORK_ONLY = ["skeleton.enabled=false", *UNGATED]


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("networks.gate.name=resnet", "networks.gate"),
        ("networks.driver=change", "networks.driver"),
        ("training.curriculum=[{days: 1, steps: 1, forecasts: 0.5}]", "training.curriculum"),
        ("evaluation.baselines=[driver]", "evaluation.baselines: driver"),
        ("evaluation.edges=2", "evaluation.edges"),
    ],
)
def test_what_reads_a_driver_is_refused_where_there_is_none(override: str, key: str) -> None:
    with pytest.raises(UserError, match=f"{key}.*there is no driver; add section region"):
        load(DEMO, [override])


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (
            [*NETWORK_ONLY, "networks.driver=none"],
            r"region: nothing reads the driver; set skeleton\.sponge\.width",
        ),
        (["region.driver.experiment=demo_region"], "demo_region cannot drive itself"),
        (["skeleton.enabled=false"], r"networks\.gate: it corrects the fluxes of the skeleton"),
        (
            [*UNGATED, "networks.driver=state", "networks.ilap.name=none"],
            r"networks\.driver: state leaves only the network State; set skeleton\.enabled",
        ),
        (
            [*NETWORK_ONLY, "networks.driver=state"],
            r"state leaves only the network State; set gate\.name",
        ),
        (["networks.gate.name=none"], "belongs to the flux that networks.gate makes"),
        (
            ["networks.gating.base=fine", "networks.correction.name=none"],
            r"gating\.base: fine leaves the region's own flux to correction",
        ),
        (["region.forecasts.days=9"], r"region\.forecasts\.days 9: a window of 10 days"),
        (["region.driver.filed=x"], "did you mean 'file'"),
        (["networks.gating.fine_weight=1"], "less than 1"),
        (["training.curriculum=[{days: 1, steps: 1, forecasts: 1.5}]"], "less than or equal to 1"),
    ],
)
def test_parts_of_a_region_that_do_not_go_together_are_refused(
    overrides: list[str], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        load(REGION, overrides)


def test_a_stage_without_a_region_is_given_none() -> None:
    whole, region = narrow(load(DEMO), "train"), narrow(load(REGION), "train")
    assert whole.region is None and "region" not in whole.as_dict()
    assert region.as_dict()["region"]["driver"]["experiment"] == "demo_coarse"


def test_a_base_may_have_a_base_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "lowest.yaml").write_text(f"base: !include {DEMO}\nexperiment: lowest\n")
    (tmp_path / "middle.yaml").write_text(
        "base: !include lowest.yaml\nexperiment: middle\ntraining: {batch: 7}\n"
    )
    (tmp_path / "top.yaml").write_text("base: !include middle.yaml\ntraining: {seed: 3}\n")
    found, demo = load(tmp_path / "top.yaml"), load(DEMO)
    assert (found.experiment, found.training.batch, found.training.seed) == ("middle", 7, 3)
    assert found.grid == demo.grid and found.training.curriculum == demo.training.curriculum


def test_forecasts_of_the_driver_lie_within_the_period() -> None:
    period = Period(start=dt.date(2001, 1, 1), end=dt.date(2001, 3, 31))
    starts = DriverForecastsConfig(days=20, every=30).starts(period)
    assert starts == [dt.date(2001, 1, 1), dt.date(2001, 1, 31), dt.date(2001, 3, 2)]
    # the last one ends on 22 March; 89 days are one forecast, 90 are none
    assert DriverForecastsConfig(days=89, every=30).starts(period) == [period.start]
    assert DriverForecastsConfig(days=90, every=30).starts(period) == []


LEVELS = (5.0, 50.0, 500.0)


@pytest.mark.parametrize(
    ("box", "outer", "words"),
    [
        (((10, 50), (120, 210)), ((-80, 84), (-180, 180)), None),
        (((10, 50), (-240, -150)), ((-80, 84), (-180, 180)), None),
        (((10, 50), (350, 370)), ((-80, 84), (0, 360)), None),
        (((10, 50), (350, 370)), ((0, 60), (-20, 20)), None),
        (((10, 50), (170, 190)), ((0, 60), (160, 200)), None),
        (((10, 50), (-190, -170)), ((0, 60), (160, 200)), None),
        (((10, 85), (120, 210)), ((-80, 84), (-180, 180)), "from 10 to 85 N, .* from -80 to 84 N"),
        (((-81, 50), (0, 10)), ((-80, 84), (-180, 180)), "from -81 to 50 N"),
        (((10, 50), (150, 201)), ((0, 60), (160, 200)), "from 150 to 201 E, .* from 160 to 200 E"),
        (((10, 50), (170, 201)), ((0, 60), (160, 200)), "from 170 to 201 E"),
        (((10, 50), (159, 190)), ((0, 60), (160, 200)), "from 159 to 190 E"),
    ],
)
def test_a_box_fits_or_the_numbers_are_told(box, outer, words) -> None:
    found = misfit((*box, LEVELS), (*outer, LEVELS))
    assert found is None if words is None else re.search(words, found)


def test_levels_are_those_of_the_driver_or_the_nearest_is_told() -> None:
    box, outer = ((0, 10), (0, 10)), ((-20, 20), (-20, 20))
    assert misfit((*box, (5.0, 500.0)), (*outer, LEVELS)) is None
    assert misfit((*box, (5.0, 504.0)), (*outer, LEVELS)) is None
    found = misfit((*box, (5.0, 60.0)), (*outer, LEVELS))
    assert found.startswith("its level 60 m is none of the driver's 3 levels, the nearest is 50 m")

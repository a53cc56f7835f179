"""What the workflow plans where the raw files are to be fetched."""

from __future__ import annotations

import pytest

from tests.workflow.conftest import Workflow

pytestmark = pytest.mark.slow


@pytest.fixture
def fetching(tmp_path):
    """An empty directory, and a configuration whose periods touch three months."""
    return Workflow(tmp_path, overrides=("source.kind=download",))


def retrievals(plan):
    return {rule: count for rule, count in plan.items() if rule.startswith("retrieve")}


def test_each_month_of_the_periods_is_a_job(fetching):
    plan = fetching.plan("all")
    assert "twin_year" not in plan
    expected = {"retrieve_ocean_month": 3, "retrieve_forcing_month": 3, "retrieve_static": 1}
    assert retrievals(plan) == expected


def test_the_check_of_a_year_waits_for_its_months_and_for_the_first_of_all(fetching):
    # the first day of all defines the grid and the mask that every year is compared with
    for year, months in ((2001, 1), (2002, 3)):
        plan = fetching.plan(str(fetching.layout.check_report(year)))
        assert retrievals(plan) == {
            "retrieve_ocean_month": months,
            "retrieve_forcing_month": months,
            "retrieve_static": 1,
        }


def test_fetched_months_are_not_fetched_again(fetching):
    layout = fetching.layout
    done = [layout.static_download]
    for month in fetching.config.periods.months()[:2]:
        done += [layout.ocean_download(month), layout.forcing_download(month)]
    fetching.succeed(str(layout.stage_config("download")))
    for path in done:
        fetching.path(path).parent.mkdir(parents=True, exist_ok=True)
        fetching.path(path).write_text("{}\n")
    plan = fetching.plan("all", "--rerun-triggers", "mtime")
    assert retrievals(plan) == {"retrieve_ocean_month": 1, "retrieve_forcing_month": 1}

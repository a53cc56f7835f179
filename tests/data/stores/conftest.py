from __future__ import annotations

import pytest

from hybridom.data.stores import write_store
from tests.data.stores.example import Source, contents, make_plan


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """Bytes of the store that nothing interrupted, with its manifest and origin."""
    plan = make_plan(tmp_path_factory.mktemp("whole"))
    write_store(plan, Source(), "whole")
    return contents(plan.path.parent)


@pytest.fixture
def finished(tmp_path):
    """The plan of a store that was just written."""
    plan = make_plan(tmp_path)
    write_store(plan, Source(), "finished")
    return plan

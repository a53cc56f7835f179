from __future__ import annotations

import pytest

from tests.evaluation import synthetic as synthetic_world


@pytest.fixture(scope="session")
def synthetic():
    """The module that writes a small world."""
    return synthetic_world


@pytest.fixture(scope="session")
def shared_world(synthetic, tmp_path_factory):
    """A world that no test alters."""
    return synthetic.make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture
def world(synthetic, tmp_path):
    """A world of the test's own."""
    return synthetic.make_world(tmp_path, starts=1, days=3)

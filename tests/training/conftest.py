from __future__ import annotations

import pytest
import torch

from hybridom.training import loop
from tests.training import world as tiny


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory):
    """The tiny ocean; each test trains under an experiment of its own."""
    return tiny.make_world(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def reference(world):
    """Paths of a run that was never interrupted."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    config, layout = world.config(experiment="reference")
    loop.train(config, layout)
    torch.set_num_threads(threads)
    return layout


@pytest.fixture(autouse=True)
def _one_thread():
    """Small tensors are faster, and sums repeatable, on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)

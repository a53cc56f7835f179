from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from hybridom.training import loop


@pytest.fixture(scope="session")
def tiny() -> ModuleType:
    """The module that writes and reads the tiny ocean."""
    path = Path(__file__).with_name("world.py")
    spec = importlib.util.spec_from_file_location("tiny_world", path)
    assert spec is not None and spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def world(tiny: ModuleType, tmp_path_factory: pytest.TempPathFactory):
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

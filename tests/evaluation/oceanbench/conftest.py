from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def cases():
    """The module that makes small forecasts; make_reference.py uses it under another Python."""
    spec = importlib.util.spec_from_file_location("cases", Path(__file__).parent / "cases.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

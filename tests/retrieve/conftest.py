from __future__ import annotations

import sys

import pytest

from hybridom.layout import Layout
from tests.retrieve.stand_ins import Climate, Marine, download_config


@pytest.fixture
def marine(tmp_path, monkeypatch):
    """The client of the ocean."""
    client = Marine(tmp_path / "remote")
    monkeypatch.setitem(sys.modules, "copernicusmarine", client)
    return client


@pytest.fixture
def climate(monkeypatch):
    """The client of the atmosphere."""
    client = Climate()
    monkeypatch.setitem(sys.modules, "cdsapi", client)
    return client


@pytest.fixture
def pauses(monkeypatch):
    """Seconds that were waited between attempts; nobody waits."""
    seconds: list[float] = []
    monkeypatch.setattr("hybridom.retrieve.clients.time.sleep", seconds.append)
    return seconds


@pytest.fixture
def make(tmp_path):
    """Configuration and paths of a region across the date line."""

    def build(**sections):
        config = download_config(tmp_path, **sections)
        return config, Layout(config)

    return build

from __future__ import annotations

import pytest

from hybridom.data.published import inputs, preparing, writing
from hybridom.data.stores import open_arrays
from hybridom.layout import Layout
from tests.data.published.world import YEARS, make_config, make_stores, published_config


@pytest.fixture(scope="session")
def stores(tmp_path_factory):
    """Stores of two years; no test alters them."""
    return make_stores(make_config(tmp_path_factory.mktemp("stores")))


@pytest.fixture(scope="session")
def exported(stores, tmp_path_factory):
    """Everything exported; no test alters it."""
    output = tmp_path_factory.mktemp("exported")
    with pytest.MonkeyPatch.context() as patch:
        read_whole(patch)
        writing.export_mask(stores.config, stores.layout, output)
        writing.export_climatology(stores.config, stores.layout, output)
        for year in YEARS:
            writing.export_year(stores.config, stores.layout, year, output)
    return output


def read_whole(patch):
    """Read stores into memory: thousands of tiny reads would take most of these tests' time."""

    def whole_arrays(path, names):
        return {name: array[:] for name, array in open_arrays(path, names).items()}

    for module in (inputs, writing):
        patch.setattr(module, "open_arrays", whole_arrays)


@pytest.fixture
def quick_reads(monkeypatch):
    """Stores are read whole."""
    read_whole(monkeypatch)


@pytest.fixture(scope="session")
def prepared_files(exported, tmp_path_factory):
    """The exported files prepared as a source, with winds and with fluxes."""
    found = {}
    for forcing in ("surface3", "fluxes8"):
        config = published_config(tmp_path_factory.mktemp(forcing), exported, forcing)
        layout = Layout(config)
        preparing.prepare_grid_published(config, layout)
        for year in YEARS:
            for kind in ("state", "forcing"):
                preparing.prepare_year_published(config, layout, year, kind)
        found[forcing] = config
    return found

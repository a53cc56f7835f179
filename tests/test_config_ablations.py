"""The files in config/ablations: each differs from its base in what its name says, and builds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hybridom.conditions import Conditions
from hybridom.config import Config, NetworkConfig, load, load_experiments
from hybridom.grid import Grid
from hybridom.normalisation import KINDS
from hybridom.state import Forcing, OceanState
from hybridom.stepper import HybridOM
from hybridom.variables import PROGNOSTIC, VARIABLES

CONFIGS = Path(__file__).parents[1] / "config"
FOLDER = CONFIGS / "ablations"

# What each file changes besides `experiment`, and the parameters that are left of 427850.
CHANGES: dict[str, tuple[dict[str, object], int]] = {
    "network_only": ({"skeleton.enabled": False}, 424682),
    "skeleton_only": ({"networks.ilap.name": "none", "networks.state.name": "none"}, 0),
    "ilap_off": ({"networks.ilap.name": "none"}, 332628),
    "state_off": ({"networks.state.name": "none"}, 95222),
    "spectral_ilap": ({"networks.ilap.name": "spectral"}, 332628),
    "local_attention": (
        {"networks.ilap.attention": "local", "networks.state.attention": "local"},
        427850,
    ),
    "global_attention": (
        {"networks.ilap.attention": "global", "networks.state.attention": "global"},
        427850,
    ),
    "no_mean_field": ({"networks.mean_field": False}, 406385),
    "vorticity_planetary": ({"skeleton.planetary": True}, 427850),
    "vorticity_stretching": ({"skeleton.stretching": True}, 427850),
    "vorticity_wind_stress": ({"skeleton.wind_stress": True}, 427850),
    "vorticity_no_viscosity": ({"skeleton.viscosity": False}, 427850),
    "vorticity_no_advection": ({"skeleton.geostrophic_advection": False}, 427850),
}

# The same of the region of the demo.
REGION_CHANGES: dict[str, dict[str, object]] = {
    "region_nested": {
        "networks.gate.name": "none",
        "networks.correction.name": "none",
        "networks.driver": "none",
    },
    "region_super_resolution": {
        "skeleton.enabled": False,
        "networks.ilap.name": "none",
        "networks.gate.name": "none",
        "networks.correction.name": "none",
        "networks.driver": "state",
    },
}


def flat(values: dict[str, Any], *above: str) -> dict[str, object]:
    """Values by dotted key."""
    found: dict[str, object] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            found |= flat(value, *above, key)
        else:
            found[".".join((*above, key))] = value
    return found


def difference(config: Config, base: Config) -> dict[str, object]:
    """Values in which a configuration differs from its base, by dotted key."""
    ours, theirs = (flat(x.model_dump(mode="json")) for x in (config, base))
    changed = {key: value for key, value in ours.items() if value != theirs[key]}
    # A network of another name has none of the sizes of the one that it replaces.
    for term in ("ilap", "state", "gate", "correction"):
        if f"networks.{term}.name" in changed:
            for key, value in NetworkConfig():
                if key != "name" and ours.get(f"networks.{term}.{key}", value) == value:
                    changed.pop(f"networks.{term}.{key}", None)
    return changed


def build(config: Config, resolution: float = 0.0) -> HybridOM:
    """The model of a configuration; statistics are one."""
    box = config.grid
    grid = Grid.regular(resolution or box.resolution, box.lat, box.lon, box.depths)
    statistics = {}
    for name in (*PROGNOSTIC, *config.forcing_names):
        size = (grid.nz,) if VARIABLES[name].has_depth else ()
        statistics |= {f"{name}_{kind}": torch.ones(size, dtype=torch.float64) for kind in KINDS}
    wet = np.ones(grid.shape, dtype=bool)
    return HybridOM(grid, wet, statistics, config.forcing_names, config.skeleton, config.networks)


def parameters(model: HybridOM) -> int:
    return sum(p.numel() for p in model.parameters())


def day(model: HybridOM) -> OceanState:
    """One day from an ocean that moves, under wind."""
    generator = torch.Generator().manual_seed(0)

    def noise(size: float, *shape: int) -> torch.Tensor:
        return size * torch.randn(shape, generator=generator)

    full, top = (1, *model.grid.shape), (1, *model.grid.shape[1:])
    state = OceanState(
        10 + noise(1.0, *full), 35 + noise(0.1, *full), *(noise(0.01, *full) for _ in "uv"),
        noise(0.05, *top),
    )  # fmt: skip
    air = Forcing({name: noise(5.0, *top) for name in model.forcing_names})
    conditions = Conditions(air, state, air)
    with torch.no_grad():
        return model.step(state, conditions, conditions)


def test_every_file_is_known_here_and_none_shares_results():
    known = {*CHANGES, *REGION_CHANGES, "forcing_surface4"}
    assert {path.stem for path in FOLDER.glob("*.yaml")} == known
    for path in FOLDER.glob("*.yaml"):
        prefix = "demo_" if path.stem in REGION_CHANGES else "ablation_"
        assert load(path).experiment == f"{prefix}{path.stem}"


@pytest.mark.parametrize("name", CHANGES)
def test_a_file_changes_what_its_name_says_and_its_model_steps(name: str) -> None:
    config, base = load(FOLDER / f"{name}.yaml"), load(CONFIGS / "demo.yaml")
    expected, count = CHANGES[name]
    found = difference(config, base)
    assert found == {"experiment": f"ablation_{name}"} | expected

    torch.manual_seed(0)
    model = build(config)
    assert parameters(model) == count
    text = " ".join((FOLDER / f"{name}.yaml").read_text().replace("\n#", "").split())
    if count not in (0, 427850):
        assert f"{count:,}".replace(",", " ") in text
    assert all(x.isfinite().all() for _, x in day(model).items())


@pytest.mark.parametrize("name", REGION_CHANGES)
def test_a_file_of_the_region_is_another_experiment_of_one_run(name: str) -> None:
    files = [CONFIGS / "demo_region.yaml", FOLDER / f"{name}.yaml"]
    base, config = load_experiments(files).values()
    assert difference(config, base) == {"experiment": f"demo_{name}"} | REGION_CHANGES[name]


@pytest.mark.parametrize("name", [n for n in CHANGES if n.startswith("vorticity")])
def test_a_term_of_vorticity_reaches_the_currents_through_the_inversion(name: str) -> None:
    inverted = ["networks.ilap.name=spectral", "networks.state.name=none"]
    models = [
        build(load(path, inverted), 12.0)
        for path in (FOLDER / f"{name}.yaml", CONFIGS / "demo.yaml")
    ]
    ours, theirs = (day(model) for model in models)
    assert not torch.equal(ours.uo, theirs.uo) and not torch.equal(ours.vo, theirs.vo)
    assert torch.equal(ours.thetao, theirs.thetao)


def test_another_forcing_set_has_stores_of_its_own():
    config, base = load(FOLDER / "forcing_surface4.yaml"), load(CONFIGS / "global_05.yaml")
    assert difference(config, base) == {
        "experiment": "ablation_forcing_surface4",
        "grid.name": "global_05_surface4",
        "forcing": "surface4",
    }
    terms = ("ilap", "state")
    small = [f"networks.{term}.{key}=8" for term in terms for key in ("embed", "latent")]
    ours, theirs = (
        build(load(path, [*small, "skeleton.enabled=false"]), 4.0).networks()
        for path in (FOLDER / "forcing_surface4.yaml", CONFIGS / "global_05.yaml")
    )
    for term in terms:  # pressure of both days
        assert ours[term].stem.conv.in_channels == theirs[term].stem.conv.in_channels + 2

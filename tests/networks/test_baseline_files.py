"""The configurations that set the published architectures against the demo."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from hybridom.bench.step import build_case
from hybridom.config import Config, load

CONFIG = Path(__file__).parents[2] / "config"
FILES = sorted((CONFIG / "baselines").glob("*.yaml"))


def parameters(config: Config) -> int:
    model = build_case(config, 1, torch.device("cpu")).model
    return sum(p.numel() for p in model.parameters())


@pytest.fixture(scope="module")
def demo() -> Config:
    return load(CONFIG / "demo.yaml")


def test_every_architecture_has_a_baseline():
    expected = ["afno", "convlstm", "dit", "resnet", "simvp", "unet"]
    assert [path.stem for path in FILES] == expected


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_baseline_differs_from_the_demo_in_its_model_alone(path, demo):
    config = load(path)
    assert config.experiment == f"baseline_{path.stem}"
    assert config.networks.state.name == path.stem and config.networks.ilap.name == "none"
    assert not config.skeleton.enabled
    same = {"experiment": demo.experiment, "skeleton": demo.skeleton, "networks": demo.networks}
    assert config.model_copy(update=same) == demo


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_baseline_is_as_large_as_the_networks_of_the_demo(path, demo):
    count, whole = parameters(load(path)), parameters(demo)
    assert count == pytest.approx(whole, rel=0.15)
    text = path.read_text().replace("# ", "").replace("\n", " ")
    assert f"{count:,} parameters".replace(",", " ") in text
    assert f"{whole:,}".replace(",", " ") in text


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_baseline_steps_the_ocean_and_is_trained_by_it(path):
    case = build_case(load(path, ["training.batch=1"]), 2, torch.device("cpu"))
    with torch.no_grad():
        first = next(iter(case.model.unroll(case.state, case.conditions)))
    assert torch.equal(first.channels(), case.state.channels()), "untrained, the ocean persists"
    case.forward_backward()
    assert all(p.grad.abs().max() > 0 for p in case.model.state.readout.parameters())

"""Norms against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from hybridom.training.distributed import Ranks
from hybridom.training.monitor import Monitor

ALONE = Ranks(0, 1, torch.device("cpu"))


@pytest.fixture
def model() -> nn.ModuleDict:
    torch.manual_seed(1)
    return nn.ModuleDict({"a": nn.Linear(3, 2), "b": nn.Conv2d(2, 2, 3), "other": nn.Linear(2, 2)})


@pytest.fixture
def monitor(model) -> Monitor:
    parts = {name: model[name] for name in ("a", "b")}
    return Monitor(list(model.parameters()), parts, ALONE, sharded=False)


def norm(tensors) -> float:
    return float(np.sqrt(sum((x.detach().double().numpy() ** 2).sum() for x in tensors)))


def test_gradient_norms_are_those_of_all_and_of_each_component(model, monitor) -> None:
    for p in model.parameters():
        p.grad = torch.randn_like(p)
    model["a"].bias.grad = None  # took no part
    found = monitor.gradient_norms().tolist()
    for x, part in zip(found, (model, model["a"], model["b"]), strict=True):
        gradients = [p.grad for p in part.parameters() if p.grad is not None]
        assert x == pytest.approx(norm(gradients), rel=1e-6)
    model["a"].bias.grad = torch.zeros(2)
    whole = nn.utils.get_total_norm([p.grad for p in model.parameters()])
    assert monitor.gradient_norms()[0] == whole


def test_update_ratios_compare_the_change_with_what_was_there(model, monitor) -> None:
    before = {name: [p.detach().clone() for p in model[name].parameters()] for name in "ab"}

    @torch.no_grad()
    def update() -> None:
        for p in model.parameters():
            p.add_(0.1 * torch.randn_like(p))

    found = monitor.update_ratios(update)
    assert list(found) == ["a", "b"]
    for name, old in before.items():
        change = [p.detach() - x for p, x in zip(model[name].parameters(), old, strict=True)]
        assert found[name] == pytest.approx(norm(change) / norm(old), rel=1e-5)

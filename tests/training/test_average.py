from __future__ import annotations

import pytest
import torch
from torch import nn

from hybridom.training.average import Average, decay_at


def test_the_average_follows_its_closed_form() -> None:
    model = nn.Linear(3, 2)
    average = Average(list(model.parameters()), 0.9)
    history, expected = [], None
    for update in range(200):
        with torch.no_grad():
            model.weight.copy_(torch.randn(2, 3))
        history.append(model.weight.detach().double().clone())
        average.update()
        d = 0.0 if update == 0 else min(0.9, (1 + update) / (10 + update))
        expected = history[-1] if expected is None else d * expected + (1 - d) * history[-1]
    assert average.updates == 200
    torch.testing.assert_close(average.weights[0].double(), expected, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(average.weights[0], model.weight)


def test_once_warm_the_decay_is_the_configured_one() -> None:
    assert decay_at(0.9, 0) == pytest.approx(0.1)
    assert decay_at(0.9, 79) < 0.9
    assert decay_at(0.9, 81) == 0.9


def test_a_constant_model_is_its_own_average_whatever_came_before_training() -> None:
    model = nn.Linear(3, 2)
    average = Average(list(model.parameters()), 0.99)
    with torch.no_grad():
        model.weight.fill_(2.0)
    for _ in range(5):
        average.update()
    torch.testing.assert_close(average.weights[0], model.weight.detach())


def test_the_model_holds_the_average_inside_and_its_own_weights_after_an_error_too() -> None:
    model = nn.Linear(3, 2)
    average = Average(list(model.parameters()), 0.5)
    average.update()
    first = [p.detach().clone() for p in model.parameters()]
    places = [p.data_ptr() for p in model.parameters()]
    with torch.no_grad():
        for p in model.parameters():
            p.add_(1.0)
    own = [p.detach().clone() for p in model.parameters()]
    with pytest.raises(KeyError), average.swapped():
        assert all(torch.equal(p, x) for p, x in zip(model.parameters(), first, strict=True))
        raise KeyError
    assert all(torch.equal(p, x) for p, x in zip(model.parameters(), own, strict=True))
    assert all(torch.equal(p, x) for p, x in zip(average.weights, first, strict=True))
    assert [p.data_ptr() for p in model.parameters()] == places

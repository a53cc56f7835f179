"""Time schemes on equations with known solutions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from hybridom.physics.advection import upwind_weights
from hybridom.physics.time_integration import integrate


def pair(*values):
    return tuple(torch.tensor(v, dtype=torch.float64) for v in values)


def decay(y):
    return tuple(-x for x in y)


def logistic(y):
    return tuple(x * (1 - x) for x in y)


def oscillator(y):
    return y[1], -y[0]


CASES = {
    "decay": (decay, (1.0,), lambda t: (math.exp(-t),)),
    "logistic": (logistic, (0.1,), lambda t: (0.1 / (0.1 + 0.9 * math.exp(-t)),)),
    "oscillator": (
        oscillator,
        (1.0, 0.5),
        lambda t: (math.cos(t) + 0.5 * math.sin(t), 0.5 * math.cos(t) - math.sin(t)),
    ),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(
    ("scheme", "offset", "order"), [("ab2", 0.1, 1), ("ab2", 0.0, 2), ("rk3", 0.0, 3)]
)
def test_design_order(case, scheme, offset, order):
    tendency, start, solution = CASES[case]
    errors = []
    for steps in (160, 320, 640):
        y, _ = integrate(tendency, pair(*start), 1.0 / steps, steps, scheme, offset=offset)
        errors.append(max(abs(float(a) - b) for a, b in zip(y, solution(1.0), strict=True)))
    slopes = np.log2(np.array(errors[:-1]) / np.array(errors[1:]))
    assert np.all(np.abs(slopes - order) < 0.05), slopes


@pytest.mark.parametrize("scheme", ["ab2", "rk3"])
def test_n_and_n_steps_are_two_n_bit_for_bit(scheme):
    start = pair(*np.random.default_rng(0).random((2, 50)))
    whole, _ = integrate(oscillator, start, 0.1, 14, scheme)
    half, history = integrate(oscillator, start, 0.1, 7, scheme)
    again, _ = integrate(oscillator, half, 0.1, 7, scheme, history)
    for a, b in zip(whole, again, strict=True):
        assert torch.equal(a, b)
    restarted, _ = integrate(oscillator, half, 0.1, 7, scheme)
    assert torch.equal(restarted[0], whole[0]) == (scheme == "rk3")


@pytest.mark.parametrize("scheme", ["ab2", "rk3"])
def test_n_and_n_steps_of_transport_are_two_n_bit_for_bit(ocean, scheme, transport):
    g = ocean.geometry
    weights = upwind_weights(*ocean.flow(1, 7200.0, 0.4), g)

    def tendency(y):
        return (transport(y[0], weights, g, "tvd"),)

    start = (g.clean(ocean.field(5)),)
    (whole,), _ = integrate(tendency, start, 7200.0, 12, scheme)
    half, history = integrate(tendency, start, 7200.0, 6, scheme)
    (again,), _ = integrate(tendency, half, 7200.0, 6, scheme, history)
    assert torch.equal(whole, again) and not torch.equal(whole, start[0])


def test_first_step_of_adams_bashforth_is_an_euler_step():
    (y,), (history,) = integrate(decay, pair(2.0), 0.1, 1, "ab2")
    assert float(y) == pytest.approx(1.8, abs=1e-15)
    assert float(history) == -2.0


def test_second_step_weights_the_two_tendencies():
    (y,), _ = integrate(decay, pair(2.0), 0.1, 2, "ab2", offset=0.1)
    assert float(y) == pytest.approx(1.8 + 0.1 * (1.6 * -1.8 - 0.6 * -2.0), abs=1e-15)


def test_gradient_passes_through_both_schemes():
    for scheme in ("ab2", "rk3"):
        y = torch.tensor([0.3, 0.7], dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(
            lambda x, s=scheme: integrate(logistic, (x,), 0.2, 6, s)[0][0], (y,)
        )

from __future__ import annotations

import math

import pytest

from hybridom.training.schedule import Schedule, Stage, stages


def test_the_rate_follows_its_closed_form() -> None:
    schedule = Schedule(peak=1e-3, final=1e-5, warmup=10, total=111)
    assert schedule(0) == pytest.approx(1e-4)
    assert schedule(9) == pytest.approx(1e-3)
    assert schedule(10) == pytest.approx(1e-3)
    assert schedule(60) == pytest.approx(0.5 * (1e-3 + 1e-5))
    assert schedule(110) == pytest.approx(1e-5)
    for step in range(10, 111):
        expected = 1e-5 + (1e-3 - 1e-5) * math.cos(math.pi * (step - 10) / 200) ** 2
        assert schedule(step) == pytest.approx(expected)


def test_the_rate_rises_and_then_falls() -> None:
    schedule = Schedule(peak=1.0, final=0.0, warmup=5, total=50)
    rates = [schedule(step) for step in range(50)]
    assert rates[:6] == sorted(rates[:6])
    assert rates[5:] == sorted(rates[5:], reverse=True)


@pytest.mark.parametrize(("warmup", "total"), [(0, 1), (1, 1), (5, 3), (3, 4)])
def test_short_runs_stay_between_zero_and_the_peak(warmup: int, total: int) -> None:
    schedule = Schedule(peak=1.0, final=0.1, warmup=warmup, total=total)
    assert all(0 < schedule(step) <= 1.0 for step in range(total))


def test_stages_lie_end_to_end() -> None:
    assert stages([(1, 400), (3, 150), (5, 60)]) == [
        Stage(0, 1, 0, 400),
        Stage(1, 3, 400, 550),
        Stage(2, 5, 550, 610),
    ]

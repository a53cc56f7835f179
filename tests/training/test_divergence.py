"""The early warning: closed forms of the running mean and its lowest value."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from hybridom import checkpoint
from hybridom.errors import UserError
from hybridom.training import loop
from hybridom.training.divergence import Divergence
from hybridom.training.optimise import Optimisation
from tests.training import world as tiny


def diverging(losses, factor: float, steps: int) -> int | None:
    """First step (from 1) at which the run counts as diverging, by brute force."""
    means = [np.mean(losses[n - steps : n]) for n in range(steps, len(losses) + 1)]
    for n, mean in enumerate(means):
        if mean > factor * min(means[: n + 1]):
            return n + steps
    return None


@pytest.mark.parametrize("seed", [0, 2, 3, 4])
def test_it_is_the_first_mean_beyond_the_factor_times_the_lowest(seed: int) -> None:
    rng = np.random.default_rng(seed)
    losses = np.exp(rng.standard_normal(400).cumsum() * 0.1).tolist()
    watch, found = Divergence(2.0, 7), None
    for step, loss in enumerate(losses, start=1):
        watch.add(loss)
        if found is None and watch.reason():
            found = step
    assert found == diverging(losses, 2.0, 7) and found is not None


def test_a_falling_or_steady_loss_and_a_single_spike_are_no_divergence() -> None:
    watch = Divergence(10.0, 20)
    for step in range(200):
        watch.add(1.0 / (1 + step))
        assert watch.reason() is None
    steady = Divergence(10.0, 20)
    for step in range(100):
        steady.add(150.0 if step == 60 else 1.0)  # mean at most 8.45
        assert steady.reason() is None


def test_the_message_holds_the_numbers() -> None:
    watch = Divergence(2.0, 4)
    for loss in (1.0, 1.0, 1.0, 1.0, 3.0, 3.0, 3.0, 3.0):
        watch.add(loss)
    assert watch.mean == 3.0 and watch.lowest == 1.0
    assert "last 4 steps is 3, more than training.divergence.factor 2" in str(watch.reason())
    assert str(watch.reason()).endswith("curriculum stage, 1")


def test_a_new_stage_may_have_larger_losses() -> None:
    watch = Divergence(2.0, 2)
    for loss in (1.0, 1.0):
        watch.add(loss)
    watch.start_stage()
    for loss in (9.0, 9.0):
        watch.add(loss)
    assert watch.reason() is None and watch.lowest == 9.0


def test_restored_it_goes_on_exactly() -> None:
    losses = np.random.default_rng(3).lognormal(size=60).tolist()
    whole, first, second = Divergence(1.5, 9), Divergence(1.5, 9), Divergence(1.5, 9)
    for loss in losses[:31]:
        whole.add(loss)
        first.add(loss)
    second.restore(first.state())
    for loss in losses[31:]:
        whole.add(loss)
        second.add(loss)
        assert (second.mean, second.lowest) == (whole.mean, whole.lowest)
        assert second.reason() == whole.reason()
    young = Divergence(1.5, 9)
    young.restore(Divergence(1.5, 9).state())
    assert young.mean == math.inf and young.reason() is None


def test_a_run_that_diverges_stops_with_a_checkpoint_until_the_user_decides(
    world, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings = ("training.divergence={factor: 3, steps: 2}", "training.checkpoint.minutes=60")
    settings += ("training.curriculum=[{days: 1, steps: 8}]",)
    config, layout = world.config(*settings, experiment="diverging")
    take_step = Optimisation.take_step
    factors = {4: 10.0, 5: 100.0}

    def exploding(self, batches, step, stop):
        result = take_step(self, batches, step, stop)
        return replace(result, loss=result.loss * factors.get(step, 1.0))

    monkeypatch.setattr(Optimisation, "take_step", exploding)
    with pytest.raises(UserError, match="mean loss of the last 2 steps") as caught:
        loop.train(config, layout)
    message = str(caught.value)
    assert "\n" not in message and "training.divergence.factor 3 times" in message
    assert message.startswith("training step 5: the mean loss")
    path = layout.checkpoints_dir / "step_000000005.pt"
    assert f"training.start_from={path}" in message and path.exists()
    assert "training step 5: the mean loss" in tiny.contents(path)["stopped"]
    rows = tiny.losses(layout.checkpoints_dir / "metrics.csv")
    assert [row[0] for row in rows] == ["1", "2", "3", "4", "5"]

    # started again as it is, it takes no step and says the same
    before = path.read_bytes()
    with pytest.raises(UserError) as again:
        loop.train(config, layout)
    assert str(again.value) == message
    assert "saved when training stopped: training step 5: the mean loss" in caplog.text
    assert [p.name for p in layout.checkpoints_dir.glob("step*.pt")] == [path.name]
    assert path.read_bytes() == before

    # the user says that it may go on
    config, _ = world.config(*settings, "training.divergence.factor=1e6", experiment="diverging")
    loop.train(config, layout)
    assert checkpoint.load_model(layout.checkpoint)
    last = tiny.contents(layout.checkpoints_dir / "step_000000008.pt")
    assert last["stopped"] is None and last["progress"]["step"] == 8

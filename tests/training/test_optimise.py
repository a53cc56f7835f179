"""Single steps on the tiny ocean."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch

from hybridom.config import narrow
from hybridom.errors import UserError
from hybridom.training import loop
from hybridom.training.distributed import Ranks
from hybridom.training.optimise import NotFinite, Optimisation, draw
from hybridom.training.stop import GO_ON, SAVE, STOP

ALONE = Ranks(0, 1, torch.device("cpu"))
FILE = Path("given.pt")


@pytest.fixture
def prepared(world):
    """An optimisation, and batches for its steps."""
    return prepare(world)


def prepare(world, *overrides: str):
    config, layout = world.config("training.ema=0.9", *overrides, experiment="steps")
    trainer = loop.Trainer(narrow(config, "train"), layout, ALONE)
    trainer.windows.open()
    assert trainer.optimisation is not None
    return trainer.optimisation, trainer.windows.batches(trainer.stages[0], 0, 0)


def weights(optimisation: Optimisation) -> dict[str, torch.Tensor]:
    return {name: x.clone() for name, x in optimisation.weights(averaged=False).items()}


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(x, b[name]) for name, x in a.items())


def test_a_step_reports_norms_ratios_waiting_and_requests(prepared) -> None:
    optimisation, batches = prepared
    before = weights(optimisation)
    result = optimisation.take_step(batches, 0, SAVE)
    after = weights(optimisation)
    assert (result.stop, optimisation.take_step(batches, 1, STOP).stop) == (SAVE, STOP)
    assert optimisation.take_step(batches, 2, GO_ON).stop == GO_ON
    assert set(result.gradient_norms) == set(result.update_ratios) == {"ilap", "state"}
    squares = sum(x**2 for x in result.gradient_norms.values())
    assert result.gradient_norm == pytest.approx(squares**0.5, rel=1e-6)
    for name, ratio in result.update_ratios.items():
        mine = [key for key in before if key.startswith(f"{name}.")]
        old = torch.cat([before[key].flatten() for key in mine])
        new = torch.cat([after[key].flatten() for key in mine])
        assert ratio == pytest.approx(float((new - old).norm() / old.norm()), rel=1e-4)
    assert result.wait > 0


def test_seeds_belong_to_chunks_of_the_batch(world, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many processes share a batch, each of its chunks drops the same paths."""
    optimisation, batches = prepare(world, "training.accumulate=2")
    seeds: list[int] = []

    def seeds_of(step: int, *ranks: Ranks) -> list[int]:
        seeds.clear()
        with monkeypatch.context() as patch:
            patch.setattr(torch, "manual_seed", seeds.append)
            for optimisation.ranks in ranks:
                optimisation._accumulate_gradients(batches, step)
        return list(seeds)

    first, second = seeds_of(0, ALONE), seeds_of(1, ALONE)
    assert len({*first, *second}) == 4
    two = seeds_of(0, *(Ranks(rank, 2, ALONE.device) for rank in range(2)))
    assert [two[0], two[2]] == first and len(set(two)) == 4


def test_waiting_is_the_time_spent_on_batches(prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    optimisation, batches = prepared
    clock = iter([10.0, 13.5])
    monkeypatch.setattr("hybridom.training.optimise.time.perf_counter", lambda: next(clock))
    assert optimisation.take_step(batches, 0, GO_ON).wait == 3.5


class Broken(torch.utils.data.Dataset):
    """A window that cannot be read, or whose loader process is killed."""

    def __init__(self, killed: bool) -> None:
        self.killed = killed

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> int:
        if self.killed:
            os.kill(os.getpid(), signal.SIGKILL)
        raise UserError("2001.zarr: unreadable; fetch it again")


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_window_is_one_line(workers: int) -> None:
    batches = iter(torch.utils.data.DataLoader(Broken(False), num_workers=workers))
    with pytest.raises(UserError, match=r"^2001\.zarr: unreadable; fetch it again$"):
        draw(batches)


def test_a_killed_loader_process_is_one_line() -> None:
    batches = iter(torch.utils.data.DataLoader(Broken(True), num_workers=1))
    with pytest.raises(UserError, match=r"^training: a loader process was killed.*num_workers"):
        draw(batches)


def test_gradients_are_clipped_but_reported_as_they_were(world) -> None:
    free, batches = prepare(world)
    found = free.take_step(batches, 0, GO_ON)
    clipped, batches = prepare(world, "training.clip=1e-3")
    result = clipped.take_step(batches, 0, GO_ON)
    assert result.gradient_norm == found.gradient_norm > 1e-3
    gradients = [p.grad for p in clipped.parameters.values()]
    assert float(torch.nn.utils.get_total_norm(gradients)) == pytest.approx(1e-3, rel=1e-4)


@pytest.mark.parametrize("what", ["the loss is nan", "the gradient norm is inf"])
def test_nothing_changes_where_a_number_is_not_finite(prepared, what: str) -> None:
    optimisation, batches = prepared
    optimisation.take_step(batches, 0, GO_ON)
    before = weights(optimisation)
    averages = [x.clone() for x in optimisation.average.weights]
    if "loss" in what:
        batch = next(batches)
        batch.state.uo.mul_(float("nan"))
        batches = iter([batch])
    else:
        first = next(iter(optimisation.parameters.values()))
        first.register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(NotFinite, match=f"training step 2: {what}"):
        optimisation.take_step(batches, 1, GO_ON)
    assert equal(weights(optimisation), before)
    assert all(map(torch.equal, averages, optimisation.average.weights))


def test_averaged_weights_are_lent_to_the_model(prepared) -> None:
    optimisation, batches = prepared
    for step in range(3):
        optimisation.take_step(batches, step, GO_ON)
    own, averaged = weights(optimisation), optimisation.weights(averaged=True)
    averaged = {name: x.clone() for name, x in averaged.items()}
    assert not equal(own, averaged)
    with pytest.raises(KeyError), optimisation.averaged() as model:
        assert model is optimisation.model and equal(dict(model.state_dict()), averaged)
        raise KeyError
    assert equal(weights(optimisation), own)


def test_without_an_average_the_weights_stand_for_it(world) -> None:
    optimisation, batches = prepare(world, "training.ema=0")
    optimisation.take_step(batches, 0, GO_ON)
    with optimisation.averaged() as model:
        assert equal(dict(model.state_dict()), weights(optimisation))
    assert equal(optimisation.weights(averaged=True), weights(optimisation))
    assert optimisation.state()["average"] is None


def test_a_restored_state_goes_on_bit_for_bit(world, tmp_path: Path) -> None:
    first, batches = prepare(world, "training.loss.dynamic=true")
    for step in range(2):
        first.take_step(batches, step, GO_ON)
    torch.save({"model": first.weights(averaged=False), **first.state()}, tmp_path / "kept")
    second, others = prepare(world, "training.loss.dynamic=true")
    for _ in range(2):
        next(others)
    second.restore(torch.load(tmp_path / "kept", weights_only=True), FILE)
    a, b = first.take_step(batches, 2, GO_ON), second.take_step(others, 2, GO_ON)
    assert (a.loss, a.errors, a.gradient_norm) == (b.loss, b.errors, b.gradient_norm)
    assert equal(weights(first), weights(second))
    assert equal(first.weights(averaged=True), second.weights(averaged=True))


def test_a_run_starts_from_given_weights_alone(world) -> None:
    first, batches = prepare(world)
    first.take_step(batches, 0, GO_ON)
    given = weights(first)
    second, _ = prepare(world)
    second.start_from(given, FILE)
    assert equal(weights(second), given)
    assert equal(second.weights(averaged=True), given)
    assert second.average.updates == 0 and not second.state()["optimiser"]["state"]
    name = next(name for name in given if name.startswith("state."))
    with pytest.raises(UserError, match=rf"given\.pt: .*{name}"):
        second.start_from({key: x for key, x in given.items() if key != name}, FILE)

from __future__ import annotations

from dataclasses import replace

import pytest

from hybridom.training.sampler import StreamSampler, chunk_seed

BASE = StreamSampler(
    windows=23,
    batch=2,
    accumulate=1,
    rank=0,
    ranks=1,
    seed=5,
    stage=0,
    position=0,
    steps=60,
)


def flat(batches: list[list[int]]) -> list[int]:
    return [window for batch in batches for window in batch]


def test_every_epoch_visits_every_window_once_in_its_own_order() -> None:
    stream = flat(list(BASE))
    epochs = [stream[first : first + 23] for first in range(0, 115, 23)]
    assert all(sorted(epoch) == list(range(23)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == len(epochs)


def test_all_batches_are_whole_although_the_epoch_is_no_multiple_of_them() -> None:
    assert {len(batch) for batch in BASE} == {2}
    assert len(list(BASE)) == len(BASE) == 60


@pytest.mark.parametrize("done", [1, 11, 12, 40])
def test_a_stream_restored_in_the_middle_of_an_epoch_goes_on_as_if_never_stopped(
    done: int,
) -> None:
    rest = replace(BASE, position=done * BASE.global_batch, steps=60 - done)
    assert list(rest) == list(BASE)[done:]


@pytest.mark.parametrize(("ranks", "accumulate"), [(2, 2), (4, 1), (1, 4)])
def test_ranks_and_accumulation_share_the_same_global_batches(ranks: int, accumulate: int) -> None:
    shape = {"ranks": ranks, "accumulate": accumulate, "steps": 20}
    shares = [list(replace(BASE, rank=rank, **shape)) for rank in range(ranks)]
    assert len({len(share) for share in shares}) == 1
    alone = list(replace(BASE, accumulate=4, steps=20))
    for step in range(20):
        together = [
            shares[rank][step * accumulate + micro]
            for micro in range(accumulate)
            for rank in range(ranks)
        ]
        assert together == alone[4 * step : 4 * step + 4]


def test_another_number_of_ranks_goes_on_in_the_same_order() -> None:
    alone = flat(list(BASE))
    position = 14
    two = [list(replace(BASE, rank=r, ranks=2, position=position, steps=5)) for r in (0, 1)]
    together = flat([batch for pair in zip(*two, strict=True) for batch in pair])
    assert together == alone[position : position + 20]


def test_seed_and_stage_change_the_order() -> None:
    orders = {tuple(flat(list(replace(BASE, **c)))) for c in ({}, {"seed": 6}, {"stage": 1})}
    assert len(orders) == 3


def test_a_data_set_smaller_than_the_batch_is_repeated_evenly() -> None:
    stream = flat(list(replace(BASE, windows=3, batch=5, steps=6)))
    assert all(stream.count(window) == 10 for window in range(3))


def test_seeds_of_random_layers_differ_by_step_and_chunk() -> None:
    seeds = {chunk_seed(s, step, c) for s in (0, 1) for step in range(50) for c in range(4)}
    assert len(seeds) == 400
    assert chunk_seed(0, 3, 1) == chunk_seed(0, 3, 1)
    assert all(0 <= seed < 2**63 for seed in seeds)

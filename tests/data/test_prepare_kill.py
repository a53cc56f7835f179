"""Preparation that is killed again and again, as a user's or a batch system's kill does it."""

from __future__ import annotations

import datetime as dt
import json
import random
import signal
import time

import pytest
import yaml

from hybridom.data.prepare import prepare_grid
from hybridom.layout import Layout
from tests.data import raw
from tests.data.preparing import STAGES, chunk_times, contents, write_forcing_days
from tests.warm import server

START, DAYS, YEAR = dt.date(2001, 3, 1), 90, 2001
EVERY = [START + dt.timedelta(number) for number in range(DAYS)]
KILLS, EARLY = 14, 3  # so many in a row, of which some before anything is written
LONGEST = 60.0  # s that any step may take


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Raw files that no test alters."""
    root = tmp_path_factory.mktemp("killed")
    raw.write_ocean_days(root / "ocean", START, DAYS)
    write_forcing_days(root / "forcing", EVERY)
    return root


def configured(root, resources):
    """A configuration that writes to `resources`, its paths, and its file; the grid is made."""
    ends = [str(EVERY[number]) for number in (0, 49, 50, 69, 70, DAYS - 1)]
    paths = {"resources": str(resources), "results": str(resources / "results")}
    config = raw.raw_config(root, *zip(ends[::2], ends[1::2], strict=True), paths=paths)
    layout = Layout(config)
    prepare_grid(config, layout)
    file = resources / "config.yaml"
    file.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    return config, layout, file


def started(kind, file):
    """The command as a process of its own, at work on one core, and what it prints."""
    threads = ["--threads", "1"] if kind == "state" else []
    command = ["prepare", kind, "--config", str(file), *threads]
    log = file.with_suffix(".log")
    log.unlink(missing_ok=True)
    imported = ("hybridom.cli", "hybridom.data.prepare", "dask")
    return server(*imported).start("hybridom", command, log), log


def labels(journal):
    """Slabs whose line in the journal is whole."""
    if not journal.exists():
        return []
    return [json.loads(line)["slab"] for line in journal.read_bytes().split(b"\n")[:-1]]


def killed(job, log, moment):
    """Kill a job as soon as `moment` holds and a few random milliseconds later."""
    limit = time.monotonic() + LONGEST
    while not moment():
        assert job.running(), log.read_text()
        assert time.monotonic() < limit
        time.sleep(0.001)
    time.sleep(random.uniform(0, 0.01))
    job.send(signal.SIGKILL)
    assert job.wait() == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["state", "forcing"])
def test_killed_at_random_moments_it_ends_with_the_same_bytes_and_makes_no_day_twice(
    root, tmp_path, kind
):
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")  # shown where the test fails
    random.seed(seed)
    for name in ("whole", "parts"):
        (tmp_path / name).mkdir()
    config, layout, _ = configured(root, tmp_path / "whole")
    STAGES[kind](config, layout, YEAR)
    expected = contents(layout.resources_dir / kind)

    _, layout, file = configured(root, tmp_path / "parts")
    store = layout.state_store(YEAR) if kind == "state" else layout.forcing_store(YEAR)
    journal = store.with_name(store.name + ".journal")
    partial = store.with_name(store.name + ".partial")
    seen, when = [], {}
    for number in range(KILLS):
        job = started(kind, file)
        if number < EARLY:
            until = time.monotonic() + random.uniform(0, 0.6)
            killed(*job, lambda until=until: time.monotonic() >= until)
        else:
            more = len(seen) + random.randint(0, 3)
            killed(*job, lambda more=more: len(labels(journal)) >= max(more, 1))
        assert not store.exists() and not store.with_suffix(".json").exists()
        now, times = labels(journal), chunk_times(partial)
        assert len(set(now)) == len(now) and set(seen) <= set(now)
        rows = {str(day): row for row, day in enumerate(EVERY)}
        kept = {key: times[key] for key in times if key[1] in {rows[day] for day in now}}
        assert {key: kept[key] for key in when} == when
        seen, when = now, kept
    assert 0 < len(seen) < DAYS

    job, log = started(kind, file)
    assert job.wait(LONGEST) == 0, log.read_text()
    assert f"{len(seen)} of {DAYS} slabs are kept" in log.read_text()
    times = chunk_times(store)
    assert {key: times[key] for key in when} == when
    assert contents(layout.resources_dir / kind) == expected
    assert not partial.exists() and not journal.exists()

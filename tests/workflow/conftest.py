"""The workflow, run in temporary directories on config/test.yaml."""

from __future__ import annotations

import re
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from hybridom.config import Config, load
from hybridom.layout import Layout
from tests.shared import made_once
from tests.warm import SNAKEMAKE, hybridom_folder, server

ROOT = Path(__file__).parents[2]
# Checkpoints often enough for a killed training to find one; one format is enough here.
OVERRIDES = ("training.checkpoint.minutes=0.02", "figures.formats=[png]")


@dataclass(frozen=True)
class Workflow:
    """Snakemake in one working directory.

    Attributes:
        directory: Where resources and results go.
        base: Configuration file, relative to the root of the project.
        overrides: Texts that every command gets.
        commands: Folder whose programs the jobs find first.
    """

    directory: Path
    base: str = "config/test.yaml"
    overrides: tuple[str, ...] = OVERRIDES
    commands: Path | None = None

    @property
    def config(self) -> Config:
        return load(ROOT / self.base, self.overrides)

    @property
    def layout(self) -> Layout:
        return Layout(self.config)

    def path(self, relative: Path) -> Path:
        """A path of the layout in this directory."""
        return self.directory / relative

    def command(
        self, *options: str, overrides: Sequence[str] = (), nested: Sequence[str] = ()
    ) -> list[str]:
        """Arguments of `snakemake`; what a user types but for the directory.

        Args:
            options: Options and targets.
            overrides: Texts for `--config set=...`.
            nested: Values for `--config` as Snakemake reads them, such as `training={batch: 2}`.
        """
        settings = [f"base={self.base}"]
        if texts := [*self.overrides, *overrides]:
            # Snakemake takes away a quotation mark at the very end
            settings.append(f"set={shlex.join(texts)} ")
        run = ["--cores", "2", *options, "--directory", str(self.directory)]
        return [*run, "--config", *settings, *nested]

    def run(self, *options: str, **settings: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run to the end; stdout holds both streams."""
        words = self.command(*options, **settings)
        return server(*SNAKEMAKE).run("snakemake", words, self.commands)

    def succeed(self, *options: str, **settings: Sequence[str]) -> str:
        """Run to the end and return what was printed; the test fails if the run does."""
        done = self.run(*options, **settings)
        assert done.returncode == 0, done.stdout[-6000:]
        return done.stdout

    def plan(self, *options: str, **settings: Sequence[str]) -> dict[str, int]:
        """Number of jobs by rule that a run would do, without `all`."""
        return self.jobs(self.succeed("--dry-run", *options, **settings))

    @staticmethod
    def jobs(plan: str) -> dict[str, int]:
        """Number of jobs by rule in what a dry run printed, without `all`."""
        rows = re.findall(r"^([a-z]\w+) +(\d+)$", plan, flags=re.MULTILINE)
        return {rule: int(count) for rule, count in rows if rule not in ("all", "total")}

    def kill_when(self, ready: Callable[[], bool], *targets: str, group: bool = True) -> None:
        """Start, wait until `ready`, and kill with SIGKILL.

        Args:
            ready: Whether the moment has come.
            targets: What to make.
            group: Kill the jobs too; otherwise Snakemake alone dies and the jobs are orphans.
        """
        words = self.command(*targets)
        run = server(*SNAKEMAKE).start("snakemake", words, session=True, commands=self.commands)
        while not ready():
            assert run.running(), "the run ended before it could be killed"
            time.sleep(0.02)
        run.send(signal.SIGKILL, group=group)
        run.wait()


@pytest.fixture(scope="session")
def commands() -> Iterator[Path]:
    """A folder with a `hybridom` that starts at once."""
    with hybridom_folder() as folder:
        yield folder


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Workflow:
    """A run that was never interrupted, one for all workers. Do not change it: copy it."""

    def make(root: Path) -> None:
        Workflow(root, commands=request.getfixturevalue("commands")).succeed("all")

    return Workflow(made_once(tmp_path_factory, "finished", make))


@pytest.fixture
def copied(finished: Workflow, tmp_path: Path) -> Workflow:
    """A copy of the finished run's files, to be changed."""
    directory = tmp_path / "copied"
    # what Snakemake keeps may come and go: another worker may be planning over the finished run
    shutil.copytree(finished.directory, directory, ignore=shutil.ignore_patterns(".snakemake"))
    return Workflow(directory)


@pytest.fixture
def seen(finished: Workflow, tmp_path: Path) -> Workflow:
    """A copy of what Snakemake sees of the finished run: manifests without their stores."""
    directory = tmp_path / "seen"
    stores = shutil.ignore_patterns("*.zarr", "mercator*.nc", "era5*.nc", "restart")
    shutil.copytree(finished.directory, directory, ignore=stores)
    return Workflow(directory)


@pytest.fixture
def fresh(tmp_path: Path) -> Workflow:
    """An empty directory."""
    directory = tmp_path / "fresh"
    directory.mkdir()
    return Workflow(directory)

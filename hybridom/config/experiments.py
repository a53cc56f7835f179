"""Several experiments in one run: seeds and ablations that share data, dates and scores."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from hybridom.config.differences import differences
from hybridom.config.files import load
from hybridom.config.root import Config
from hybridom.errors import UserError

# All that is made once for a run; the rest is what experiments may differ in.
OWN = {"experiment", "skeleton", "networks", "training"}
# Experiments ask the cluster for the same nodes, as jobs of one rule and of one array do.
ALIKE = ("training", "ranks")


def load_experiments(
    files: Sequence[str | Path], overrides: Iterable[str] = (), seeds: Sequence[int] = ()
) -> dict[str, Config]:
    """The experiments of one run by name, each file with each seed.

    Args:
        files: Configuration files.
        overrides: Texts such as `training.batch=2`, for all of them.
        seeds: Values of `training.seed`; each makes an experiment `<experiment>_seed<seed>`. None:
            the experiments as the files have them.

    Raises:
        UserError: As `load`; two experiments have the same name, or differ in what they share.
    """
    overrides = list(overrides)
    loaded: dict[str, Config] = {}
    origins: dict[str, str] = {}
    for path in files:
        plain = load(path, overrides)
        named = [_with_seed(plain, path, overrides, seed) for seed in seeds]
        for name, config in named or [(plain.experiment, plain)]:
            if name in loaded:
                raise UserError(
                    f"{path}: experiment {name!r} is that of {origins[name]} too; experiments of "
                    "one run need names and seeds of their own"
                )
            loaded[name], origins[name] = config, str(path)
    first, *others = loaded
    for name in others:
        _require_shared(loaded[first], loaded[name], origins[first], origins[name])
    return loaded


def _with_seed(
    plain: Config, path: str | Path, overrides: list[str], seed: int
) -> tuple[str, Config]:
    name = f"{plain.experiment}_seed{seed}"
    return name, load(path, [*overrides, f"training.seed={seed}", f"experiment={name}"])


def _require_shared(one: Config, other: Config, file: str, path: str) -> None:
    """Make sure that two experiments can be one run.

    Raises:
        UserError: They differ in a section that is made once for all.
    """
    section, entry = ALIKE
    left, right = (
        {
            **x.model_dump(mode="json", exclude=OWN),
            section: {entry: getattr(getattr(x, section), entry)},
        }
        for x in (one, other)
    )
    differ = list(differences(left, right))
    if differ:
        key, ours, theirs = differ[0]
        raise UserError(
            f"{path}: {key} is {theirs!r}, in {file} {ours!r}; experiments of one run may differ "
            f"in {', '.join(sorted(OWN))} alone: run this one by itself"
        )

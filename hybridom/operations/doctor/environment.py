"""Python, packages, commands, and whether the package is that of this clone."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import hybridom
from hybridom.config import Config
from hybridom.operations.doctor import places
from hybridom.operations.doctor.findings import Case, Checks, Finding, fail, ok, warn

PACKAGE = Path(hybridom.__file__).parent
COMMANDS = ("hybridom", "snakemake", "torchrun")


def checks(case: Case) -> Checks:
    """The checks of this group."""
    return (
        ("Python", python),
        ("packages", packages),
        ("PyTorch", torch_build),
        ("commands", commands),
        ("package", package),
        ("Numba's cache", numba_cache),
    )


def python(case: Case) -> Iterator[Finding]:
    """Whether this Python is one that the project is made for."""
    from packaging.specifiers import SpecifierSet

    version = ".".join(map(str, sys.version_info[:3]))
    expected = str(metadata.metadata("hybridom")["Requires-Python"])
    if SpecifierSet(expected).contains(version):
        yield ok("Python", f"{version} ({sys.executable})")
    else:
        yield fail(
            "Python",
            f"{version}, expected {expected}",
            "make an environment with such a Python and install the package there",
        )


def packages(case: Case) -> Iterator[Finding]:
    """Whether what is installed lies within the ranges of the project's metadata."""
    for extra in ("", *extras(case.config)):
        name = f"packages [{extra}]" if extra else "packages"
        number, wrong = requirements(extra)
        what = f"hybridom[{extra}]" if extra else "hybridom"
        if wrong:
            yield fail(name, ", ".join(wrong), f"run pip install '{what}' or renew the environment")
        else:
            yield ok(name, f"{number} installed, each within its range")
    clone = clone_here()
    if clone is not None and (changed := changed_requirements(clone / "pyproject.toml")):
        yield warn(
            "packages",
            f"since it was installed the clone asks for others: {', '.join(changed)}",
            "run pip install -e . in the clone",
        )


def extras(config: Config) -> list[str]:
    """Optional parts of the installation that a configuration uses; `download` is checked apart."""
    used = []
    manifest = Case(config, Path(), Path()).layout.twin_manifest
    if config.source.kind == "twin" and not all(manifest(y).exists() for y in config.twin.years):
        used.append("twin")
    if config.training.tracking.wandb.mode != "off":
        used.append("wandb")
    return used


def requirements(extra: str) -> tuple[int, list[str]]:
    """How many packages the installation with `extra` needs beyond that without, and what is wrong
    with which of them."""
    from packaging.requirements import Requirement

    wrong, number = [], 0
    for text in metadata.requires("hybridom") or ():
        wanted = Requirement(text)
        marker = wanted.marker
        plain = marker is None or marker.evaluate({"extra": ""})
        if plain if extra else not plain:
            continue
        if extra and marker is not None and not marker.evaluate({"extra": extra}):
            continue
        number += 1
        try:
            version = metadata.version(wanted.name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{wanted.name} is not installed")
            continue
        if not wanted.specifier.contains(version, prereleases=True):
            wrong.append(f"{wanted.name} is {version}, expected {wanted.specifier}")
    return number, wrong


def changed_requirements(file: Path) -> list[str]:
    """Names of packages for which a `pyproject.toml` asks otherwise than the metadata of the
    installation do."""
    import tomllib

    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    def key(text: str) -> tuple[str, str]:
        wanted = Requirement(text)
        return canonicalize_name(wanted.name), str(wanted.specifier)

    project = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
    installed = {key(text) for text in metadata.requires("hybridom") or () if "extra" not in text}
    return sorted({name for name, _ in installed ^ {key(t) for t in project["dependencies"]}})


def torch_build(case: Case) -> Iterator[Finding]:
    """What PyTorch was built for."""
    import torch

    cuda = torch.version.cuda
    yield ok("PyTorch", f"{torch.__version__}, built for {f'CUDA {cuda}' if cuda else 'the CPU'}")


def commands(case: Case) -> Iterator[Finding]:
    """Whether the commands of the rules lie beside this Python, where the rules look first."""
    folder = Path(sys.executable).parent
    missing = [name for name in COMMANDS if shutil.which(name, path=str(folder)) is None]
    if missing:
        yield fail(
            "commands",
            f"{', '.join(missing)} not found in {folder}",
            "install the package into this environment: pip install -e . in the clone",
        )
        return
    other = shutil.which("snakemake")
    if other is not None and Path(other).parent.resolve() != folder.resolve():
        yield warn(
            "commands",
            f"`snakemake` is {other}, which is not of this environment ({folder})",
            f"activate it: source {folder / 'activate'}",
        )
        return
    yield ok("commands", f"{', '.join(COMMANDS)} in {folder}")


def package(case: Case) -> Iterator[Finding]:
    """Whether the package that runs is that of the clone one stands in."""
    clone = clone_here()
    if clone is None:
        yield warn(
            "package",
            f"{Path.cwd()} is no clone of the project (no Snakefile beside a folder hybridom)",
            "change into the clone; its paths are relative to its root",
        )
    elif PACKAGE.resolve() != (clone / "hybridom").resolve():
        yield warn(
            "package",
            f"{PACKAGE} is installed, not {clone / 'hybridom'}: the rules would run other code",
            "run pip install -e . in the clone",
        )
    elif clone != Path.cwd():
        yield warn("package", f"this is a folder within the clone {clone}", f"cd {clone}")
    else:
        yield ok("package", f"hybridom {hybridom.__version__} of this clone")


def clone_here() -> Path | None:
    """The clone that the working directory is, or lies in."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "Snakefile").is_file() and (folder / "hybridom" / "__init__.py").is_file():
            return folder
    return None


def numba_cache(case: Case) -> Iterator[Finding]:
    """Whether compiled functions are kept: beside the modules, or else in the user's folder."""
    name = "Numba's cache"
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "numba"
    folders = [Path(chosen)] if chosen else [PACKAGE / "evaluation" / "__pycache__", home]
    for folder in folders:
        if places.unwritable(folder) is None:
            yield ok(name, f"{folder} can be written")
            return
    yield warn(
        name,
        f"{' and '.join(map(str, folders))} cannot be written: every job compiles anew",
        "export NUMBA_CACHE_DIR with a folder that can",
    )

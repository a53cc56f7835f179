"""What `hybridom doctor` says of Python and its packages."""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

import pytest

from hybridom.operations.doctor import environment
from tests.operations.doctor_case import ROOT, case, command, findings, only

VERSION = metadata.version("pydantic")


def asks(monkeypatch: pytest.MonkeyPatch, *texts: str) -> None:
    """Let the metadata of the project ask for these packages."""
    monkeypatch.setattr(environment.metadata, "requires", lambda name: list(texts))


def test_packages_within_their_ranges(monkeypatch):
    asks(monkeypatch, "pydantic>=2", f"pydantic=={VERSION}", "absent>=1; extra == 'dev'")
    assert environment.requirements("") == (2, [])


def test_packages_out_of_range_or_missing_are_named(monkeypatch):
    asks(monkeypatch, "pydantic<1", "no-such-package>=3", "absent; python_version < '3'")
    number, wrong = environment.requirements("")
    assert number == 2
    assert wrong == [f"pydantic is {VERSION}, expected <1", "no-such-package is not installed"]


def test_an_extra_is_judged_by_its_own_packages(monkeypatch):
    asks(monkeypatch, "no-such-package", "pydantic>=2; extra == 'twin'", "absent; extra == 'dev'")
    assert environment.requirements("twin") == (1, [])
    assert environment.requirements("dev") == (1, ["absent is not installed"])


def test_what_is_wrong_with_packages_is_a_failure_with_the_command(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    asks(monkeypatch, "no-such-package>=3; extra == 'wandb'", "pydantic")
    of = case("training.tracking.wandb.mode=offline", "source.kind=files", *FOLDERS)
    plain, extra = findings(environment.packages, of)
    assert plain.status == "ok"
    assert extra.status == "fail"
    assert extra.name == "packages [wandb]"
    assert "pip install 'hybridom[wandb]'" in extra.remedy


FOLDERS = ("source.ocean_dir=a", "source.forcing_dir=b")


def test_the_simulation_needs_its_packages_until_it_is_done(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    of = case()
    assert environment.extras(of.config) == ["twin"]
    for year in of.config.twin.years:
        manifest = of.layout.twin_manifest(year)
        manifest.parent.mkdir(parents=True, exist_ok=True)
        manifest.write_text("{}")
    assert environment.extras(of.config) == []


def test_a_clone_that_asks_for_more_than_was_installed(tmp_path, monkeypatch):
    asks(monkeypatch, "pydantic<3,>=2", "PyYAML>=6", "absent; extra == 'dev'")
    file = tmp_path / "pyproject.toml"
    file.write_text('[project]\ndependencies = ["pydantic>=2,<3", "pyyaml>=6"]\n')
    assert environment.changed_requirements(file) == []
    file.write_text('[project]\ndependencies = ["pydantic>=2.5,<3", "pyyaml>=6", "gsw"]\n')
    assert environment.changed_requirements(file) == ["gsw", "pydantic"]


def test_this_python_is_one_of_those_that_the_project_is_for(monkeypatch):
    assert only(environment.python, case()).status == "ok"
    monkeypatch.setattr(sys, "version_info", (3, 8, 1))
    found = only(environment.python, case())
    assert found.status == "fail"
    assert found.found.startswith("3.8.1, expected ")


def clone(folder: Path) -> Path:
    """A folder that looks like a clone of the project."""
    (folder / "hybridom").mkdir(parents=True)
    (folder / "hybridom" / "__init__.py").touch()
    (folder / "Snakefile").touch()
    return folder


def test_the_package_of_another_clone_is_noticed(tmp_path, monkeypatch):
    monkeypatch.chdir(clone(tmp_path / "other"))
    found = only(environment.package, case())
    assert found.status == "warn"
    assert str(tmp_path / "other" / "hybridom") in found.found
    monkeypatch.chdir(ROOT)
    assert only(environment.package, case()).status == "ok"
    monkeypatch.chdir(ROOT / "tests")
    assert only(environment.package, case()).remedy == f"cd {ROOT}"
    monkeypatch.chdir(tmp_path)
    assert "is no clone" in only(environment.package, case()).found


def test_the_commands_of_the_rules(tmp_path, monkeypatch):
    folder = tmp_path / "bin"
    for name in ("hybridom", "snakemake"):
        command(folder, name)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    found = only(environment.commands, case())
    assert found.status == "fail"
    assert found.found == f"torchrun not found in {folder}"
    command(folder, "torchrun")
    assert only(environment.commands, case()).status == "ok"
    command(tmp_path / "elsewhere", "snakemake")
    monkeypatch.setenv("PATH", str(tmp_path / "elsewhere"))
    found = only(environment.commands, case())
    assert found.status == "warn"
    assert str(tmp_path / "elsewhere" / "snakemake") in found.found


def test_numba_needs_a_folder_for_what_it_compiled(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "new" / "folder"))
    assert only(environment.numba_cache, case()).status == "ok"
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "file" / "folder"))
    found = only(environment.numba_cache, case())
    assert found.status == "warn"
    assert "NUMBA_CACHE_DIR" in found.remedy

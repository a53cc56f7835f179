"""Imports point downwards only."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "hybridom"

# Layer: the parts of the package in it, and the layers that they may import besides themselves.
LAYERS: dict[int, tuple[set[str], set[int]]] = {
    0: (
        {
            "__init__",
            "constants",
            "errors",
            "variables",
            "quantities",
            "progress",
            "config",
            "layout",
            "files",
            "slurm",
            "launch",
        },
        {0},
    ),
    1: (
        {"grid", "masks", "state", "conditions", "metrics", "normalisation", "operators", "bulk"},
        {0, 1},
    ),
    2: ({"data", "retrieve", "twin"}, {0, 1}),
    3: ({"physics"}, {0, 1}),
    4: ({"networks"}, {0, 1}),
    5: ({"stepper", "gate", "terms", "constraints", "checkpoint"}, {0, 1, 3, 4, 5}),
    6: ({"training"}, {0, 1, 2, 5}),
    7: ({"forecast", "gate_weights", "bench"}, {0, 1, 2, 5, 7}),
    8: ({"evaluation"}, {0, 1, 2}),
    9: ({"figures"}, {0, 1, 2}),
    10: ({"page", "compare", "operations"}, {0, 1, 8, 9, 10}),
    11: ({"cli", "__main__"}, set(range(12))),
}
# Besides: the measurements take the numerical ocean by itself, without networks, and training;
# operations look at every stage.
EXTRA = {"bench": {3, 6}, "operations": set(range(10))}
LAYER_OF = {part: layer for layer, (parts, _) in LAYERS.items() for part in parts}
# The workflow asks these while it plans, twice in every cluster job.
LIGHT = (
    "hybridom.config",
    "hybridom.config.chain",
    "hybridom.layout",
    "hybridom.figures",
    "hybridom.operations.changes",
    "hybridom.operations.failures",
    "hybridom.page.themes",
    "hybridom.twin.states",
)
HEAVY = {"torch", "xarray", "pandas", "matplotlib", "cartopy", "veros", "netCDF4", "zarr", "numpy"}
FILES = sorted(PACKAGE.rglob("*.py"))


def part_of(path: Path) -> str:
    """The part of the package that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> Iterator[str]:
    """Full names of all modules that a file imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write `from hybridom.x import y` in full"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def parts_imported(path: Path) -> set[str]:
    """Parts of the package that a file imports."""
    names = (name.split(".") for name in imported(path))
    inside = (name[1:] for name in names if name[0] == "hybridom")
    return {name[0] if name and name[0] in LAYER_OF else "__init__" for name in inside}


def test_every_module_has_a_layer():
    assert {part_of(path) for path in FILES} <= set(LAYER_OF)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_downwards(path):
    part = part_of(path)
    allowed = LAYERS[LAYER_OF[part]][1] | EXTRA.get(part, set())
    upwards = {
        other for other in parts_imported(path) if other != part and LAYER_OF[other] not in allowed
    }
    assert not upwards, f"{path.relative_to(PACKAGE)} may not import {sorted(upwards)}"


def test_no_layer_may_import_a_higher_one():
    for layer, (_, allowed) in LAYERS.items():
        assert max(allowed) <= layer


@pytest.mark.parametrize("part", ["data", "physics", "networks"])
def test_data_physics_and_networks_never_import_one_another(part):
    others = {"data", "physics", "networks"} - {part}
    for path in (PACKAGE / part).rglob("*.py"):
        assert not parts_imported(path) & others, path


def test_snakemake_is_never_imported():
    for path in FILES:
        assert "snakemake" not in {name.split(".")[0] for name in imported(path)}, path


def test_planning_imports_nothing_heavy():
    code = f"import sys, {', '.join(LIGHT)}; print(*sorted({HEAVY} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_modules_and_functions_stay_short(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 350
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert (node.end_lineno or 0) - node.lineno + 1 <= 60, node.name

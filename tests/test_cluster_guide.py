"""docs/cluster.md agrees with the profile, with the command line, and with what `cost` counts."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml

from hybridom import cli
from hybridom.config import load
from hybridom.grid import Grid
from hybridom.operations import cost_trace

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
PROFILE = (ROOT / "slurm" / "config.yaml").read_text(encoding="utf-8")
(EXAMPLE,) = re.findall(r"^```yaml\n(.*?)^```", TEXT, flags=re.DOTALL | re.MULTILINE)
SHELL = "".join(re.findall(r"^```bash\n(.*?)^```", TEXT, flags=re.DOTALL | re.MULTILINE))
LINES = SHELL.replace("\\\n", " ").splitlines()
CALL = re.compile(r"^(?:srun .*)?(hybridom .*)")
PROGRAMS = [found[1] for line in LINES if (found := CALL.search(line))]
# A key, or one that waits behind a `#` to be used.
KEY = re.compile(r"^ *(?:# )?([a-z_-]+):(?= |$)", re.MULTILINE)
COSTS = ("global_05", "global_025", "regional_025", "demo")


def test_the_example_has_the_keys_of_the_profile():
    assert set(KEY.findall(EXAMPLE)) == set(KEY.findall(PROFILE))
    example, profile = yaml.safe_load(EXAMPLE), yaml.safe_load(PROFILE)
    for key in set(example) - {"default-resources"}:
        assert example[key] == profile[key], key
    for key, value in profile["default-resources"].items():
        assert example["default-resources"][key] == value, key


@pytest.mark.parametrize("line", PROGRAMS)
def test_commands_are_understood(line):
    words = shlex.split(line, comments=True)[1:]
    cli.build_parser().parse_args(words)


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", TEXT):
        assert (ROOT / "docs" / target).exists(), target
    for anchor in re.findall(r"\]\(#([^)]+)\)", TEXT):
        headings = re.findall(r"^#+ (.*)$", TEXT, flags=re.MULTILINE)
        assert anchor in {re.sub(r"[^a-z0-9 -]", "", h.lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize("column, name", list(enumerate(COSTS, start=2)))
def test_the_table_has_the_operations_and_parameters_that_are_counted(column, name):
    # weights do not depend on the grid, and operations only on its cells, but for some padding
    box = ["grid.resolution=5.625", "grid.lat=[-90, 90]", "grid.lon=[-180, 180]"]
    box += ["skeleton.sponge={width: 0}", "skeleton.boundaries=closed"]
    config = load(ROOT / "config" / f"{name}.yaml", box)
    grid = Grid.regular(5.625, config.grid.lat, config.grid.lon, config.grid.depths)
    found = cost_trace.trace(config, grid)
    millions = float(row("parameters")[column].split()[0])
    assert millions == pytest.approx(found.size / 1e6, rel=0.01)
    rows, columns, levels = map(int, re.findall(r"\d+", row("cells, levels")[column]))
    assert levels == grid.nz
    said, unit = row("operations of a window of one day")[column].split()
    flop = found.flop(1) * rows * columns / (grid.ny * grid.nx)
    assert float(said) * {"T": 1e12, "G": 1e9}[unit[0]] == pytest.approx(flop, rel=0.05)


def row(name: str) -> list[str]:
    """Cells of a line of the table of costs."""
    (line,) = re.findall(rf"^\| {re.escape(name)} \|.*$", TEXT, flags=re.MULTILINE)
    return [cell.strip() for cell in line.strip("|").split("|")]

"""The graph of docs/workflow.md, drawn anew from the rules.

Asks Snakemake for its graph with the embedded ocean, with fetched files and of a region, and writes
one of all into the page: figures folded into one node, as are the rules of a region's driver,
without the rules that write configurations, and without arrows that others imply.

    python docs/workflow/rule_graph.py
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs/workflow.md"
BLOCK = re.compile(r"(?<=^```mermaid\n).*?(?=^```$)", re.DOTALL | re.MULTILINE)
# Target and kind of source.
GRAPHS = (("all", "twin"), ("all", "download"), ("region", "twin"))
# Prefixes of rules in the default chain: those of the region are drawn as the main ones.
DRIVER, REGION = "demo_coarse_", "demo_region_"
# Rules that are drawn as one; nothing: they are left out.
FOLDED = {
    rf"{DRIVER}\w+": "driver",
    r"figure_\w+": "figures",
    r"configure_\w+": "",
    "all|region": "",
}

Graph = dict[str, set[str]]  # what follows each rule


def main() -> None:
    """Write the graph into the page."""
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(BLOCK.sub(lambda _: current(), page, count=1), encoding="utf-8")


def current() -> str:
    """The graph of the rules as they are."""
    graph: Graph = {}
    for target, source in GRAPHS:
        for rule, followers in parsed(rule_graph(target, source)).items():
            graph.setdefault(rule, set()).update(followers)
    return mermaid(reduced(folded(graph)))


def rule_graph(target: str, source: str) -> str:
    """What Snakemake draws for one target and kind of source."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["--rulegraph", "mermaid-js", "--directory", folder]
        words += ["--config", f"set=source.kind={source}"]
        command = [sys.executable, "-m", "snakemake", target, "--quiet", "all", *words]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.replace(REGION, "")


def parsed(text: str) -> Graph:
    """The graph in Mermaid's language; styles do not matter."""
    names = dict(re.findall(r"^\s*(id\d+)\[(\w+)\]$", text, re.MULTILINE))
    graph: Graph = {name: set() for name in names.values()}
    for start, end in re.findall(r"^\s*(id\d+) --> (id\d+)$", text, re.MULTILINE):
        graph[names[start]].add(names[end])
    return graph


def folded(graph: Graph) -> Graph:
    """Fewer nodes: rules of one kind as one, or left out."""

    def fold(rule: str) -> str:
        return next((n for pattern, n in FOLDED.items() if re.fullmatch(pattern, rule)), rule)

    small: Graph = {}
    for rule, followers in graph.items():
        if fold(rule):
            later = {fold(follower) for follower in followers} - {"", fold(rule)}
            small.setdefault(fold(rule), set()).update(later)
    return small


def reduced(graph: Graph) -> Graph:
    """Without arrows to what a longer way leads to."""

    def beyond(rule: str) -> set[str]:
        return graph[rule].union(*map(beyond, graph[rule]))

    return {
        rule: followers - set[str]().union(*map(beyond, followers))
        for rule, followers in graph.items()
    }


def mermaid(graph: Graph) -> str:
    """The graph as text, in the order of the work."""
    left, lines = dict(graph), ["flowchart TB\n"]
    while left:
        waiting = set[str]().union(*left.values())
        first = sorted(left.keys() - waiting)
        for rule in first:
            lines += [f"    {rule} --> {follower}\n" for follower in sorted(left.pop(rule))]
    return "".join(lines)


if __name__ == "__main__":
    main()

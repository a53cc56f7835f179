"""The Snakemake profile: where it is, whether Snakemake takes it, and what it says."""

from __future__ import annotations

import difflib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from hybridom.errors import UserError

Values = dict[str, Any]
NAME = re.compile(r"(?:profile|config)(?:\.v(\d+)\+)?\.yaml")  # a version: the oldest that reads it
PATIENCE = 120.0  # s for Snakemake to start
NOTHING = "rule all:\n"
UNKNOWN = "unrecognized arguments:"


def find(profile: Path) -> Path:
    """The file of a profile, where Snakemake finds it.

    Args:
        profile: As it is given to `--profile`.

    Raises:
        UserError: There is none.
    """
    major = int(metadata.version("snakemake").split(".")[0])
    own = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "snakemake"
    for place in (profile, own / profile, Path("/etc/xdg/snakemake") / profile):
        if place.is_file():
            return place
        if not place.is_dir():
            continue
        named = ((NAME.fullmatch(file.name), file) for file in sorted(place.iterdir()))
        found = [(int(match[1] or 0), file) for match, file in named if match]
        if fitting := [pair for pair in found if pair[0] <= major]:
            return max(fitting)[1]
    raise UserError(
        f"profile {profile}: no folder of this name with a config.yaml, here or in {own}; run in "
        "the root of the clone, or give --profile a path"
    )


def read(file: Path) -> Values:
    """What a profile says, by option.

    Raises:
        UserError: It is no YAML, or no list of options.
    """
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"{file}: cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise UserError(f"{file}: expected lines `option: value`")
    return {str(key).replace("_", "-"): value for key, value in content.items()}


def refused(file: Path) -> str | None:
    """Why the installed Snakemake refuses a profile; None if it takes it.

    An option that it does not know is named with the nearest that it knows.
    """
    with tempfile.TemporaryDirectory(prefix="hybridom_doctor_") as folder:
        snakefile = Path(folder) / "Snakefile"
        snakefile.write_text(NOTHING, encoding="utf-8")
        words = ["--profile", str(file.absolute()), "--workflow-profile", "none", "--dry-run"]
        words += ["--snakefile", str(snakefile), "--directory", folder, "--cores", "1"]
        done = _snakemake(*words)
    if done.returncode == 0:
        return None
    lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    told = [line for line in lines if "error:" in line] or lines[-1:] or ["it gives no reason"]
    _, unknown, options = told[-1].partition(UNKNOWN)
    if not unknown:
        return told[-1].removeprefix("snakemake: error: ")
    known = set(re.findall(r"--([a-z][\w-]+)", _snakemake("--help").stdout))
    names = [name for name in re.findall(r"--([\w-]+)", options) if name not in known]
    near = {name: difflib.get_close_matches(name, known, 1) for name in names}
    return ", ".join(
        f"it knows no {name}" + (f" (did you mean {found[0]}?)" if found else "")
        for name, found in near.items()
    )


def _snakemake(*words: str) -> subprocess.CompletedProcess[str]:
    """Run the installed Snakemake."""
    command = [sys.executable, "-m", "snakemake", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)


def default_resources(content: Values) -> Values:
    """Resources of all rules by name."""
    return _pairs(content.get("default-resources"))


def resource_limits(content: Values) -> dict[str, int]:
    """What all jobs that run at a time, or side by side in one group, may take together."""
    pairs = _pairs(content.get("resources")).items()
    return {name: value for name, value in pairs if isinstance(value, int) and value > 0}


def rule_resources(content: Values) -> dict[str, Values]:
    """Resources of single rules: rule -> name -> value."""
    given = content.get("set-resources")
    if isinstance(given, Mapping):
        return {str(rule): _pairs(values) for rule, values in given.items()}
    rules: dict[str, Values] = {}
    for text in given or ():
        rule, _, pair = str(text).partition(":")
        rules.setdefault(rule, {}).update(_pairs([pair]))
    return rules


def _pairs(given: object) -> Values:
    """Values by name from a mapping, or from texts such as `mem_mb=4000`."""
    if isinstance(given, Mapping):
        return {str(key): value for key, value in given.items()}
    texts = [given] if isinstance(given, str) else given if isinstance(given, list) else []
    pairs = (str(text).partition("=") for text in texts)
    return {name.strip(): yaml.safe_load(value) for name, _, value in pairs}

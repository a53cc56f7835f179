"""The pinned environments: what they hold, and that Snakemake runs jobs in them."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from snakemake.cli import get_argument_parser

from hybridom.config import load
from hybridom.layout import Layout
from tests.warm import SNAKEMAKE, server

ROOT = Path(__file__).parents[1]
ENVS = ROOT / "envs"
CONSTRAINTS = (ENVS / "constraints.txt").read_text()
PINNED = dict(line.split("==") for line in CONSTRAINTS.splitlines() if "==" in line)
# Comes with a build of PyTorch for GPUs, which asks for one version of it.
NOT_PINNED = {"triton"}


@pytest.fixture(scope="module")
def lock() -> ModuleType:
    """envs/lock.py as a module."""
    specification = importlib.util.spec_from_file_location("lock", ENVS / "lock.py")
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def direct_requirements() -> list[Requirement]:
    """What the project and its extras ask for, but for itself."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    texts = [*project["dependencies"], *(text for extra in extras for text in extra)]
    return [r for r in map(Requirement, texts) if r.name not in {"hybridom", *NOT_PINNED}]


def reached(requirement: Requirement, seen: set[str]) -> Iterator[str]:
    """Names of the installed packages that a requirement brings here."""
    name = canonicalize_name(requirement.name)
    key = f"{name}[{','.join(sorted(requirement.extras))}]"
    if key in seen or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
        return
    seen.add(key)
    try:
        package = distribution(name)
    except PackageNotFoundError:  # of an extra that is not installed
        return
    yield name
    if package.version.partition("+")[0] != PINNED.get(name):  # another one has other needs
        return
    for further in map(Requirement, package.requires or []):
        marker = further.marker
        if marker is None or any(marker.evaluate({"extra": e}) for e in ("", *requirement.extras)):
            further.marker = None
            yield from reached(further, seen)


# --- the lock


@pytest.mark.parametrize("requirement", direct_requirements(), ids=lambda r: r.name)
def test_each_dependency_is_pinned_within_its_range(requirement):
    assert requirement.specifier.contains(PINNED[canonicalize_name(requirement.name)])


def test_everything_that_the_dependencies_bring_is_pinned():
    seen: set[str] = set()
    brought = {name for requirement in direct_requirements() for name in reached(requirement, seen)}
    assert len(brought) > 100
    ours = {"pip", "wheel", *NOT_PINNED}
    assert {n for n in brought - ours if not n.startswith(("nvidia-", "cuda-"))} <= set(PINNED)


def test_the_lock_is_public_normal_and_in_order():
    names = list(PINNED)
    assert names == sorted(names) == [canonicalize_name(name) for name in names]
    lines = [line for line in CONSTRAINTS.splitlines() if not line.startswith("#")]
    assert len(lines) == len(PINNED)
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", line) for line in lines)


def test_the_lock_is_made_of_versions_alone(lock):
    versions = {"torch": "2.13.0+cpu", "Jinja2": "3.1.6", "hybridom": "0.1.0", "pip": "26.3"}
    versions |= {"zope.event": "1", "zope": "2", "triton": "3.7.1", "nvidia-nccl-cu13": "2.30"}
    lines = [x for x in lock.constraints(versions).splitlines() if not x.startswith("#")]
    assert lines == ["jinja2==3.1.6", "torch==2.13.0", "zope==2", "zope-event==1"]


def test_a_changed_lock_changes_the_conda_file(lock):
    environment = (ENVS / "hybridom.yaml").read_text()
    assert lock.marked(environment, CONSTRAINTS) == environment
    assert lock.marked(environment, CONSTRAINTS + "\n") != environment
    assert hashlib.sha256(CONSTRAINTS.encode()).hexdigest()[:16] in environment


def test_every_extra_is_locked(lock):
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert lock.extras().split(",") == sorted(extras["optional-dependencies"])


# --- the recipes


def test_the_recipes_agree(lock):
    docker = [line.split() for line in (ENVS / "Dockerfile").read_text().splitlines() if line]
    definition = (ENVS / "hybridom.def").read_text()
    image = next(words[1] for words in docker if words[0] == "FROM")
    assert re.search(rf"^From: {re.escape(image)}$", definition, re.MULTILINE)
    assert image.startswith(f"python:{lock.pinned('python')}-")
    copied = {name for words in docker if words[0] == "COPY" for name in words[1:-1]}
    section = re.search(r"^%files\n(.*?)^%", definition, re.DOTALL | re.MULTILINE)
    files = dict(line.split() for line in section[1].splitlines() if line.strip())
    assert set(files) == copied
    assert all((ROOT / name).exists() and files[name] == f"/opt/hybridom/{name}" for name in files)
    assert "bash envs/container.sh" in definition
    assert ["RUN", "bash", "envs/container.sh"] in docker


def test_the_conda_file_pins_python_and_pip_alone():
    environment = yaml.safe_load((ENVS / "hybridom.yaml").read_text())
    names = [re.fullmatch(r"([a-z]+)=[0-9.]+", text)[1] for text in environment["dependencies"]]
    assert names == ["python", "pip"]


@pytest.mark.parametrize("script", ["hybridom.post-deploy.sh", "container.sh"])
def test_the_scripts_are_valid(script):
    subprocess.run(["bash", "-n", ENVS / script], check=True)


def test_outside_a_clone_the_script_says_what_to_do(tmp_path):
    command = ["bash", ENVS / "hybridom.post-deploy.sh"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == (
        f"hybridom: error: {tmp_path} holds no pyproject.toml; run this in the root of a clone\n"
    )


# --- Snakemake takes them

# Environments of this conda hold two programs: `python` notes what it is asked to do, and where.
CONDA = """#!/bin/sh
case "$1 $2" in
"info --json") echo '{{"conda_prefix": "{folder}/base", "platform": "linux-64"}}' ;;
"config --get") echo '{{"get": {{"channel_priority": "strict"}}}}' ;;
"--version ") echo "conda 25.11.0" ;;
"clean -y") ;;
"env create")
    mkdir -p "$8/bin"
    printf '#!/bin/sh\\necho "$PWD: python $*" >> {notes}\\n' > "$8/bin/python"
    cp {folder}/inside/hybridom "$8/bin"
    chmod +x "$8/bin/python"
    echo "created from $6" >> {notes} ;;
*) echo "conda: $* was not expected" >&2; exit 1 ;;
esac
"""
ACTIVATE = 'export CONDA_PREFIX="$1"\nPATH="$1/bin:$PATH"\n'
# This apptainer runs the command with the image's programs first, and none of the host's.
APPTAINER = """#!/bin/sh
if [ "$1" = --version ]; then echo "apptainer version 1.4.5"; exit; fi
echo "apptainer $*" >> {notes}
while [ $# -gt 3 ]; do shift; done
PATH={folder}/inside:/usr/bin:/bin exec "$@"
"""
INSIDE = """#!/bin/sh
echo "hybridom in ${{CONDA_PREFIX:-the image}}" >> {notes}
exec {python} -m hybridom "$@"
"""


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder of `conda` and `apptainer` that install nothing; `notes` holds what they did."""
    folder = tmp_path / "programs"
    texts = {"conda": CONDA, "apptainer": APPTAINER, "inside/hybridom": INSIDE}
    texts |= {"python": '#!/bin/sh\nexec {python} "$@"\n', "base/bin/activate": ACTIVATE}
    for name, text in texts.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if name != "base/bin/activate":
            text = text.format(folder=folder, notes=folder / "notes", python=sys.executable)
        file.write_text(text)
        file.chmod(0o755)
    return folder


class Deployed:
    """One short job of the workflow, run with `--sdm`."""

    def __init__(self, directory: Path, programs: Path) -> None:
        directory.mkdir()
        self.directory, self._programs = directory, programs
        self.file = directory / Layout(load(ROOT / "config/test.yaml")).stage_config("twin")

    def run(self, method: str, *settings: str) -> subprocess.CompletedProcess[str]:
        """Make the file; stdout holds both streams."""
        words = ["configure_twin", "--cores", "1", "--directory", str(self.directory)]
        words += ["--sdm", *method.split(), "--apptainer-args=--nv"]
        words += ["--config", "base=config/test.yaml", *settings]
        return server(*SNAKEMAKE).run("snakemake", words, self._programs)

    def notes(self) -> list[str]:
        """What the programs did since this was asked last."""
        file = self._programs / "notes"
        lines = file.read_text().splitlines() if file.exists() else []
        file.unlink(missing_ok=True)
        return lines


@pytest.fixture
def deployed(tmp_path: Path, programs: Path) -> Deployed:
    return Deployed(tmp_path / "run", programs)


def test_conda_makes_the_environment_once_and_jobs_run_in_it(deployed):
    done = deployed.run("conda")
    assert done.returncode == 0, done.stdout[-4000:]
    assert deployed.file.exists()
    created, torch, project, job = deployed.notes()
    assert re.fullmatch(r"created from .*/\.snakemake/conda/\w+\.yaml", created)
    install = "python -m pip install --constraint envs/constraints.txt"
    assert torch == f"{ROOT}: {install} torch"
    assert project.startswith(f"{ROOT}: {install} --editable .[")
    assert re.fullmatch(r"hybridom in .*/\.snakemake/conda/\w+", job)
    deployed.file.unlink()
    assert deployed.run("conda").returncode == 0
    assert deployed.notes() == [job]


def test_the_environment_can_run_every_stage():
    script = (ENVS / "hybridom.post-deploy.sh").read_text()
    extras = re.search(r"--editable '\.\[([a-z,]+)\]'", script)[1].split(",")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert extras == sorted({*project["optional-dependencies"]} - {"dev"})


def test_jobs_run_in_the_container(deployed, tmp_path):
    image = tmp_path / "other.sif"
    image.touch()
    done = deployed.run("apptainer", f"image={image}")
    assert done.returncode == 0, done.stdout[-4000:]
    assert deployed.file.exists()
    started, job = deployed.notes()
    words = shlex.split(started)
    assert words[:2] == ["apptainer", "exec"]
    assert "--nv" in words[: words.index(str(image))]
    assert words[words.index("--home") + 1] == str(deployed.directory)
    assert job == "hybridom in the image"


def test_a_missing_image_names_the_command_that_builds_it(deployed, tmp_path):
    missing = tmp_path / "none.sif"
    done = deployed.run("apptainer", f"image={missing}")
    assert done.returncode == 2
    (message,) = [line for line in done.stdout.splitlines() if line.startswith("hybridom: error")]
    assert message.startswith(f"hybridom: error: {missing} does not exist")
    assert "apptainer build envs/hybridom.sif envs/hybridom.def" in message
    assert "Traceback" not in done.stdout
    assert deployed.notes() == []


def test_conda_inside_the_container_is_refused(deployed):
    done = deployed.run("conda apptainer")
    assert done.returncode == 2
    assert "give --sdm apptainer or --sdm conda, not both" in done.stdout


def test_without_deployment_no_image_is_needed(deployed, tmp_path):
    words = ["configure_twin", "--cores", "1", "--directory", str(tmp_path / "run")]
    done = server(*SNAKEMAKE).run("snakemake", [*words, "--config", "base=config/test.yaml"])
    assert done.returncode == 0, done.stdout[-4000:]
    assert deployed.file.exists()


# --- the guide


GUIDE = (ENVS / "README.md").read_text()


@pytest.mark.parametrize("command", re.findall(r"`(snakemake [^`]*--sdm[^`]*)`", GUIDE))
def test_the_commands_of_the_guide_are_taken_as_meant(command):
    options = get_argument_parser().parse_args(shlex.split(command)[1:])
    assert [method.name.lower() for method in options.software_deployment_method] in (
        ["conda"],
        ["apptainer"],
    )
    assert list(options.targets) == (["all"] if "--profile" in command else [])


def test_on_a_cluster_the_container_has_the_driver_of_the_gpus():
    profile = yaml.safe_load((ROOT / "workflow/profiles/slurm/config.yaml").read_text())
    assert "--nv" in profile["apptainer-args"].split()


def test_the_guide_names_what_there_is():
    named = set(re.findall(r"`(?:envs/)?([\w.-]+\.(?:yaml|sh|txt|def|py)|Dockerfile)`", GUIDE))
    present = {file.name for file in ENVS.iterdir()} - {"README.md", "__pycache__"}
    assert {n for n in present if not n.endswith((".sif", ".pin.txt"))} <= named

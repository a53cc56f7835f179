"""Write envs/constraints.txt anew: `make lock`.

Everything that pyproject.toml names, with every extra, goes into an empty environment as a user
would install it; what came is written down. Test with it before it is committed:
`rm -rf .venv; PIP_CONSTRAINT=envs/constraints.txt make test`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

ENVS = Path(__file__).resolve().parent
ROOT = ENVS.parent
# The project itself, the installer, and what a build of PyTorch for GPUs asks for in one version.
LEFT_OUT = re.compile(r"hybridom|pip|wheel|triton|(nvidia|cuda)-.*")
HEADER = """\
# Every package that the project and its extras bring, in versions that work together and passed the
# tests (Python {python}, Linux). Written by `make lock`; used by the conda environment and the
# container, and by `PIP_CONSTRAINT=envs/constraints.txt make install`.
# A build of PyTorch for GPUs brings its own Triton and CUDA libraries, each in one version.
"""


def pinned(name: str) -> str:
    """The version that the conda environment fixes for `python` or `pip`."""
    found = re.search(rf"^ *- {name}=([\d.]+)$", (ENVS / "hybridom.yaml").read_text(), re.MULTILINE)
    if found is None:
        raise SystemExit(f"hybridom: error: envs/hybridom.yaml holds no line `- {name}=VERSION`")
    return found[1]


def extras() -> str:
    """All extras of the project, as pip takes them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return ",".join(sorted(project["optional-dependencies"]))


def installed(torch: str, folder: Path) -> dict[str, str]:
    """Versions by name of what comes with `torch` first and then the project.

    Args:
        torch: What pip is asked for, say `torch==2.13.0` or a wheel.
        folder: Where the environment is made.
    """
    venv.create(folder, with_pip=True)
    python = str(folder / "bin" / "python")
    pip = [python, "-m", "pip", "--disable-pip-version-check"]
    # A lock that is in force would be copied
    free = {name: value for name, value in os.environ.items() if name != "PIP_CONSTRAINT"}
    for wanted in (f"pip=={pinned('pip')}", torch, f".[{extras()}]"):
        command = [*pip, "install", "--quiet", "--no-compile", wanted]
        subprocess.run(command, cwd=ROOT, env=free, check=True)
    subprocess.run([*pip, "check"], check=True)
    listed = [*pip, "list", "--format", "json"]
    answer = subprocess.run(listed, check=True, stdout=subprocess.PIPE, text=True).stdout
    return {package["name"]: package["version"] for package in json.loads(answer)}


def constraints(versions: dict[str, str]) -> str:
    """The text of the file: no local versions, normal names in alphabetical order."""
    public = {
        re.sub(r"[-_.]+", "-", name).lower(): version.partition("+")[0]
        for name, version in versions.items()
    }
    kept = [f"{n}=={public[n]}\n" for n in sorted(public) if not LEFT_OUT.fullmatch(n)]
    return HEADER.format(python=pinned("python")) + "".join(kept)


def marked(environment: str, text: str) -> str:
    """The text of the conda file with a digest of the constraints.

    Snakemake makes an environment anew when its file changes, and does not look at the constraints.
    """
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return re.sub(r"(?<=# constraints: )\w+", digest, environment)


def main() -> None:
    """Make the environment and write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--torch", default="torch==2.13.0", help="what pip installs first")
    options = parser.parse_args()
    here = "{}.{}".format(*sys.version_info)
    if here != pinned("python"):
        needed = pinned("python")
        raise SystemExit(
            f"hybridom: error: Python {here} found, but the environments have Python {needed}: "
            f"make lock PYTHON=python{needed}"
        )
    with tempfile.TemporaryDirectory() as folder:
        text = constraints(installed(options.torch, Path(folder)))
    (ENVS / "constraints.txt").write_text(text, encoding="utf-8")
    environment = ENVS / "hybridom.yaml"
    environment.write_text(marked(environment.read_text(encoding="utf-8"), text), encoding="utf-8")
    print(f"envs/constraints.txt: {text.count('==')} packages")


if __name__ == "__main__":
    main()

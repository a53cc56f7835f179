"""`hybridom doctor` as a whole."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from hybridom.errors import UserError
from hybridom.operations import doctor
from hybridom.operations.doctor import accelerators, environment
from hybridom.operations.doctor.findings import Finding, fail, guarded, ok, spans
from tests.operations.doctor_case import ROOT, case

TITLES = [title for title, _ in doctor.GROUPS]


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A working directory without anything, on a machine without SLURM and without GPU tools."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def test_it_prints_one_line_for_each_check(alone, capsys):
    assert doctor.examine(case().config, Path("config/test.yaml"), Path("slurm"))
    printed = capsys.readouterr().out
    lines = printed.splitlines()
    assert [line for line in lines if line in TITLES] == TITLES
    checks = [line for line in lines if line.startswith("  ")]
    assert all(re.match(r"  (ok|warn|fail|skip) {2,4}\S[^:]*: \S", line) for line in checks)
    for name in ("Python", "gloo", "paths.results", "locks", "source", "SLURM", "lock"):
        assert sum(f" {name}: " in line for line in checks) >= 1, name
    counts = re.fullmatch(r"(\d+) ok, (\d+) warn, 0 fail, (\d+) skip", lines[-1])
    assert counts is not None
    assert sum(map(int, counts.groups())) == len(checks)
    assert list(alone.iterdir()) == []


def test_a_check_that_breaks_is_a_failure_and_ends_no_other(alone, monkeypatch, capsys):
    def broken(case):
        raise RuntimeError("out of order")

    monkeypatch.setattr(environment, "python", broken)
    monkeypatch.setattr(accelerators, "gloo", lambda case: [ok("gloo", "left out here")])
    assert not doctor.examine(case().config, Path("config/test.yaml"), Path("slurm"))
    printed = capsys.readouterr().out
    assert "fail  Python: the check itself broke: RuntimeError: out of order;" in printed
    assert "ok    PyTorch" in printed
    assert "ok    lock" in printed


def test_what_a_check_found_before_it_broke_is_kept():
    def half(case):
        yield ok("first", "there")
        raise UserError("second: not there; put it there")

    first, second = guarded("name", half, case())
    assert first == ok("first", "there")
    assert second == Finding("fail", "name", "second: not there; put it there")


def test_without_the_numerical_packages_it_still_reports(tmp_path):
    """The very machine on which one asks the doctor may lack what the package imports."""
    script = """
import sys
from pathlib import Path
class Missing:
    def find_spec(self, name, *rest):
        if name.split(".")[0] in ("torch", "numpy", "xarray", "pandas", "numba", "zarr"):
            raise ModuleNotFoundError(f"No module named {name!r}")
sys.meta_path.insert(0, Missing())
from hybridom.config import load
from hybridom.operations import doctor
print("good", doctor.examine(load(Path(sys.argv[1]), []), Path("x.yaml"), Path("slurm")))
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(ROOT / "config" / "test.yaml")],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PATH": str(tmp_path), "HOME": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    assert "good False" in done.stdout
    assert "fail  PyTorch: the check itself broke: ModuleNotFoundError" in done.stdout
    assert [line for line in done.stdout.splitlines() if line in TITLES] == TITLES
    assert "ok    lock" in done.stdout


def test_starting_it_imports_nothing_heavy():
    script = "import sys; import hybridom.operations.doctor; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert {"torch", "numpy", "xarray", "snakemake"}.isdisjoint(done.stdout.split())


def test_a_line_holds_status_name_finding_and_remedy():
    line = fail("disk", "full\n  of files", "remove some").line
    assert line == "  fail  disk: full of files; remove some"


@pytest.mark.parametrize(
    ("years", "words"),
    [([], ""), ([2001], "2001"), ([2004, 2001, 2002, 2003, 2006], "2001-2004, 2006")],
)
def test_spans(years, words):
    assert spans(years) == words

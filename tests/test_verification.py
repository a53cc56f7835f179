"""The worked cases of docs/verification.md: what the scripts compute, and that the page says so."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "verification"
PAGE = (ROOT / "docs" / "verification.md").read_text(encoding="utf-8")
CASES = ("rest", "geostrophic_adjustment", "rossby_wave", "tracer_rotation", "equator")
ROUND_OFF = 1e-14

Numbers = dict[str, float]


@pytest.fixture
def numbers(tmp_path, monkeypatch, capsys) -> Callable[[str], Numbers]:
    """Run a script, and compare what it draws and prints with the page."""

    def run(case: str) -> Numbers:
        monkeypatch.syspath_prepend(str(FOLDER))
        spec = importlib.util.spec_from_file_location(f"verify_{case}", FOLDER / f"{case}.py")
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
        found = module.main(["--out", str(tmp_path)])
        assert [file.name for file in tmp_path.iterdir()] == [f"{case}.png"]
        assert list(parsed(capsys.readouterr().out)) == list(found)
        written = on_the_page(case)
        assert list(written) == list(found)
        # four digits are printed; what is round-off differs from machine to machine
        assert found == pytest.approx(written, rel=1e-3, abs=1e-11)
        return found

    yield run
    sys.modules.pop("common", None)


def parsed(text: str) -> Numbers:
    """Lines `name = number`."""
    return {name: float(value) for name, value in re.findall(r"^(\S+) = (\S+)$", text, re.M)}


def on_the_page(case: str) -> Numbers:
    """The numbers that the page gives as printed by a script."""
    block = rf"`python docs/verification/{case}\.py` printed[^`]*```text\n(.*?)```"
    (text,) = re.findall(block, PAGE, flags=re.DOTALL)
    return parsed(text)


def test_the_page_names_every_script_and_every_figure():
    scripts = {path.stem for path in FOLDER.glob("*.py")}
    assert scripts == {*CASES, "common"}
    assert {path.stem for path in FOLDER.glob("*.png")} == set(CASES)
    commands = re.findall(r"^python docs/verification/(\w+)\.py$", PAGE, flags=re.MULTILINE)
    assert tuple(commands) == CASES
    figures = re.findall(r"!\[[^]]+\]\(verification/(\w+)\.png\)", PAGE)
    assert tuple(figures) == CASES
    assert "docs/verification/common.py" in PAGE


def test_rest(numbers):
    found = numbers("rest")
    assert found["days"] >= 30 and found["steps_of_the_bottom"] >= 5
    for name in ("speed", "thetao", "so", "zos", "vorticity"):
        assert found[f"rest_{name}"] == 0.0
    # one round-off of 24 degC is 5e-15 K: noise of that size must not grow by itself
    assert 0 < found["round_off_speed"] < 1e-14
    assert 0 < found["round_off_thetao"] < 3e-12
    assert 0 < found["round_off_vorticity"] < 1e-18
    # 0.1 K makes a few centimetres of slope over a thousand kilometres: millimetres a second
    assert 3e-4 < found["patch_speed"] < 3e-3
    assert found["patch_thetao"] > 1e-3 and found["patch_vorticity"] > 1e-9


def test_geostrophic_adjustment(numbers):
    found = numbers("geostrophic_adjustment")
    assert found["pv_change_over_vorticity_change"] < ROUND_OFF
    assert found["energy_ratio"] == pytest.approx(1 / 3, rel=2e-3)
    assert found["days"] == 30 and found["steady_drift"] < ROUND_OFF
    assert found["winding_drift"] > 0.1
    # the sphere's part of the error is linear in the radius
    large, middle, small = (found[f"error_{n}_km_16_cells"] for n in (61, 30, 15))
    assert (large - middle) / (middle - small) == pytest.approx(2, rel=0.03)
    assert 0 < found["error_flat"] < 5e-4
    orders = [found[f"order_flat_{n}_cells"] for n in (4, 8, 16)]
    assert orders == sorted(orders) and abs(orders[-1] - 2) < 0.1


def test_rossby_wave(numbers):
    found = numbers("rossby_wave")
    for depth in ("H4000", "H100"):
        assert found[f"{depth}_error_beta_plane"] < 0.01
        # the shortest wave is 15 cells long: (k dx)^2 / 6 is 3 %, some of which cancels
        assert found[f"{depth}_error_sphere"] < 0.02
        assert found[f"{depth}_growth_error"] < 1e-6
        assert found[f"{depth}_speed_of_wave_4_m_s"] < found[f"{depth}_speed_of_wave_48_m_s"] < 0
    # 1 / L^2 slows the long wave and leaves the short one
    assert found["H100_speed_of_wave_4_m_s"] > 0.5 * found["H4000_speed_of_wave_4_m_s"]
    assert found["H100_speed_of_wave_48_m_s"] < 0.9 * found["H4000_speed_of_wave_48_m_s"]
    for wave in (4, 24):
        assert abs(found[f"wave_{wave}_order"] - 2) < 0.02
        assert found[f"wave_{wave}_error_at_0.625_degrees"] < 0.007


def test_tracer_rotation(numbers):
    found = numbers("tracer_rotation")
    for scheme in ("upwind", "tvd"):
        assert found[f"{scheme}_content_change"] < ROUND_OFF
        assert found[f"{scheme}_overshoot"] < 1e-15
    assert found["tvd_bell_peak"] > 0.95 > 0.6 > found["upwind_bell_peak"]
    for norm in ("l1", "l2", "max"):
        assert found[f"tvd_bell_{norm}"] < 0.04 < 0.4 < found[f"upwind_bell_{norm}"]
    assert found["tvd_cylinder_l1"] < 0.35 < 1 < found["upwind_cylinder_l1"]
    # the limiter flattens the peak; a jump is known to no better than a cell's width
    assert abs(found["tvd_bell_order_l1"] - 1.5) < 0.1
    assert abs(found["tvd_cylinder_order_l1"] - 0.8) < 0.1
    assert 0.5 < found["upwind_bell_order_l1"] < 1


def test_equator(numbers):
    found = numbers("equator")
    assert found["latitude_of_the_middle_row"] < 1e-12
    assert found["speed_on_the_equator"] < ROUND_OFF
    assert 0.99 < found["largest_speed_over_bound"] < 1
    # within one of the rows of 0.1 degree
    where = found["latitude_where_f_is_f_min"]
    assert abs(found["latitude_of_the_largest_speed"] - where) < 0.1
    assert found["wave_error"] < 5e-4 and abs(found["wave_order"] - 2) < 0.02
    exact = found["wave_current_closed_form"]
    assert found["wave_current_beta_plane"] == pytest.approx(exact, rel=1e-3)
    assert 0 < found["part_left_at_2_degrees"] < 0.25
    assert 0.95 < found["part_left_at_20_degrees"] < 1
    gradients = []
    for f_min in ("2.5e-06", "1e-05", "2e-05"):
        assert found[f"f_min_{f_min}_all_finite"] == 1
        gradients.append(found[f"f_min_{f_min}_largest_gradient"])
    assert gradients == sorted(gradients, reverse=True) and gradients[-1] > 0

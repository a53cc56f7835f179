"""Options of the figures, and what they are refused for before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from hybridom.config import load
from hybridom.config.output import Prognostic
from hybridom.errors import UserError
from hybridom.figures import FIGURES, figure_inputs, figure_names
from hybridom.figures.registry import FEWEST_CELLS, chosen_leads
from hybridom.variables import PROGNOSTIC
from tests.evaluation import synthetic
from tests.figures.conftest import altered

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "config" / "demo.yaml"


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("figures.leads=[1,61]", r"figures\.leads: 61 lies beyond forecast\.days 60"),
        ("forecast.days=50", r"figures\.leads: 60 lies beyond forecast\.days 50"),
        ("figures.leads=[]", "leads"),
        ("figures.zoom=gulf", r"figures\.zoom: 'gulf' is no box of evaluation\.regions \(tropics"),
        ("figures.zoom=[10,5,0,20]", "south < north"),
        ("figures.zoom=[5,10,20,20]", "south < north"),
        ("figures.hovmoeller.lat=[2,-2]", "-90 <= south < north"),
        ("figures.animation.variables=[siconc]", "thetao"),
        ("figures.animation.format=webm", "gif"),
    ],
)
def test_options_that_cannot_be_drawn_are_refused_early(override, words):
    with pytest.raises(UserError, match=words):
        load(DEMO, [override])


def test_leads_are_the_usual_ones_within_the_forecast_unless_chosen(tmp_path):
    config = altered(synthetic.make_config(tmp_path, days=12), leads=None)
    assert chosen_leads(config) == (1, 10)
    assert chosen_leads(altered(config, leads=(2, 12))) == (2, 12)
    assert load(DEMO, ["forecast.days=50", "figures.leads=null"])


def test_names_of_variables_are_the_prognostic_ones():
    assert get_args(Prognostic) == PROGNOSTIC


def test_a_figure_of_a_family_is_there_with_its_family(tmp_path):
    config = load(DEMO)
    for family in ("extremes", "heatwaves", "derived", "budgets", "spectra", "drift"):
        theirs = {name for name, figure in FIGURES.items() if figure.needs == family}
        assert theirs
        without = config.evaluation.model_copy(update={"families": ()})
        those = config.evaluation.model_copy(update={"families": (family,)})
        assert not theirs & set(figure_names(config.model_copy(update={"evaluation": without})))
        chosen = config.model_copy(update={"evaluation": those})
        assert theirs <= set(figure_names(chosen))


def test_inputs_of_a_family_are_its_table(scored):
    for name in figure_names(scored.config):
        figure = FIGURES[name]
        if figure.needs in ("extremes", "spectra", "drift"):
            inputs = figure_inputs(name, scored.config, scored.layout)
            assert inputs == [scored.layout.table(figure.needs)]


def test_there_are_no_spectra_of_a_grid_too_coarse_for_them(scored):
    from hybridom.evaluation.segments import FEWEST_CELLS as scored_from

    assert scored_from == FEWEST_CELLS
    assert "spectra" in figure_names(scored.config)
    spectra = scored.config.evaluation.spectra.model_copy(update={"segment": 200.0})
    evaluation = scored.config.evaluation.model_copy(update={"spectra": spectra})
    coarse = scored.config.model_copy(update={"evaluation": evaluation})
    assert not {"spectra", "effective_resolution_lead"} & set(figure_names(coarse))


# What a caption has to speak of, beside what every one of them says.
WORDS = {
    "rmse_lead": ("square error", "persistence", "interval"),
    "skill_lead": ("skill", "baseline", "interval"),
    "acc_lead": ("anomaly correlation", "climatology"),
    "bias_lead": ("forecast minus truth",),
    "activity_lead": ("variance",),
    "scorecard": ("skill", "baseline", "hatched", "blue", "red"),
    "profiles": ("rmse", "bias", "depth"),
    "extremes_lead": ("percentile", "critical success", "sedi"),
    "heatwaves_lead": ("five days", "intensity", "area"),
    "derived_lead": ("mixed-layer", "geostrophic", "heat content", "kinetic energy"),
    "budgets": ("heat", "salt", "volume", "kinetic energy"),
    "spectra": ("wavelength", "truth", "effective resolution", "triangles"),
    "effective_resolution_lead": ("wavelength", "half"),
    "drift_lead": ("distance", "particles"),
    "training_curves": ("loss", "gradient", "validation"),
    "efficiency": ("window", "waiting for data", "persistence"),
    "maps": ("forecast", "truth", "difference"),
    "zoom": ("temperature", "speed", "vorticity", "equator"),
    "edges_lead": ("edges", "interior", "1.2", "intervals"),
    "gate_weights": ("weights", "driver", "sum to one", "land"),
    "hovmoeller": ("longitude", "lead", "climatology", "band"),
    "animation": ("forecast", "truth", "difference", "colours"),
}


@pytest.mark.parametrize("module", sorted({figure.module for figure in FIGURES.values()}))
def test_every_figure_has_a_caption_that_says_what_is_drawn(module):
    text = (ROOT / "workflow" / "report" / f"{module}.rst").read_text()
    assert len(text) > 120 and text.rstrip().endswith(".")
    flat = " ".join(text.lower().split())
    assert [word for word in WORDS[module] if word not in flat] == []
    assert "standard deviation" not in flat


def test_every_module_of_a_figure_is_there():
    for figure in FIGURES.values():
        source = (ROOT / "hybridom" / "figures" / f"{figure.module}.py").read_text()
        assert ("def film(" if figure.moving else "def figure(") in source

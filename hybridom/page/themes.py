"""Figures by what they are about, in the order of a page and of the workflow's report."""

from __future__ import annotations

# Heading -> modules of `hybridom.figures`.
THEMES: dict[str, tuple[str, ...]] = {
    "Scorecards": ("scorecard",),
    "Skill against lead": (
        "rmse_lead",
        "skill_lead",
        "acc_lead",
        "activity_lead",
        "bias_lead",
        "profiles",
    ),
    "Regions": ("edges_lead", "gate_weights"),
    "Maps": ("maps", "zoom", "hovmoeller", "animation"),
    "Extremes": ("extremes_lead", "heatwaves_lead"),
    "Derived quantities": ("derived_lead", "drift_lead"),
    "Spectra": ("spectra", "effective_resolution_lead"),
    "Budgets": ("budgets",),
    "Training": ("training_curves", "efficiency"),
}
OTHER = "Other figures"


def theme(module: str) -> str:
    """The theme of the figures of one module; `OTHER` where it has none."""
    return next((name for name, modules in THEMES.items() if module in modules), OTHER)


def table_caption(family: str) -> str:
    """File name of the caption of a family's table in the folder of captions."""
    return "scores.rst" if family == "scores" else f"table_{family}.rst"

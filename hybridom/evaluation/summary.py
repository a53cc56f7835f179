"""The skill table as one self-contained page: which system is best, by variable and lead."""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np
import pandas as pd

from hybridom.evaluation.edge_ratio import EDGE_RATIO, LIMIT
from hybridom.evaluation.skill import baselines, level_name, rmse_by_system
from hybridom.evaluation.systems import MODEL
from hybridom.quantities import Quantity, quantity
from hybridom.variables import VARIABLES, Variable

# What the page says of each baseline.
BASELINES = {
    "persistence": "Persistence holds the initial state.",
    "climatology": "Climatology is that of the valid day, from the training period.",
    "damped_persistence": "Damped persistence is that climatology and what is left of the initial "
    "anomaly at each lead, fitted on the training period.",
    "driver": "The driver is the coarser model's forecast, interpolated to the region's cells.",
}
# In a cell of the strip; in small letters, a class of the style below.
LETTERS = {
    MODEL: "M",
    "persistence": "P",
    "climatology": "C",
    "damped_persistence": "D",
    "driver": "I",
}

CRITERION = 30  # days, the lead at which the band along open edges is judged; else the last one

# Of a page that holds nothing else.
PAGE_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 78em; padding: 0 1em;
  color: #222; background: #fff; }
h1 { font-size: 1.5em; } h2 { font-size: 1.15em; margin-top: 2em; }
@media (prefers-color-scheme: dark) { body { color: #e6e8eb; background: #16191d; } }
"""
# Of what `summary_body` writes.
STYLE = """
.best table { border-collapse: collapse; margin: .6em 0; }
.best th, .best td { padding: .18em .5em; text-align: left; vertical-align: top; }
.best th { font-weight: 600; } .best tbody th { font-weight: 400; white-space: nowrap; }
.best .words, .best .strip { overflow-x: auto; }
.best .words td, .best .words th { border-bottom: 1px solid #8886; }
.best .words td { white-space: nowrap; }
.best .words td:last-child { min-width: 16em; white-space: normal; }
.best .strip table { font-size: .72em; }
.best .strip td { padding: 0; min-width: 1.5em; height: 1.6em; text-align: center;
  border: 1px solid transparent; vertical-align: middle; background-clip: padding-box; }
.best .strip thead th { padding: 0; text-align: center; font-weight: 400; }
.best .strip thead th:first-child { text-align: left; padding: .18em .5em; }
.best .m { background-color: #0072b2; color: #fff; }
.best .p { background-color: #d55e00; color: #000; }
.best .c { background-color: #cfcfcf; color: #000; }
.best .d { background-color: #e69f00; color: #000; }
.best .i { background-color: #56b4e9; color: #000; }
.best .over { font-weight: 600; }
.best .key { display: flex; flex-wrap: wrap; gap: .4em; } .best .key span { padding: .1em .5em; }
.best summary { cursor: pointer; }
@media (max-width: 40em) {
  .best .words tr { display: grid; grid-template-columns: 1fr auto auto; }
  .best .words th:nth-child(4) { display: none; }
  .best .words td, .best .words th { border: 0; }
  .best .words td:last-child { grid-column: 1 / -1; border-bottom: 1px solid #8886; }
}
"""


def summary_page(scores: pd.DataFrame, skill: pd.DataFrame, experiment: str, n_starts: int) -> str:
    """The page.

    Args:
        scores: The table of `averages.average`.
        skill: The table of `skill.skill_table`.
        experiment: Name of the experiment.
        n_starts: Number of start dates.

    Returns:
        HTML that needs no other file.
    """
    title = f"Skill of {escape(experiment)}"
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{title}</title><style>{PAGE_STYLE}{STYLE}</style></head><body>",
        f"<h1>{title}</h1>",
        summary_body(scores, skill, n_starts),
        "</body></html>\n",
    ]
    return "\n".join(parts)


def summary_body(
    scores: pd.DataFrame, skill: pd.DataFrame, n_starts: int, heading: str = "h2"
) -> str:
    """Which system is best, as a part of a page that has the rules of `STYLE`.

    Args:
        scores: The table of `averages.average`.
        skill: The table of `skill.skill_table`.
        n_starts: Number of start dates.
        heading: Tag of the headings of regions.

    Returns:
        HTML.
    """
    wide = rmse_by_system(scores)
    names = baselines(scores)
    key = "".join(
        f'<span class="{LETTERS[name].lower()}">{LETTERS[name]} {name.replace("_", " ")}</span>'
        for name in (MODEL, *names)
    )
    parts = [
        '<div class="best">',
        f"<p>Area-weighted RMSE against the verifying analysis, mean over {n_starts} start "
        f"{'date' if n_starts == 1 else 'dates'} (<code>rmse_mean</code>). "
        f"{' '.join(BASELINES[name] for name in names)} A cell is coloured by the system with the "
        "smallest RMSE at that lead.</p>",
        f'<p class="key">{key}</p>',
        *_edges(scores, heading),
    ]
    for region in skill["region"].unique():
        name = escape(str(region)).replace("_", " ").capitalize()
        parts.append(f"<{heading}>{name}</{heading}>")
        parts += _region(wide[wide["region"] == region], skill[skill["region"] == region])
    parts.append("</div>")
    return "\n".join(parts)


def _edges(scores: pd.DataFrame, heading: str) -> list[str]:
    """The band along open edges against the interior, a row a variable; nothing without them."""
    rows = scores[(scores["metric"] == EDGE_RATIO) & scores["depth"].isna()]
    if rows.empty:
        return []
    leads = rows["lead"].unique()
    lead = CRITERION if CRITERION in leads else int(max(leads))
    rows = rows[rows["lead"] == lead]
    systems = [name for name in (MODEL, *BASELINES) if (rows["system"] == name).any()]
    head = "".join(f"<th>{name.replace('_', ' ').capitalize()}</th>" for name in systems)
    lines = []
    for variable in rows["variable"].unique():
        of_variable = rows[rows["variable"] == variable].set_index("system")
        cells = "".join(_ratio(of_variable, name) for name in systems)
        lines.append(f"<tr><th>{_name(variable)}</th>{cells}</tr>")
    return [
        f"<{heading}>Edge band against interior</{heading}>",
        f"<p>RMSE in the band along the open edges (region edges) over that in the interior at day "
        f"{lead}, with intervals; bold above {LIMIT:g}. Other leads and levels: metric "
        f"{EDGE_RATIO} of the scores.</p>",
        f'<div class="words"><table><thead><tr><th>Variable</th>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>",
    ]


def _ratio(of_variable: pd.DataFrame, system: str) -> str:
    """The ratio of one system, and its interval if it has one."""
    if system not in of_variable.index:
        return "<td></td>"
    value, low, high = (float(of_variable.at[system, name]) for name in ("value", "low", "high"))
    words = f"{value:.2f}" + (f" ({low:.2f} to {high:.2f})" if np.isfinite(low) else "")
    return f'<td class="over">{words}</td>' if value > LIMIT else f"<td>{words}</td>"


def _region(wide: pd.DataFrame, skill: pd.DataFrame) -> list[str]:
    whole = skill["depth"].isna()
    parts = [_words(skill[whole]), _strip(wide[wide["depth"].isna()])]
    if (~whole).any():
        parts += [
            "<details><summary>By level</summary>",
            _strip(wide[wide["depth"].notna()]),
            _words(skill[~whole]),
            "</details>",
        ]
    return parts


def _words(skill: pd.DataFrame) -> str:
    """A row a variable: counts and the verdict."""
    head = "<tr><th>Variable</th><th>Level</th><th>Leads won</th><th>The model is</th></tr>"
    rows = [
        f"<tr><th>{_name(row.variable)}</th><td>{escape(row.level)}</td>"
        f"<td>{row.leads_every} of {row.leads}</td><td>{escape(row.verdict)}</td></tr>"
        for row in skill.itertuples()
    ]
    return (
        f'<div class="words"><table><thead>{head}</thead><tbody>{"".join(rows)}</tbody></table>'
        "</div>"
    )


def _strip(wide: pd.DataFrame) -> str:
    """A row a variable and level, a cell a lead, coloured by the best system."""
    leads = np.sort(wide["lead"].unique())
    systems = [name for name in wide if name in (MODEL, *BASELINES)]
    head = "".join(f"<th>{lead if lead == 1 or lead % 5 == 0 else ''}</th>" for lead in leads)
    rows = []
    for (variable, depth), curve in wide.groupby(
        ["variable", "depth"], sort=False, dropna=False, observed=True
    ):
        units = _described(variable).units
        rows_by_lead = curve.sort_values("lead").itertuples()
        cells = [_cell(row, systems, units if np.isnan(depth) else None) for row in rows_by_lead]
        label = f"{_name(variable)}, {level_name(str(variable), float(depth))}"
        rows.append(f"<tr><th>{label}</th>{''.join(cells)}</tr>")
    return (
        f'<div class="strip"><table><thead><tr><th>Lead (days)</th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _cell(row: Any, systems: list[str], units: str | None) -> str:
    """The best system of one lead; with units given, a tooltip holds the errors of all."""
    values = {system: float(getattr(row, system)) for system in systems}
    best = min(values, key=lambda system: values[system])
    title = ""
    if units is not None:
        errors = ", ".join(
            f"{system.replace('_', ' ')} {value:.3g}" for system, value in values.items()
        )
        title = f' title="day {row.lead}: {errors} {units}"'
    return f'<td class="{LETTERS[best].lower()}"{title}>{LETTERS[best]}</td>'


def _name(variable: object) -> str:
    return escape(_described(variable).long_name.capitalize())


def _described(variable: object) -> Variable | Quantity:
    name = str(variable)
    return VARIABLES[name] if name in VARIABLES else quantity(name)

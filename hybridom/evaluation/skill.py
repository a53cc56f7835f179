"""Where the model is better than its baselines, in ranges of leads and in words."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from hybridom.evaluation.systems import MODEL

CURVE = ["region", "variable", "depth"]


def rmse_by_system(scores: pd.DataFrame) -> pd.DataFrame:
    """`rmse_mean` with one column a system.

    Args:
        scores: The table of `averages.average`.

    Returns:
        Columns region, variable, depth, lead, model and the baselines, in the order of `scores`.
    """
    rows = scores[scores["metric"] == "rmse_mean"]
    parts = [
        rows.loc[rows["system"] == system, [*CURVE, "lead", "value"]].rename(
            columns={"value": system}
        )
        for system in (MODEL, *baselines(scores))
    ]
    wide = parts[0]
    for part in parts[1:]:
        wide = wide.merge(part, on=[*CURVE, "lead"], how="left", validate="one_to_one")
    return wide.reset_index(drop=True)


def baselines(scores: pd.DataFrame) -> list[str]:
    """Systems of a table of scores but the model, in the table's order."""
    return [str(name) for name in scores["system"].unique() if name != MODEL]


def skill_table(scores: pd.DataFrame) -> pd.DataFrame:
    """Leads at which the model's mean RMSE is below that of each baseline.

    Args:
        scores: The table of `averages.average`.

    Returns:
        One row for every region, variable and level, whole variables first. Columns: region,
        variable, depth (m; NaN for the whole variable), level (in words), leads (number scored),
        `beats_<baseline>`, the leads at which the model beats it (such as `1 to 4, 9`; `none`),
        `surely_<baseline>`, those of them at which the whole interval of the skill lies above
        zero, `beats_every` and `beats_no` baseline, leads_every (number of those at which it beats
        every baseline) and verdict (a sentence).
    """
    names = baselines(scores)
    wide = rmse_by_system(scores)
    for name in names:
        rows = scores[(scores["metric"] == f"skill_{name}") & (scores["system"] == MODEL)]
        low = rows[[*CURVE, "lead", "low"]].rename(columns={"low": f"low_{name}"})
        wide = wide.merge(low, on=[*CURVE, "lead"], how="left", validate="one_to_one")
    rows = []
    for (region, variable, depth), curve in wide.groupby(
        CURVE, sort=False, dropna=False, observed=True
    ):
        curve = curve.sort_values("lead")
        leads = curve["lead"].to_numpy()
        wins = {name: (curve[MODEL] < curve[name]).to_numpy() for name in names}
        every = np.logical_and.reduce(list(wins.values()))
        some = np.logical_or.reduce(list(wins.values()))
        rows.append(
            {
                "region": region,
                "variable": variable,
                "depth": depth,
                "level": level_name(str(variable), float(depth)),
                "leads": len(leads),
                **{f"beats_{name}": ranges(leads[won]) for name, won in wins.items()},
                **{f"surely_{name}": ranges(leads[curve[f"low_{name}"] > 0]) for name in names},
                "beats_every": ranges(leads[every]),
                "beats_no": ranges(leads[~some]),
                "leads_every": int(every.sum()),
                "verdict": verdict(leads, wins),
            }
        )
    table = pd.DataFrame(rows)
    by_level = table["depth"].notna()
    order = table.assign(by_level=by_level, region_order=pd.factorize(table["region"])[0])
    return table.loc[order.sort_values(["region_order", "by_level"], kind="stable").index]


def level_name(variable: str, depth: float) -> str:
    """A level in words: a depth, `surface` for zos, or `all levels`."""
    if not np.isnan(depth):
        return f"{depth:.0f} m"
    return "surface" if variable == "zos" else "all levels"


def ranges(leads: Iterable[int]) -> str:
    """Ascending leads as ranges: `1 to 4, 9`, or `none`."""
    runs: list[list[int]] = []
    for lead in leads:
        if runs and lead == runs[-1][-1] + 1:
            runs[-1].append(lead)
        else:
            runs.append([lead])
    names = [f"{run[0]} to {run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs]
    return ", ".join(names) or "none"


def verdict(leads: np.ndarray, wins: dict[str, np.ndarray]) -> str:
    """A sentence on one variable.

    Args:
        leads: Leads (n,) in days.
        wins: For every baseline, bool (n,): whether the model's error is the smaller.
    """
    every = np.logical_and.reduce(list(wins.values()))
    if every.all():
        return "better than every baseline at every lead"
    parts = []
    if every.any():
        parts.append(f"better than every baseline at {_days(leads[every])}")
    for name, won in wins.items():
        words = name.replace("_", " ")
        if not won.any():
            parts.append(f"not better than {words} at any lead")
        elif not won.all():
            parts.append(f"not better than {words} at {_days(leads[~won])}")
    return "; ".join(parts)


def _days(leads: np.ndarray) -> str:
    return f"{'day' if len(leads) == 1 else 'days'} {ranges(leads)}"

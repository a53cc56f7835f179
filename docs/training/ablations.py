"""The table of docs/training.md that sets HybridOM beside its own ablations.

Reads `scores.csv` of experiments named `<variant>_<seed>` and prints a Markdown table: mean over
the seeds of the RMSE over start dates, with half the range between seeds.

    python docs/training/ablations.py results full network_only skeleton_only
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from hybridom.variables import PROGNOSTIC, VARIABLES

LEADS = (10, 30, 60)
BASELINES = ("persistence", "damped_persistence", "climatology")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=Path, help="paths.results of the experiments")
    parser.add_argument("variants", nargs="+", help="experiments without their seeds")
    args = parser.parse_args()
    columns = {name: variant(args.results, name) for name in args.variants}
    any_run = read(sorted(args.results.glob(f"{args.variants[0]}_*"))[0])
    columns |= {name: any_run[name].rename("mean").to_frame() for name in BASELINES}
    print(f"| variable | lead | {' | '.join(columns)} |")
    print(f"|---|---|{'---|' * len(columns)}")
    for name in PROGNOSTIC:
        for lead in LEADS:
            cells = [cell(column.loc[(name, lead)]) for column in columns.values()]
            print(f"| {name}, {VARIABLES[name].units} | {lead} | {' | '.join(cells)} |")


def read(experiment: Path) -> pd.DataFrame:
    """RMSE of the whole ocean by (variable, lead), a column a system."""
    table = pd.read_csv(experiment / "scores" / "scores.csv")
    whole = table["depth"].isna() & (table["region"] == "global") & (table["metric"] == "rmse_mean")
    return table[whole].pivot(index=["variable", "lead"], columns="system", values="value")


def variant(results: Path, name: str) -> pd.DataFrame:
    """Mean of the model's RMSE over seeds and half of its range, by (variable, lead)."""
    runs = [read(path)["model"] for path in sorted(results.glob(f"{name}_[0-9]*"))]
    seeds = pd.concat(runs, axis=1)
    spread = (seeds.max(axis=1) - seeds.min(axis=1)) / 2
    return pd.DataFrame({"mean": seeds.mean(axis=1), "spread": spread})


def cell(row: pd.Series) -> str:
    """The mean with three digits, and the spread where there is one."""
    text = f"{row['mean']:.3g}"
    return f"{text} ± {row['spread']:.1g}" if row.get("spread", 0) > 0 else text


if __name__ == "__main__":
    main()

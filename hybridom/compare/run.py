"""Comparing experiments: tables, figures and a page in one folder."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from hybridom import __version__
from hybridom.compare import drawing
from hybridom.compare.sources import ERROR, Experiment, open_experiments, require_comparable
from hybridom.compare.tables import Comparison, compare_tables, errors_at_leads
from hybridom.errors import UserError
from hybridom.evaluation.edge_ratio import EDGE_RATIO
from hybridom.evaluation.families import FAMILIES, SCORES
from hybridom.evaluation.regions import EDGES, INTERIOR
from hybridom.evaluation.tables import write_csv, write_parquet, write_text
from hybridom.figures import style
from hybridom.figures.inputs import GLOBAL
from hybridom.page.document import Document, Picture, Table, render
from hybridom.page.images import read_image

METRICS = ("rmse_mean", "acc_centred", "activity")
# Errors, of which a scorecard can be made.
ERRORS = ("rmse_mean", "rmse_pooled", "mae")
PAGE = "page.html"
PLACES = {
    GLOBAL: "over the whole grid",
    EDGES: "in the band along the open edges",
    INTERIOR: "in all but the band along the open edges",
}
ERRORS_NOTE = (
    "rmse_mean of whole variables, a column an experiment; columns reference are baselines that "
    "all were scored beside. Other leads, levels and regions, and intervals, are in the next table."
)

log = logging.getLogger(__name__)


def default_folder(names: Sequence[str], labels: Sequence[str] | None, results: Path) -> Path:
    """Where a comparison is written unless another folder is named."""
    words = labels if labels is not None else [Path(name).resolve().name for name in names]
    safe = (re.sub(r"[^A-Za-z0-9.-]+", "-", word).strip("-") for word in words)
    return results / f"compare_{'_'.join(safe)}"


def compare(
    names: Sequence[str],
    results: Path,
    output: Path,
    labels: Sequence[str] | None,
    metrics: Sequence[str],
    depths: Sequence[float],
    dpi: int,
) -> Comparison:
    """Compare experiments and write `<family>.csv` and `.parquet`, `figures/` and `page.html`.

    Args:
        names: Experiments in `results`, or folders of tables; the first is what the others are
            held against.
        results: Folder of experiments.
        output: Folder to write.
        labels: Names for tables and legends, or None for those of the folders.
        metrics: Metrics to draw against lead; none for RMSE, ACC, activity and every skill.
        depths: Depths in m to draw; the nearest levels are taken.
        dpi: Dots per inch of the figures.

    Raises:
        UserError: See `sources.open_experiments`, `sources.require_comparable` and
            `tables.compare_tables`; or a metric is not among those in common.
    """
    experiments = open_experiments(names, labels, results)
    notes = require_comparable(experiments)
    found = compare_tables(experiments)
    for words in found.left_out:
        log.info("%s", words)
    for words in (*notes, *found.warnings):
        log.warning("%s", words)
    chosen = drawn_metrics(found.tables[SCORES], metrics)
    for family, table in found.tables.items():
        write_parquet(table, output / f"{family}.parquet")
        write_csv(table, output / f"{family}.csv")
    pictures = draw(found, chosen, output / "figures", depths, dpi)
    page = render(document(experiments, found, pictures, [*notes, *found.warnings]))
    write_text(page, output / PAGE)
    log.info("%s: %.1f MB", output / PAGE, len(page.encode()) / 1e6)
    return found


def drawn_metrics(table: pd.DataFrame, wanted: Sequence[str]) -> list[str]:
    """Metrics to draw.

    Args:
        table: Scores of the fields side by side.
        wanted: Names, or none for the usual ones.

    Raises:
        UserError: One of them is not in the table, or nothing of the whole grid is.
    """
    known = [str(name) for name in table.loc[table["region"] == GLOBAL, "metric"].unique()]
    if not known:
        raise UserError(f"region {GLOBAL} is not among the common scores; figures need it")
    for name in wanted:
        if name not in known:
            raise UserError(f"--metric {name}: expected one of {', '.join(known)}")
    usual = [name for name in known if name in METRICS or name.startswith("skill_")]
    return list(dict.fromkeys(wanted)) or usual


def draw(
    found: Comparison, metrics: Sequence[str], folder: Path, depths: Sequence[float], dpi: int
) -> dict[str, list[Picture]]:
    """Draw all figures.

    Args:
        found: What is compared.
        metrics: Metrics to draw against lead; of the errors among them, scorecards.
        folder: Folder of the figures.
        depths: Wanted depths in m.
        dpi: Dots per inch.

    Returns:
        Theme -> figures.
    """
    table, first = found.tables[SCORES], found.labels[0]
    themes: dict[str, list[Picture]] = {"Scorecards": [], "Scores against lead": [], "Edges": []}
    beside = ", ".join(found.references)
    with style.context():
        for theme, metric, region in panels_to_draw(table, metrics):
            suffix = "" if region == GLOBAL or metric == EDGE_RATIO else f"_{region}"
            name, words = f"{metric}_lead{suffix}", drawing.metric_name(metric)
            path = folder / f"{name}.png"
            figure = drawing.lead_figure(
                table, found.labels, metric, depths, found.references, region
            )
            style.save(figure, [path], dpi)
            caption = (
                f"{metric} {PLACES[region]}. Lines are means over start dates, bands "
                "their intervals."
            )
            if beside and not metric.startswith("skill_"):
                caption += f" Grey: what the experiments were scored beside ({beside})."
            where = "" if region == GLOBAL else f", {region}"
            title = f"{words}{where} against lead"
            themes[theme].append(Picture(name, title, caption, content=read_image(path)))
        errors = [name for name in metrics if name in ERRORS]
        for number, other in enumerate(found.labels[1:], start=2):
            for metric in errors:
                name = f"scorecard_{metric}_{number}"
                path = folder / f"{name}.png"
                style.save(drawing.scorecard(table, first, other, metric), [path], dpi)
                caption = (
                    f"{metric} of {other} divided by that of {first}, minus one, over the "
                    f"whole grid. Blue: {other} has the smaller error. Dots: the intervals do not "
                    "overlap."
                )
                title = f"{drawing.metric_name(metric)} of {other} against {first}"
                themes["Scorecards"].append(Picture(name, title, caption, content=read_image(path)))
    return {theme: pictures for theme, pictures in themes.items() if pictures}


def panels_to_draw(table: pd.DataFrame, metrics: Sequence[str]) -> list[tuple[str, str, str]]:
    """Theme, metric and region of each figure against lead.

    All metrics over the whole grid; where the band along open edges was scored, its RMSE, that of
    the interior, and their ratio.
    """
    wanted = [("Scores against lead", metric, GLOBAL) for metric in metrics]
    if ERROR not in metrics:
        return wanted
    pairs = [(ERROR, EDGES), (ERROR, INTERIOR), (EDGE_RATIO, EDGES)]
    there = set(zip(table["metric"], table["region"], strict=True))
    return wanted + [("Edges", *pair) for pair in pairs if pair in there]


def document(
    experiments: Sequence[Experiment],
    found: Comparison,
    pictures: dict[str, list[Picture]],
    notes: Sequence[str],
) -> Document:
    """The page of a comparison."""
    first = found.labels[0]
    facts = {one.label: str(one.folder) for one in experiments}
    if experiments[0].starts:
        starts = experiments[0].starts
        facts["Start dates"] = f"{len(starts)}, {starts[0]} to {starts[-1]}"
    facts["Left out"] = "; ".join(found.left_out) or "nothing"
    facts["Page made by"] = f"hybridom {__version__}"
    note = (
        f"Scores of the model, one column an experiment. Differences are those to {first}; overlap "
        "says whether both intervals have a point in common. Intervals that do not overlap tell "
        "two experiments apart; those that do leave it open, since both have the same start dates."
        " Columns reference are baselines that all were scored beside."
    )
    tables = [
        Table(
            family,
            FAMILIES[family].title,
            note,
            table,
            (*FAMILIES[family].keys, *(name for name in table if name.startswith("overlap_"))),
        )
        for family, table in found.tables.items()
    ]
    errors = errors_at_leads(found)
    if len(errors):
        tables.insert(0, Table("errors", "RMSE at a few leads", ERRORS_NOTE, errors))
    return Document(
        title=f"Comparison of {', '.join(found.labels)}",
        facts=facts,
        themes=pictures,
        tables=tables,
        notes=notes,
    )

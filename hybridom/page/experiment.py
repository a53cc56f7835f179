"""The page of one experiment: its summary, figures and tables."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pandas as pd

from hybridom import __version__
from hybridom.config import config_hash
from hybridom.errors import UserError
from hybridom.evaluation.families import FAMILIES, SCORES
from hybridom.evaluation.summary import STYLE, summary_body
from hybridom.evaluation.tables import write_text
from hybridom.figures import FIGURES, figure_names, figure_outputs
from hybridom.files import read_json
from hybridom.layout import Layout
from hybridom.page.captions import read_caption
from hybridom.page.document import Document, Picture, Table, render
from hybridom.page.images import SHOWN, read_image, shown_file
from hybridom.page.themes import OTHER, THEMES, table_caption, theme

AGGREGATE = "hybridom evaluate aggregate"

log = logging.getLogger(__name__)


def write_page(config: Any, layout: Layout, captions: Path) -> None:
    """Write `layout.page`.

    Args:
        config: A `Config` or the `page` stage's part of it.
        layout: Paths.
        captions: Folder of the captions, `workflow/report`.

    Raises:
        UserError: A table or a caption is missing, or a figure cannot be read. A figure that was
            not drawn is named in the page instead, with the command that draws it.
    """
    families = (SCORES, *config.evaluation.families)
    scores = {name: read_table(layout.table(name)) for name in families}
    skill = read_table(layout.skill_table)
    pictures = {name: picture(name, config, layout, captions) for name in figure_names(config)}
    tables = [
        Table(
            name,
            FAMILIES[name].title,
            read_caption(captions, table_caption(name)),
            table,
            FAMILIES[name].keys,
        )
        for name, table in scores.items()
    ]
    note = read_caption(captions, "skill.rst")
    tables.insert(1, Table("skill", "Leads at which the model is better", note, skill))
    starts = len(config.forecast.start_dates())
    document = Document(
        title=f"Experiment {config.experiment}",
        facts=facts(config, layout),
        themes=by_theme(pictures),
        tables=tables,
        summary=summary_body(scores[SCORES], skill, starts, heading="h3"),
        style=STYLE,
    )
    page = render(document)
    write_text(page, layout.page)
    rows = sum(len(table.rows) for table in tables)
    absent = [name for name, shown in pictures.items() if not shown.content]
    log.info(
        "%s: %.1f MB, %d figures, %d rows in %d tables",
        layout.page,
        len(page.encode()) / 1e6,
        len(pictures) - len(absent),
        rows,
        len(tables),
    )
    for name in absent:
        log.warning("%s: without figure %s: %s", layout.page, name, pictures[name].problem)


def read_table(path: Path) -> pd.DataFrame:
    """A table of scores, Parquet or CSV.

    Raises:
        UserError: It is missing.
    """
    if not path.is_file():
        raise UserError(f"{path}: this table is missing; run `{AGGREGATE}`")
    return pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)


def picture(name: str, config: Any, layout: Layout, captions: Path) -> Picture:
    """One figure, or why it cannot be shown.

    Args:
        name: Name of the figure.
        config: A `Config` or the `page` stage's part of it.
        layout: Paths.
        captions: Folder of the captions.

    Raises:
        UserError: Its caption is missing, or its file is no image.
    """
    entry, files = FIGURES[name], figure_outputs(name, config, layout)
    caption = read_caption(captions, entry.caption)
    path = shown_file(files)
    problem = ""
    if path is None:
        problem = (
            f"A page cannot show {files[0]}; add png or svg to figures.formats and run "
            f"hybridom figures {name}"
        )
    elif not path.is_file():
        problem = f"{path} is missing; run hybridom figures {name}"
    if path is None or problem:
        return Picture(name, entry.title, caption, problem=problem)
    return Picture(name, entry.title, caption, path.suffix, SHOWN[path.suffix], read_image(path))


def by_theme(pictures: dict[str, Picture]) -> dict[str, list[Picture]]:
    """Figures by theme, in the order of `THEMES`; themes without figures are left out."""
    found: dict[str, list[Picture]] = {name: [] for name in (*THEMES, OTHER)}
    for name, shown in pictures.items():
        found[theme(FIGURES[name].module)].append(shown)
    return {name: shown for name, shown in found.items() if shown}


def facts(config: Any, layout: Layout) -> dict[str, str]:
    """What a reader needs to know where the numbers come from.

    Args:
        config: A `Config` or the `page` stage's part of it.
        layout: Paths.
    """
    starts, every = config.forecast.start_dates(), config.forecast.every
    periods = config.periods
    grid, bootstrap = config.grid, config.evaluation.bootstrap
    dates = f"{starts[0]}"
    if len(starts) > 1:
        dates = f"{len(starts)}, every {every} days from {starts[0]} to {starts[-1]}"
    driver = {}
    if config.region is not None:
        outer = config.region.driver
        driver = {"Driver": f"{outer.experiment}, on the grid {outer.grid}"}
    return {
        "Grid": f"{grid.name}: {grid.resolution:g} degrees, {len(grid.depths)} levels to "
        f"{grid.depths[-1]:.0f} m",
        **driver,
        "Training": f"{periods.train.start} to {periods.train.end}",
        "Validation": f"{periods.validation.start} to {periods.validation.end}",
        "Test": f"{periods.test.start} to {periods.test.end}",
        "Start dates": f"{dates}; {config.forecast.days} days each",
        "Baselines": ", ".join(name.replace("_", " ") for name in config.evaluation.baselines),
        "Intervals": f"{100 * bootstrap.level:g} %, from {bootstrap.samples} samples of blocks of "
        "start dates; columns low and high",
        "Forecasts made by": origins(config, layout),
        "Page made by": f"hybridom {__version__}, configuration {config_hash(config)}",
    }


def origins(config: Any, layout: Layout) -> str:
    """Versions and hashes of configuration and grid in the manifests of the forecasts.

    Args:
        config: A `Config` or the `page` stage's part of it.
        layout: Paths.
    """
    found: dict[str, None] = {}
    for start in config.forecast.start_dates():
        path = layout.forecast_manifest(start)
        manifest = read_json(path) or {}
        known = {"version", "config_hash", "grid_hash"} <= set(manifest)
        words = f"unknown ({path} is missing or not a manifest)"
        if known:
            words = (
                f"hybridom {manifest['version']}, configuration {manifest['config_hash']}, "
                f"grid {manifest['grid_hash']}"
            )
        found[words] = None
    return "; ".join(found)

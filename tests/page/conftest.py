"""A finished experiment as far as a page sees it: tables, figures and captions, all made up."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageDraw

from hybridom.config import Config
from hybridom.config.output import FamilyName
from hybridom.evaluation.families import FAMILIES, KEYS
from hybridom.evaluation.skill import skill_table
from hybridom.figures import FIGURES, figure_names, figure_outputs
from hybridom.files import write_json
from hybridom.layout import Layout
from hybridom.page.experiment import write_page
from hybridom.page.themes import table_caption
from tests.evaluation.synthetic import make_config

VARIABLES = {"thetao": [np.nan, 5.0, 20.0], "zos": [np.nan]}
SYSTEMS = ("model", "persistence", "climatology")


@dataclass
class Experiment:
    """What was written."""

    config: Config
    layout: Layout
    captions: Path
    tables: dict[str, pd.DataFrame]


def score_rows(leads=range(1, 31), regions=("global", "tropics"), seed=1, keys=()):
    """A table of scores with NaN in some intervals."""
    rng = np.random.default_rng(seed)
    rows = [
        (lead, region, variable, depth, system, metric)
        for metric in ("rmse_mean", "bias", "acc_centred", "activity")
        for region in regions
        for variable, depths in VARIABLES.items()
        for depth in depths
        for system in SYSTEMS
        for lead in leads
    ]
    table = pd.DataFrame(rows, columns=list(KEYS))
    for name in keys:
        table[name] = rng.choice([100.0, 250.5, 1000.0], len(table))
    size = len(table)
    sign = np.where(table["metric"] == "bias", rng.choice([-1.0, 1.0], size), 1.0)
    table["value"] = sign * np.exp(rng.normal(-3.0, 3.0, size))
    half = np.abs(table["value"]) * rng.uniform(0.01, 0.2, size)
    table["low"], table["high"] = table["value"] - half, table["value"] + half
    table.loc[rng.random(size) < 0.05, ["low", "high"]] = np.nan
    table["n_starts"] = rng.integers(8, 10, size)
    for name in ("region", "variable", "system", "metric"):
        table[name] = table[name].astype("category")
    return table


def write_experiment(folder: Path, **sections: object) -> Experiment:
    """Write tables, figures and captions of an experiment."""
    config = make_config(folder, starts=3, days=5, **sections)
    families = get_args(FamilyName)
    evaluation = config.evaluation.model_copy(
        update={"families": families, "baselines": SYSTEMS[1:]}
    )
    config = config.model_copy(update={"evaluation": evaluation})
    layout, captions = Layout(config), folder / "captions"
    tables = {}
    for number, name in enumerate(("scores", *families)):
        tables[name] = score_rows(range(1, 9), seed=number, keys=FAMILIES[name].keys)
    tables["scores"] = score_rows(regions=("global", "tropics", "</script><img src=x>"))
    layout.table("scores").parent.mkdir(parents=True)
    for name, table in tables.items():
        table.to_parquet(layout.table(name), index=False)
    tables["skill"] = skill_table(tables["scores"])
    tables["skill"].to_csv(layout.skill_table, index=False)
    for start in config.forecast.start_dates():
        origin = {"version": "0.1.0", "config_hash": "abc", "grid_hash": "def"}
        write_json(layout.forecast_manifest(start), origin)
    layout.figures_dir.mkdir(parents=True)
    captions.mkdir()
    for number, name in enumerate(figure_names(config)):
        (captions / FIGURES[name].caption).write_text(f"Caption of ``{name}`` & <b>more</b>.\n")
        for path in figure_outputs(name, config, layout):
            draw(path, number)
    for name in ("scores", *families):
        (captions / table_caption(name)).write_text(f"What ``{name}`` holds.\n\nAnd why.\n")
    (captions / "skill.rst").write_text("The leads won.\n")
    return Experiment(config, layout, captions, tables)


def draw(path: Path, number: int) -> None:
    """A picture that differs by number."""
    image = Image.new("RGBA", (600, 300), "white")
    pen = ImageDraw.Draw(image)
    for column in range(0, 600, 3):
        shade = (column * 255 // 600, (37 * number) % 255, 128, 255)
        pen.line([(column, 20), (column, 280)], fill=shade, width=3)
    pen.text((20, 2), path.stem, fill="black")
    image.save(path)


@pytest.fixture(scope="session")
def experiment(tmp_path_factory):
    """An experiment with its page, which no test alters."""
    made = write_experiment(tmp_path_factory.mktemp("page"))
    write_page(made.config, made.layout, made.captions)
    return made

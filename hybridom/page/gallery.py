"""Figures as small files for a README, and the Markdown that shows them."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

from hybridom.errors import UserError
from hybridom.evaluation.tables import write_text
from hybridom.figures import FIGURES, figure_names, figure_outputs
from hybridom.layout import Layout
from hybridom.page.images import reduced
from hybridom.page.themes import OTHER, THEMES, theme

WIDTH = 560  # pixels
COLUMNS = 2
INDEX = "README.md"

log = logging.getLogger(__name__)


def write_gallery(config: Any, layout: Layout, folder: Path) -> None:
    """Write `<figure>.png` of every kind of figure, and `README.md`, which shows them by theme.

    Of figures that there are for every variable the first is taken; films are left out. The same
    figures give the same bytes.

    Args:
        config: A `Config` or the `page` stage's part of it.
        layout: Paths.
        folder: Where to.

    Raises:
        UserError: A figure was not drawn, or not as PNG.
    """
    chosen = gallery_figures(config)
    images = {}
    for name in chosen:
        path = layout.figures_dir / f"{name}.png"
        if path not in figure_outputs(name, config, layout) or not path.is_file():
            raise UserError(
                f"{path}: this figure is missing; run `hybridom figures {name}` with png among "
                "figures.formats"
            )
        images[name] = reduced(path, WIDTH)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in images.items():
        temporary = folder / f"{name}.png.partial"
        temporary.write_bytes(content)
        os.replace(temporary, folder / f"{name}.png")
    write_text(index(chosen, config.experiment), folder / INDEX)
    total = sum(len(content) for content in images.values())
    log.info("%s: %d figures, %.2f MB", folder, len(images), total / 1e6)


def gallery_figures(config: Any) -> list[str]:
    """Names of the figures of a gallery: one of each module, no films."""
    first: dict[str, str] = {}
    for name in figure_names(config):
        if FIGURES[name].module != "animation":
            first.setdefault(FIGURES[name].module, name)
    return list(first.values())


def index(names: list[str], experiment: str) -> str:
    """Markdown with a table of figures for every theme.

    Args:
        names: Names of the figures, `<name>.png` beside the text.
        experiment: Name of the experiment.
    """
    words = f"Figures of the experiment `{experiment}`, as `hybridom page --gallery` writes them."
    lines = ["# Gallery", "", words]
    for heading in (*THEMES, OTHER):
        shown = [name for name in names if theme(FIGURES[name].module) == heading]
        if not shown:
            continue
        lines += ["", f"## {heading}", "", "| " * COLUMNS + "|", "|---" * COLUMNS + "|"]
        for row in (shown[n : n + COLUMNS] for n in range(0, len(shown), COLUMNS)):
            cells = [
                f"![{FIGURES[name].title}]({name}.png)<br>{FIGURES[name].title}" for name in row
            ]
            lines.append("| " + " | ".join(cells + [""] * (COLUMNS - len(cells))) + " |")
    return "\n".join(lines) + "\n"

"""Scores of foreign forecasts, in the tables that our own have."""

from __future__ import annotations

import datetime as dt
import logging
from dataclasses import dataclass, replace
from pathlib import Path

from hybridom.config.output import EvaluationConfig
from hybridom.errors import UserError
from hybridom.evaluation.damping import read_damping
from hybridom.evaluation.external.cases import baselines, make_case
from hybridom.evaluation.external.opening import Files, Opened, describe, open_files
from hybridom.evaluation.families import SCORES
from hybridom.evaluation.normalised import read_scales
from hybridom.evaluation.scores import score_case, write_averages
from hybridom.evaluation.tables import write_parquet
from hybridom.evaluation.thresholds import open_thresholds_file
from hybridom.files import write_json
from hybridom.layout import Layout
from hybridom.variables import PROGNOSTIC

log = logging.getLogger(__name__)

# Variables without which a family has no rows at all.
NEEDS: dict[str, tuple[str, ...]] = {"heatwaves": ("thetao",), "drift": ("uo", "vo")}
OF_THRESHOLDS = ("extremes", "heatwaves")


@dataclass(frozen=True)
class Wanted:
    """What to compute, and where to write it.

    Attributes:
        name: Name of the system, for the page.
        folder: Of the tables.
        settings: Families, regions and the bootstrap; its baselines are not used.
        baselines: Baselines, or None for all that are possible.
        thresholds: Store of `hybridom prepare percentiles`, or None.
        statistics: File of `hybridom prepare statistics`, or None.
    """

    name: str
    folder: Path
    settings: EvaluationConfig
    baselines: tuple[str, ...] | None = None
    thresholds: Path | None = None
    statistics: Path | None = None


class FileLayout(Layout):
    """Paths of scores that belong to no configuration.

    Args:
        folder: Of the tables.
        damping: File of the damping, or None.
    """

    def __init__(self, folder: Path, damping: Path | None = None) -> None:
        super().__init__(None)
        self._folder = folder
        if damping is not None:
            self.damping = damping
        self.skill_table = folder / "skill.csv"
        self.summary = folder / "summary.html"

    def scores(self, start: dt.date, family: str = SCORES) -> Path:
        """Scores of one forecast."""
        return self._folder / family / f"{start:%Y-%m-%d}.parquet"

    def table(self, family: str) -> Path:
        """Scores over all start dates."""
        return self._folder / f"{family}.parquet"

    @property
    def sources(self) -> Path:
        """What the scores were made from."""
        return self._folder / "sources.json"


def evaluate_files(files: Files, wanted: Wanted) -> None:
    """Score the forecasts of foreign files and write their tables.

    Writes, in `wanted.folder`, what `scores.evaluate_start` and `scores.aggregate` write for our
    own: a table a family and start, `<family>.parquet` and `.csv`, and with baselines `skill.csv`
    and `summary.html`. `sources.json` holds the files, the mask, what was interpolated and
    `missing_fraction`; the Parquet tables carry the same as attributes.

    Args:
        files: What is compared.
        wanted: What to compute.

    Raises:
        UserError: Files cannot be compared, or something that was asked for needs others.
    """
    opened = open_files(files)
    layout = FileLayout(wanted.folder, files.damping)
    chosen = baselines(opened, wanted.baselines)
    settings = wanted.settings.model_copy(update={"baselines": chosen})
    _require_families(settings, opened, wanted)
    damping = None
    if "damped_persistence" in chosen:
        damping = read_damping(layout, opened.grid, opened.days)
    thresholds = None
    if wanted.thresholds is not None and set(OF_THRESHOLDS) & set(settings.families):
        thresholds = open_thresholds_file(wanted.thresholds, opened.grid, opened.wet)
    scales = None
    if wanted.statistics is not None:
        _require_all_variables(opened, wanted.statistics)
        scales = read_scales(wanted.statistics, opened.grid)
    about = describe(opened, chosen)
    for start in opened.starts:
        case = replace(make_case(opened, start, settings, damping, thresholds), scales=scales)
        for family, table in score_case(case, settings).items():
            table.attrs = about
            write_parquet(table, layout.scores(start, family))
    write_averages(wanted.name, layout, settings, opened.starts, about)
    write_json(layout.sources, about)
    log.info("%s: scores of %d start dates", wanted.folder, len(opened.starts))


def _require_families(settings: EvaluationConfig, opened: Opened, wanted: Wanted) -> None:
    """Refuse families that cannot be computed from what is there, and what none of them uses."""
    if wanted.thresholds is not None and not set(OF_THRESHOLDS) & set(settings.families):
        raise UserError(
            f"--thresholds {wanted.thresholds}: used by --families {' and '.join(OF_THRESHOLDS)} "
            "alone; give one of them or leave it out"
        )
    for family in settings.families:
        lacking = [name for name in NEEDS.get(family, ()) if name not in opened.names]
        if lacking:
            raise UserError(
                f"--families {family}: needs {', '.join(lacking)} in the forecast and the truth; "
                f"give files that hold it, or leave {family} out"
            )
        if family in OF_THRESHOLDS and wanted.thresholds is None:
            raise UserError(
                f"--families {family}: needs thresholds; give --thresholds, a store of `hybridom "
                f"prepare percentiles`, or leave {family} out"
            )
        if family == "heatwaves" and not opened.has_lead_0():
            raise UserError(
                "--families heatwaves: needs lead 0 of every forecast, since events of five days "
                "begin there; give files that hold it, or leave heatwaves out"
            )


def _require_all_variables(opened: Opened, statistics: Path) -> None:
    """Refuse normalised scores of only some variables."""
    lacking = [name for name in PROGNOSTIC if name not in opened.names]
    if lacking:
        raise UserError(
            f"--statistics {statistics}: scores of all variables together need "
            f"{', '.join(lacking)} in the forecast and the truth too; leave it out"
        )

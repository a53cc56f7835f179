"""Forecasts in foreign files as cases, with the baselines that are possible."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hybridom.errors import UserError
from hybridom.evaluation.case import AHEAD, Case
from hybridom.evaluation.external.opening import Opened
from hybridom.evaluation.regions import region_weights
from hybridom.evaluation.systems import (
    MODEL,
    ClimatologyOfTheDay,
    DampedPersistence,
    Persistence,
    System,
)

log = logging.getLogger(__name__)


def baselines(opened: Opened, wanted: Sequence[str] | None) -> tuple[str, ...]:
    """Baselines that can be scored.

    Args:
        opened: The files.
        wanted: Names, or None for all that are possible.

    Raises:
        UserError: One that was named is not possible.
    """
    damping = opened.files.damping
    if damping is not None and not damping.is_file():
        raise UserError(
            f"{damping}: no such file; expected one of `hybridom evaluate damping`, correct "
            "--damping or leave it out"
        )
    reasons = {}
    if opened.initial_state() is None:
        reasons["persistence"] = (
            "no initial state: neither lead 0 in the forecast nor the start dates in the truth"
        )
    if opened.climatology is None:
        reasons["climatology"] = "no --climatology"
    lacking = [
        *(reasons[name] for name in ("persistence", "climatology") if name in reasons),
        *(["no --damping"] if damping is None else []),
    ]
    if lacking:
        reasons["damped_persistence"] = ", ".join(lacking)
    known = ("persistence", "climatology", "damped_persistence")
    if "driver" in (wanted or ()):
        raise UserError(
            "--baselines driver: the driver's forecast is scored beside that of a region's own "
            f"experiment only; expected some of {', '.join(known)}, for driver name its files with "
            "--forecast instead"
        )
    for name in known if wanted is None else wanted:
        if name not in reasons:
            continue
        if wanted is not None:
            raise UserError(f"--baselines {name}: {reasons[name]}; give it, or leave {name} out")
        log.warning("baseline %s is not scored: %s", name, reasons[name])
    chosen = tuple(name for name in (wanted or known) if name not in reasons)
    if {"persistence", "damped_persistence"} & set(chosen):
        where = {"forecast": "lead 0 of the forecast", "truth": "the truth on the start date"}
        log.info("initial state of the baselines: %s", where[opened.initial_state() or "truth"])
    return chosen


def make_case(
    opened: Opened,
    start: dt.date,
    settings: Any,
    damping: Mapping[str, np.ndarray] | None = None,
    thresholds: Any = None,
) -> Case:
    """One forecast as the families of scores take it.

    Args:
        opened: The files.
        start: Start date.
        settings: The `EvaluationConfig`: regions and the baselines that can be scored.
        damping: What is left of an anomaly, for damped persistence.
        thresholds: Thresholds of extremes, or None.
    """
    model, climatology = opened.model(start), opened.climatology
    scored: dict[str, System] = {MODEL: model}
    if {"persistence", "damped_persistence"} & set(settings.baselines):
        source = model if opened.has_lead_0() else None
        initial = {
            name: source.field(name, 0, None) if source else opened.truth.field(name, start)
            for name in opened.names
        }
    for baseline in settings.baselines:
        if baseline == "persistence":
            scored[baseline] = Persistence(initial)
        elif baseline == "climatology":
            scored[baseline] = ClimatologyOfTheDay()
        elif climatology is not None and damping is not None:
            anomaly = {name: x - climatology.field(name, start) for name, x in initial.items()}
            scored[baseline] = DampedPersistence(anomaly, damping)
    regions = region_weights(opened.grid, opened.wet, settings.regions, settings.named_regions)
    return Case(
        *(start, opened.days, opened.grid, opened.wet, regions, opened.names, opened.truth),
        *(climatology, scored, thresholds),
        ahead=AHEAD,
    )

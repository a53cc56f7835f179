"""What was made, in one line at the end."""

from __future__ import annotations

import logging
from pathlib import Path

from hybridom.data.stores import store_info
from hybridom.variables import VARIABLES

log = logging.getLogger(__name__)


def log_summary(store: Path) -> None:
    """Log days, gaps, interim days, ranges and size of a finished store."""
    info = store_info(store)
    ranges = ", ".join(
        f"{name} {low:.4g} to {high:.4g} {VARIABLES[name].units}"
        for name, (low, high) in info.ranges.items()
    )
    log.info(
        "%s: %d days, %d gaps, %d interim days; %s; %.3g GB",
        store,
        info.days,
        len(info.gaps),
        len(info.interim_days),
        ranges,
        info.bytes / 1e9,
    )

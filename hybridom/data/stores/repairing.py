"""Making the damaged days of a store again, and only those."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

from hybridom.config import Config
from hybridom.data.plans import Kind, recipe_hash
from hybridom.data.stores.checking import Fault, check_store, forget
from hybridom.data.stores.info import read_manifest
from hybridom.errors import UserError
from hybridom.layout import Layout

log = logging.getLogger(__name__)


def repair_store(config: Config, layout: Layout, path: Path) -> list[Fault]:
    """Check a store and make the slabs with faults again by the stage that made it.

    Args:
        config: The configuration that the store was made with.
        layout: Its paths.
        path: A finished store.

    Returns:
        The faults that were found; none of them is left.

    Raises:
        UserError: The store is not one of this configuration, or was made with other settings; or
            as the stage; or faults are left.
    """
    kind, run = stage_of(config, layout, path)
    faults = check_store(path)
    if not faults:
        return []
    found, expected = read_manifest(path)["config_hash"], recipe_hash(config, kind)
    if found != expected:
        raise UserError(
            f"{path}: made with configuration {found}, the one given has {expected}, so that every "
            "day would be made again; expected the same: give the configuration of then, or run "
            f"`hybridom prepare {kind}`"
        )
    log.info("%s: %d slabs are made again", path, len(faults))
    forget(path, (fault.slab for fault in faults))
    run()
    if left := check_store(path):
        raise UserError(f"{left[0]}; still so after it was made again: look at its raw files")
    return faults


def stage_of(config: Config, layout: Layout, path: Path) -> tuple[Kind, Callable[[], None]]:
    """The stage that makes a store, and a call that runs it.

    Raises:
        UserError: No stage of this configuration makes a store there.
    """
    # Imported late, because preparation itself writes stores.
    from hybridom.data import prepare

    wanted = path.resolve()
    if wanted == layout.climatology_store.resolve():
        return "climatology", partial(prepare.prepare_climatology, config, layout)
    if wanted == layout.percentiles_store.resolve():
        return "percentiles", partial(prepare.prepare_percentiles, config, layout)
    for year in config.periods.years:
        if wanted == layout.state_store(year).resolve():
            return "state", partial(prepare.prepare_state, config, layout, year)
        if wanted == layout.forcing_store(year).resolve():
            return "forcing", partial(prepare.prepare_forcing, config, layout, year)
    raise UserError(
        f"{path}: not a store that the configuration prepares; expected one under "
        f"{layout.resources_dir} of the years {config.periods.years[0]} to "
        f"{config.periods.years[-1]} (a forecast is mended by `hybridom forecast`)"
    )

"""Space, permissions and locks where a run writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from hybridom import slurm
from hybridom.errors import UserError
from hybridom.operations.doctor import places, quotas
from hybridom.operations.doctor.findings import Case, Checks, Finding, fail, ok, skip, warn
from hybridom.retrieve.plan import human

MARGIN = 1.25  # what is left of a disk over what is estimated; estimates may be too low
FEW_FILES = 200_000  # a store is some thousand files


def checks(case: Case) -> Checks:
    """The checks of this group."""
    return ("space", space), ("writing", writing), ("locks", locks), ("file system", shared)


def folders(case: Case) -> dict[str, Path]:
    """Folders that a run of this configuration writes, by key of the configuration."""
    paths = case.config.paths
    kinds = {"resources": paths.resources, "results": paths.results}
    if case.config.source.kind in ("twin", "download"):
        kinds["raw"] = paths.raw
    return {f"paths.{key}": Path(folder) for key, folder in kinds.items()}


def space(case: Case) -> Iterator[Finding]:
    """Free space and quota against what is still to be written; folders of one file system are
    added up."""
    needs = still_to_write(case)
    groups: dict[int, list[str]] = {}
    found = folders(case)
    for key, folder in found.items():
        groups.setdefault(places.device(folder), []).append(key)
    for keys in groups.values():
        name = ", ".join(keys)
        need = sum(needs[key] for key in keys)
        folder = found[keys[0]]
        free, files = places.free_space(folder)
        limit = f"{human(free)} free"
        system = places.file_system(folder)
        left = quotas.quota_left(folder, system) if system is not None else None
        if left is not None and left < free:
            free, limit = left, f"{human(left)} left of the quota"
        what = f"{limit}, about {human(need)} still to be written"
        if free < need:
            more = human(MARGIN * need - free)
            yield fail(name, what, f"free {more} or choose a larger disk in section paths")
        elif free < MARGIN * need:
            yield warn(name, what, "it may just fit; free some space, or watch it while it fills")
        else:
            yield ok(name, what)
        if files is not None and files < FEW_FILES:
            remedy = "remove some, or choose another disk in section paths; stores are many files"
            yield warn(name, f"{files:,} more files may be made", remedy)


def still_to_write(case: Case) -> dict[str, float]:
    """Bytes by key of `folders`, as `hybridom cost` counts them; finished years, starts and months
    are left out.

    Logs and checkpoints are left out too: to count these, the training has to be traced.
    """
    from hybridom.operations import cost_storage
    from hybridom.operations.cost_item import GIGA
    from hybridom.operations.cost_ocean import ocean_cells

    config, layout = case.config, case.layout
    ocean = ocean_cells(config, layout)
    whole = {cost.what.strip(): cost.amount * GIGA for cost in cost_storage.stores(config, ocean)}

    def days(manifest: Callable[[int], Path]) -> int:
        years = (year for year in config.periods.years if not manifest(year).exists())
        return sum(len(config.periods.days(year)) for year in years)

    resources = days(layout.state_manifest) * cost_storage.state_bytes(config, ocean)
    resources += days(layout.forcing_manifest) * cost_storage.forcing_bytes(config, ocean)
    if not layout.climatology_manifest.exists():
        resources += whole["climatology"]
    if config.evaluation.needs_thresholds and not layout.percentiles_manifest.exists():
        resources += whole["percentiles"] + whole["beside them while they are made"]
    starts = config.forecast.start_dates()
    share = sum(not layout.forecast_manifest(start).exists() for start in starts) / len(starts)
    results = share * GIGA * cost_storage.forecasts(config, ocean).amount
    results += driver_forecasts(case)
    return {
        "paths.resources": resources,
        "paths.results": results,
        "paths.raw": still_to_simulate(case) + still_to_fetch(case),
    }


def driver_forecasts(case: Case) -> float:
    """Bytes of the forecasts that a region's driver has still to make for it."""
    from hybridom.operations import cost_driver
    from hybridom.operations.cost_item import GIGA

    try:
        driver = cost_driver.driver_config(case.config, str(case.file))
    except UserError:
        return 0.0  # the check `driver` tells it
    if driver is None:
        return 0.0
    starts, manifest = (
        cost_driver.forecast_starts(case.config),
        case.layout.driver.forecast_manifest,
    )
    share = sum(not manifest(start).exists() for start in starts) / len(starts)
    return share * GIGA * sum(c.amount for c in cost_driver.storage(case.config, driver))


def still_to_simulate(case: Case) -> float:
    """Bytes of the embedded ocean's years that are not simulated yet."""
    from hybridom.operations import cost_storage
    from hybridom.operations.cost_item import GIGA

    config = case.config
    if config.source.kind != "twin":
        return 0.0
    years = config.twin.years
    share = sum(not case.layout.twin_manifest(year).exists() for year in years) / len(years)
    return share * GIGA * sum(c.amount for c in cost_storage.raw_files(config, case.layout))


def still_to_fetch(case: Case) -> float:
    """Bytes that `hybridom retrieve` would fetch; none where nothing is fetched."""
    if case.config.source.kind != "download":
        return 0.0
    from hybridom.retrieve import arco, cds, ocean
    from hybridom.retrieve.fetching import outstanding

    config, layout = case.config, case.layout
    forcing_job = arco.forcing_job if config.download.atmosphere == "arco" else cds.forcing_job
    jobs = [ocean.static_job(config, layout)]
    for month in config.periods.months():
        jobs += [ocean.ocean_job(config, layout, month), forcing_job(config, layout, month)]
    return float(sum(piece.size for job in jobs for piece in outstanding(job).pieces))


def writing(case: Case) -> Iterator[Finding]:
    """Whether files can be made."""
    for key, folder in {**folders(case), "working directory": Path()}.items():
        why = places.unwritable(folder)
        place = folder if folder.exists() else f"{folder} (to be made in {places.existing(folder)})"
        if why is None:
            yield ok(key, f"{place if key != 'working directory' else Path.cwd()} can be written")
        else:
            remedy = "mend its permissions, or choose another folder in section paths"
            yield fail(key, f"{place} cannot be written: {why}", remedy)


def locks(case: Case) -> Iterator[Finding]:
    """Whether two processes are kept apart: the workflow needs that where it runs, stages where
    they write."""
    seen: set[int] = set()
    bad = False
    for key, folder in {"working directory": Path(), **folders(case)}.items():
        place = places.existing(folder)
        device = places.device(place)
        if device in seen or places.unwritable(place) is not None:
            continue
        seen.add(device)
        why = places.lockless(place)
        if why is None:
            continue
        bad = True
        found = f"{place}: locks (flock) do not work: {why}"
        if key == "working directory":
            remedy = "put the clone on a file system that has them, or have it mounted with flock"
            yield fail("locks", found, remedy)
        else:
            yield warn("locks", found, "never start two runs that write the same folders")
    if seen and not bad:
        yield ok("locks", "a lock that one process holds keeps another out")


def shared(case: Case) -> Iterator[Finding]:
    """Whether the nodes of a cluster can see what is written."""
    local = []
    kinds = {}
    for key, folder in {"working directory": Path(), **folders(case)}.items():
        system = places.file_system(folder)
        if system is None:
            yield skip("file system", "this system does not list its mounts in /proc/mounts")
            return
        kinds[key] = system.kind
        if not system.shared:
            local.append(f"{key} ({system.kind})")
    if not slurm.present():
        yield ok("file system", ", ".join(dict.fromkeys(kinds.values())))
    elif local:
        yield warn(
            "file system",
            f"{', '.join(local)}: looks like a disk of this machine alone",
            "every node must see the same files; use a file system that all share (such as "
            "$SCRATCH), unless this one is",
        )
    else:
        yield ok("file system", f"{', '.join(dict.fromkeys(kinds.values()))}, shared by machines")

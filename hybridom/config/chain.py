"""What one run makes: the experiments of the main configuration, its regions, and their drivers."""

from __future__ import annotations

import datetime as dt
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hybridom.config.base import Period
from hybridom.config.differences import differences
from hybridom.config.experiments import load_experiments
from hybridom.config.region import misfit
from hybridom.config.root import Config
from hybridom.errors import UserError
from hybridom.layout import Layout


@dataclass(frozen=True)
class Link:
    """Experiments that share their data: one workflow of the chain.

    Attributes:
        files: Their configuration files.
        experiments: They by name.
    """

    files: tuple[Path, ...]
    experiments: Mapping[str, Config]

    @property
    def config(self) -> Config:
        """The first experiment's; sections about data and the driver are the same in all."""
        return next(iter(self.experiments.values()))

    @property
    def name(self) -> str:
        """The first file, for messages."""
        return str(self.files[0])


def load_chain(
    files: Sequence[Path], experiments: Mapping[str, Config], find: Callable[[Path], Path]
) -> list[Link]:
    """The main configuration, the regions that it names, and the drivers of all of them.

    The folders (`paths`) are those of the main configuration.

    Args:
        files: Files of the main configuration.
        experiments: Its experiments.
        find: Where a file that is named in a configuration lies.

    Returns:
        The main configuration first; each experiment and each grid in one link alone.

    Raises:
        UserError: A file cannot be read, two links share an experiment or a grid, or a driver
            does not serve its region.
    """
    main = Link(tuple(files), experiments)
    folders = path_overrides(main.config)
    links = [main]
    for entry in main.config.regions:
        named = [find(Path(word)) for word in shlex.split(entry)]
        links.append(Link(tuple(named), load_experiments(named, folders)))
        if links[-1].config.region is None:
            raise UserError(
                f"regions: {entry} has no section region, which names its driver; add the section, "
                "or run the file by itself"
            )
    for link in links:  # a driver may be driven itself: the list grows
        driver = _driver(link, links, folders, find)
        if driver is not None and driver not in links:
            links.append(driver)
    _require_own(links)
    return links


def path_overrides(config: Config) -> list[str]:
    """Overrides that give another configuration the folders of this one."""
    return [f"paths.{key}={value}" for key, value in config.paths]


def training_starts(config: Config) -> list[dt.date]:
    """Start dates of the driver's forecasts that training and validation of a region take."""
    if config.region is None:
        return []
    starts = config.region.forecasts.starts
    trained = any(stage.forecasts for stage in config.training.curriculum)
    return [*(starts(config.periods.train) if trained else ()), *starts(config.periods.validation)]


def raw_folders(config: Config) -> list[Path]:
    """Folders of raw files that the workflow itself makes: the simulated, or the fetched."""
    layout = Layout(config)
    if config.source.kind == "twin":
        return [layout.twin_dir]
    if config.source.kind == "download":
        return [layout.ocean_dir, layout.forcing_dir, layout.static_dir]
    return []


def raw_elsewhere(links: Sequence[Link]) -> list[set[Path]]:
    """For each link, the folders of its raw files that another link makes.

    A driver goes before its regions, since its grid reaches further.

    Raises:
        UserError: What one makes does not serve another that shares the folder.
    """
    makers: dict[Path, Link] = {}
    elsewhere: list[set[Path]] = [set() for _ in links]
    for link, found in sorted(
        zip(links, elsewhere, strict=True), key=lambda pair: _depth(pair[0], links)
    ):
        for folder in raw_folders(link.config):
            maker = makers.setdefault(folder, link)
            if maker is not link:
                _require_served(link, maker, folder)
                found.add(folder)
    return elsewhere


def _driver(
    link: Link, links: Sequence[Link], folders: Iterable[str], find: Callable[[Path], Path]
) -> Link | None:
    """The link that drives another; None where nothing does, or its files are there already."""
    if link.config.region is None:
        return None
    wanted = link.config.region.driver
    found = _link_of(wanted.experiment, links)
    if wanted.file is not None:
        file = find(Path(wanted.file))
        driver = load_experiments([file], folders)
        if wanted.experiment not in driver:
            raise UserError(
                f"{link.name}: region.driver.experiment is {wanted.experiment!r}, the experiment "
                f"of region.driver.file {file} is {next(iter(driver))!r}; make them the same"
            )
        found = found or Link((file,), driver)
    if found is not None:
        _require_driver(link, found.experiments[wanted.experiment], found.name)
    return found


def _link_of(experiment: str, links: Sequence[Link]) -> Link | None:
    return next((link for link in links if experiment in link.experiments), None)


def _depth(link: Link, links: Sequence[Link]) -> int:
    """How many drivers stand one behind another."""
    depth, above = 0, link
    while above.config.region and depth < len(links):
        driver = _link_of(above.config.region.driver.experiment, links)
        if driver is None:
            break
        depth, above = depth + 1, driver
    return depth


def _require_own(links: Sequence[Link]) -> None:
    """Make sure that no two links have an experiment or a grid in common.

    Raises:
        UserError: They have.
    """
    experiments: dict[str, Link] = {}
    grids: dict[str, Link] = {}
    for link in links:
        for name in link.experiments:
            if (other := experiments.setdefault(name, link)) is not link:
                raise UserError(
                    f"experiment {name!r} is that of {other.name} and of {link.name}; each needs a "
                    "name of its own"
                )
        name = link.config.grid.name
        if (other := grids.setdefault(name, link)) is not link:
            raise UserError(
                f"grid.name {name!r} is that of {other.config.experiment} ({other.name}) and of "
                f"{link.config.experiment} ({link.name}), and each would make the stores; name "
                "both in one entry of regions if they share all data, else give one another "
                "grid.name"
            )


def _require_driver(link: Link, driver: Config, file: str) -> None:
    """Make sure that a driver can drive a region.

    Raises:
        UserError: Its stores lie elsewhere, its grid does not hold the box, or its forecasts or
            days do not reach far enough.
    """
    config, region = link.config, link.config.region
    assert region is not None
    if driver.grid.name != region.driver.grid:
        raise UserError(
            f"{link.name}: region.driver.grid is {region.driver.grid!r}, grid.name in {file} is "
            f"{driver.grid.name!r}; make them the same"
        )
    box, outer = ((x.grid.lat, x.grid.lon, x.grid.depths) for x in (config, driver))
    if why := misfit(box, outer):
        raise UserError(f"{link.name}: the region does not fit into the grid of {file}: {why}")
    starts = {start for one in link.experiments.values() for start in training_starts(one)}
    lengths = {"forecast.days": config.forecast.days}
    if starts:
        lengths["region.forecasts.days"] = region.forecasts.days
    for key, days in lengths.items():
        if days > driver.forecast.days:
            raise UserError(
                f"{link.name}: {key} is {days}, forecasts of the driver ({file}) end after "
                f"{driver.forecast.days} days (forecast.days); lengthen those or shorten these"
            )
    _require_days(link, starts, driver, file)


def _require_days(link: Link, starts: Iterable[dt.date], driver: Config, file: str) -> None:
    """Make sure that the driver's stores hold the days of training and of its own forecasts.

    Raises:
        UserError: A day is in none of its periods.
    """
    config = link.config
    held = _days(driver)
    length = dt.timedelta(driver.forecast.days)
    spans = {
        "periods.train": config.periods.train,
        "periods.validation": config.periods.validation,
    } | {
        f"its forecast from {start}": Period(start=start, end=start + length)
        for start in sorted({*starts, *config.forecast.start_dates()})
    }
    for what, span in spans.items():
        missing = next((day for day in span.days() if day not in held), None)
        if missing:
            raise UserError(
                f"{link.name}: the driver ({file}) is needed from {span.start} to {span.end} "
                f"({what}), but {missing} is in none of its periods; extend its periods, or "
                "move those of the region"
            )


def _days(config: Config) -> set[dt.date]:
    """Days of all periods."""
    return {day for period in config.periods.all for day in period.days()}


def _require_served(link: Link, maker: Link, folder: Path) -> None:
    """Make sure that raw files which one link makes are those that another needs.

    Raises:
        UserError: They are not.
    """
    ours, theirs = link.config, maker.config
    section = "twin" if ours.source.kind == "twin" else "download"
    values = (getattr(x, section).model_dump(mode="json") for x in (theirs, ours))
    for key, old, new in differences(*values):
        other = "another twin.seed" if section == "twin" else "folders of its own (section source)"
        raise UserError(
            f"{link.name}: {section}.{key} is {new!r}, in {maker.name} {old!r}, and both share the "
            f"files in {folder}; make them the same, or give one {other}"
        )
    if section == "twin":
        return
    why = None
    if absent := sorted(set(ours.raw_forcing_names) - set(theirs.raw_forcing_names)):
        why = f"forcing {theirs.forcing!r} holds no {absent[0]}, forcing {ours.forcing!r} needs it"
    boxes = ((x.grid.lat, x.grid.lon, x.grid.depths) for x in (ours, theirs))
    why = why or misfit(*boxes)
    if beyond := _days(ours) - _days(theirs):
        why = why or f"{min(beyond)} is in none of its periods"
    if why:
        raise UserError(
            f"{link.name}: files that {maker.name} fetches into {folder} do not serve it: {why}; "
            "or give it folders of its own (section source)"
        )

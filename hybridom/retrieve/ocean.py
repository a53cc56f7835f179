"""GLORYS12V1 by the Copernicus Marine client: original daily files, subsets, static files.

Product GLOBAL_MULTIYEAR_PHY_001_030, doi 10.48670/moi-00021.
"""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any

from hybridom.config import Config, StageConfig
from hybridom.errors import UserError
from hybridom.layout import Layout
from hybridom.retrieve import clients
from hybridom.retrieve.checking import problem
from hybridom.retrieve.fetching import Fetched, require_space
from hybridom.retrieve.plan import (
    GLORYS_STEP,
    HIDDEN,
    Box,
    Job,
    Piece,
    fetched_box,
    listed,
    month_days,
    runs,
)
from hybridom.variables import ICE, PROGNOSTIC

CLIENT = "copernicusmarine"
LOGIN = "run `copernicusmarine login` once; the account is free"

LEVELS = 50
GLOBAL_POINTS = 2041 * 4320
# Estimates count 2 bytes a value, of which compression leaves this part; a third is land or below
# the sea floor.
COMPRESSION = 0.35
# Uncompressed: e3t with two metrics in single precision; mask with depth and level; one field.
STATIC_BYTES = {
    "coords": 4.0 * (LEVELS + 2) * GLOBAL_POINTS,
    "bathy": (LEVELS + 8.0) * GLOBAL_POINTS,
    "mdt": 4.0 * GLOBAL_POINTS,
}
STATIC_FILES = {"coords": "coordinates", "bathy": "mask_bathy", "mdt": "mdt"}
STATIC_VARIABLES = {"coords": ("e3t",), "bathy": ("mask",), "mdt": ("mdt",)}
BATCH = 4  # files fetched at once
LEVEL_MARGIN = 1e-3  # relative; neighbouring levels differ by 5 % or more


def variables(config: Config | StageConfig) -> tuple[str, ...]:
    """Variables of the ocean that are fetched."""
    return PROGNOSTIC + ICE if config.source.sea_ice else PROGNOSTIC


def ocean_job(config: Config | StageConfig, layout: Layout, month: str) -> Job:
    """The files of one month of the ocean.

    Raises:
        UserError: No day of the month lies in the periods.
    """
    original = config.download.ocean == "original"
    return Job(
        name=f"ocean {month}",
        mode=config.download.ocean,
        folder=layout.ocean_dir,
        manifest=layout.ocean_download(month),
        pieces=(_originals if original else _subsets)(config, month),
        client=CLIENT,
        exclusive=not original,
    )


def static_job(config: Config | StageConfig, layout: Layout) -> Job:
    """The static files: metrics with layer thickness, bathymetry with mask, mean topography."""
    pieces = []
    for part, name in STATIC_FILES.items():
        request = {
            "dataset_id": config.download.static_dataset,
            "dataset_part": part,
            "regex": rf"{name}\.nc$",
        }
        size = STATIC_BYTES[part]
        pieces.append(
            Piece(
                part,
                config.download.static_dataset,
                request,
                STATIC_VARIABLES[part],
                (),
                None,
                GLORYS_STEP,
                size,
                size,
            )
        )
    return Job(
        name="ocean static",
        mode="static",
        folder=layout.static_download.parent.parent,
        manifest=layout.static_download,
        pieces=tuple(pieces),
        client=CLIENT,
    )


def _dataset(config: Config | StageConfig, interim: bool) -> str:
    return config.download.interim_dataset if interim else config.download.ocean_dataset


def _size(levels: int, points: int, with_ice: bool) -> float:
    """Estimated bytes of one day: four variables with depth, and those without."""
    flat = 1 + (len(ICE) if with_ice else 0)
    return 2.0 * COMPRESSION * points * (4 * levels + flat)


def _originals(config: Config | StageConfig, month: str) -> tuple[Piece, ...]:
    """One file a day; the whole globe, all levels, all variables."""
    size = _size(LEVELS, GLOBAL_POINTS, with_ice=True)
    pieces = []
    for day in month_days(config, month):
        interim = day >= config.download.interim_from
        dataset = _dataset(config, interim)
        regex = rf"mercatorglorys12v1_gl12_mean_{day:%Y%m%d}_R\d{{8}}\.nc$"
        request = {"dataset_id": dataset, "regex": regex}
        pieces.append(
            Piece(
                str(day),
                dataset,
                request,
                variables(config),
                (str(day),),
                Box(-80.0, 90.0, -180.0, 180.0),
                GLORYS_STEP,
                size,
                size,
                interim,
            )
        )
    return tuple(pieces)


def _subsets(config: Config | StageConfig, month: str) -> tuple[Piece, ...]:
    """One file for each run of days from one dataset: as a rule, one a month."""
    box, depths = fetched_box(config), config.grid.depths
    # Across the date line the client takes an eastern edge of exactly 0 for none.
    east = box.east + 0.01 if not box.around and box.east % 360.0 == 0.0 else box.east
    names = variables(config)
    pieces: list[Piece] = []
    for days in runs(month_days(config, month), (config.download.interim_from,)):
        interim = days[0] >= config.download.interim_from
        dataset = _dataset(config, interim)
        request = {
            "dataset_id": dataset,
            "variables": list(names),
            "minimum_longitude": box.west,
            "maximum_longitude": east,
            "minimum_latitude": box.south,
            "maximum_latitude": box.north,
            "minimum_depth": round(depths[0] * (1 - LEVEL_MARGIN), 6),
            "maximum_depth": round(depths[-1] * (1 + LEVEL_MARGIN), 6),
            "start_datetime": f"{days[0]}T00:00:00",
            "end_datetime": f"{days[-1]}T23:59:59",
        }
        levels = min(LEVELS, round(1.5 * len(depths)))  # those in between come with them
        size = len(days) * _size(levels, box.points(GLORYS_STEP, -80.0), config.source.sea_ice)
        pieces.append(
            Piece(
                f"run {len(pieces) + 1}",
                dataset,
                request,
                names,
                tuple(map(str, days)),
                box,
                GLORYS_STEP,
                size,
                size,
                interim,
            )
        )
    return tuple(pieces)


def log_in() -> ModuleType:
    """The client, after it has found valid credentials by itself.

    Raises:
        UserError: It is not installed, or has no valid credentials.
    """
    client = clients.load(CLIENT)
    # What it says of every step would be printed twice, by itself and by our log.
    logging.getLogger(CLIENT).setLevel(logging.WARNING)
    if not clients.attempt(
        lambda: client.login(check_credentials_valid=True), "Copernicus Marine, credentials", LOGIN
    ):
        raise UserError(f"Copernicus Marine: no valid credentials found; {LOGIN}")
    return client


def fetch_subsets(job: Job, pieces: Sequence[Piece]) -> Iterator[Fetched]:
    """Fetch boxes of some days, one after another."""
    require_space(job.folder, sum(piece.size for piece in pieces), job.name)
    client = log_in()
    for piece in pieces:
        first, last = (day.replace("-", "") for day in (piece.times[0], piece.times[-1]))
        name = f"{piece.dataset}_{first}_{last}.nc"
        clients.attempt(
            lambda piece=piece, name=name: client.subset(  # type: ignore[misc]
                **piece.request,
                output_directory=job.partial,
                output_filename=name,
                file_format="netcdf",
                netcdf_compression_level=1,
                overwrite=True,
                disable_progress_bar=True,
            ),
            f"{piece.dataset}, {piece.times[0]} to {piece.times[-1]}",
        )
        yield Fetched(piece, job.partial / name, f"{first[:4]}/{name}", None, _interim(piece))


def fetch_originals(job: Job, pieces: Sequence[Piece]) -> Iterator[Fetched]:
    """Fetch original files, a few at once; files that the folder holds already are kept."""
    client = log_in()
    found = sorted(job.folder.rglob("*.nc"))
    known = {path.name: path for path in found if HIDDEN not in path.parts}
    for (dataset, part), group in itertools.groupby(pieces, _origin):
        wanted = list(group)
        remote = _listing(client, job, dataset, part, wanted)
        open_: list[tuple[Piece, Any]] = []
        for piece, file in zip(wanted, remote, strict=True):
            here, size = known.get(_name(file)), _bytes(file)
            if here is None or problem(here, piece, size):
                open_.append((piece, file))
            else:
                place = here.relative_to(job.folder).as_posix()
                yield Fetched(piece, here, place, size, _interim(piece))
        require_space(job.folder, sum(_bytes(file) for _, file in open_), job.name)
        for start in range(0, len(open_), BATCH):
            yield from _batch(client, job, dataset, part, open_[start : start + BATCH])


def _origin(piece: Piece) -> tuple[str, str | None]:
    return piece.dataset, piece.request.get("dataset_part")


def _name(file: Any) -> str:
    return str(file.s3_url).rsplit("/", 1)[-1]


def _bytes(file: Any) -> int:
    return round(file.file_size * 1024**2)  # the client counts in mebibytes


def _interim(piece: Piece) -> tuple[str, ...]:
    return piece.times if piece.interim else ()


def _listing(
    client: ModuleType, job: Job, dataset: str, part: str | None, pieces: Sequence[Piece]
) -> list[Any]:
    """The newest remote file of each piece.

    Raises:
        UserError: Some have none.
    """
    response = clients.attempt(
        lambda: client.get(
            dataset_id=dataset,
            dataset_part=part,
            regex="|".join(piece.request["regex"] for piece in pieces),
            output_directory=job.partial,
            no_directories=True,
            overwrite=True,
            dry_run=True,
            disable_progress_bar=True,
        ),
        f"{dataset}, list of {job.name}",
    )
    # Names of one day differ in the date of the run (`_R...`), so the last is the newest.
    files = sorted(response.files, key=_name)
    found = [[f for f in files if re.search(piece.request["regex"], f.s3_url)] for piece in pieces]
    missing = [piece.key for piece, matches in zip(pieces, found, strict=True) if not matches]
    if missing:
        raise UserError(
            f"{job.name}: {dataset} holds no file of {listed(missing)}; expected one each: correct "
            "periods or download.interim_from"
        )
    return [matches[-1] for matches in found]


def _batch(
    client: ModuleType, job: Job, dataset: str, part: str | None, batch: list[tuple[Piece, Any]]
) -> Iterator[Fetched]:
    names = job.partial / "files.txt"
    names.write_text("".join(f"{file.s3_url}\n" for _, file in batch), encoding="utf-8")
    clients.attempt(
        lambda: client.get(
            dataset_id=dataset,
            dataset_part=part,
            file_list=names,
            output_directory=job.partial,
            no_directories=True,
            overwrite=True,
            max_concurrent_requests=BATCH,
            disable_progress_bar=True,
        ),
        f"{dataset}, {batch[0][0].key} to {batch[-1][0].key}",
    )
    for piece, file in batch:
        name = _name(file)
        place = f"{piece.key[:4]}/{name}" if piece.times else name
        yield Fetched(piece, job.partial / name, place, _bytes(file), _interim(piece))

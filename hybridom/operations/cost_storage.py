"""Bytes on the disk, from raw files to scores."""

from __future__ import annotations

from collections.abc import Sequence

from hybridom.config import Config
from hybridom.config.networks import NONE
from hybridom.data.days import DAYS_IN_YEAR
from hybridom.data.prepare.percentiles import nearest_levels
from hybridom.gate import SOURCES, TRACERS
from hybridom.layout import Layout
from hybridom.operations.cost_item import GIGA, Cost, Made
from hybridom.operations.cost_ocean import Ocean
from hybridom.retrieve import arco, cds
from hybridom.retrieve.ocean import ocean_job, static_job
from hybridom.retrieve.plan import Job, month_days
from hybridom.variables import PROGNOSTIC, VARIABLES

PART = "storage"
VALUE = 4  # bytes of a number before compression

# What lz4 leaves of the 4 bytes of an ocean value; land takes next to nothing. Both means of two
# stores: the demo's (4 degrees, 1461 days; 0.94 0.70 1.00 1.04 1.00) and what `hybridom bench
# prepare` makes of files as rough as GLORYS12V1's (0.5 degree, 23 levels; 0.91 0.72 1.03 1.05
# 0.97). Above 1: the edges of land are stored, too.
LEFT = {"thetao": 0.93, "so": 0.71, "uo": 1.01, "vo": 1.04, "zos": 1.0}
# The same of the demo's forcing, which has no land; other variables are taken as the roughest.
LEFT_FORCING = {"t2m": 0.61, "u10": 0.83, "v10": 0.90}
ROUGHEST = 1.0
RATIO = "x what compression leaves (measured: demo's stores and `hybridom bench prepare`)"
MANTISSA, EXPONENT = 23, 9  # bits of a float32; the sign is counted with the exponent

# Bytes of a value in the embedded ocean's files, a day and node of the product, measured: the
# demo's 1462 ocean files (and 48 of the atmosphere) over their nodes.
TWIN_LEVELS, TWIN_ROWS = 15, 170.0
TWIN_OCEAN, TWIN_FORCING = 0.53, 2.85
PUBLISHED = 4  # bytes of a value in the published release's files, uncompressed

# Of the demo: tables and files of scores for each start, lead, field, region and forecast (the
# model and its baselines), and all its figures.
SCORE_BYTES = 227.0
FIGURES_BYTES = 13.1e6
GRID_BYTES = 6.3  # of grid.nc a cell, measured
STATISTICS_BYTES = 30e3


def raw_files(config: Config, layout: Layout) -> list[Cost]:
    """Files that the ocean and the atmosphere come in.

    Args:
        config: The configuration.
        layout: Its paths.
    """
    kind = config.source.kind
    if kind == "twin":
        return _twin_files(config)
    if kind == "published":
        levels = 4 * len(config.grid.depths) + 1 + len(config.raw_forcing_names)
        cells = _cells(config)
        amount = PUBLISHED * levels * cells * _days(config)
        how = "4 bytes x cells x (levels x 4 + 1 + forcing) x days; the release is not compressed"
        return [_gb("the published release's files (yours)", amount, "estimated", how)]
    jobs = _jobs_of_a_month(config, layout)
    scale = _days(config) / len(month_days(config, config.periods.months()[0]))
    ocean, air = (scale * sum(piece.size for piece in job.pieces) for job in jobs)
    ocean_how = "by the plan of a month: 2 bytes a value, of which 35 % are taken to be left"
    air_how = f"by the plan of a month ({jobs[1].mode}), bytes a value assumed"
    if kind == "files":
        return [
            _gb("GLORYS12V1 files (yours)", ocean, "estimated", f"all 50 levels, {ocean_how}"),
            _gb("ERA5 files (yours), daily means", air, "estimated", air_how),
        ]
    static = sum(piece.size for piece in static_job(config, layout).pieces)
    moved = static + scale * sum(piece.transfer for job in jobs for piece in job.pieces)
    whole = "" if config.download.atmosphere == "cds" else "; hourly fields of the globe are read"
    return [
        _gb("ocean files to fetch", ocean + static, "estimated", ocean_how),
        _gb("atmosphere files to fetch", air, "estimated", air_how),
        _gb("  over the network for both", moved, "estimated", f"{air_how}{whole}"),
    ]


def _jobs_of_a_month(config: Config, layout: Layout) -> tuple[Job, Job]:
    """What is fetched of ocean and atmosphere for the first month."""
    fetch = arco if config.download.atmosphere == "arco" else cds
    month = config.periods.months()[0]
    return ocean_job(config, layout, month), fetch.forcing_job(config, layout, month)


def stores(config: Config, ocean: Ocean) -> list[Cost]:
    """Stores on the model grid.

    Args:
        config: The configuration.
        ocean: Its ocean cells.
    """
    days = _days(config)
    state, forcing = state_bytes(config, ocean), forcing_bytes(config, ocean)
    cells = f"{ocean.how}; {RATIO}"
    found = [
        _gb("state", days * state, _made(ocean), f"{days:,} days x {_mb(state)} MB; {cells}"),
        _gb("forcing", days * forcing, "measured", f"{days:,} days x {_mb(forcing)} MB {RATIO}"),
        _gb(
            "climatology",
            DAYS_IN_YEAR * (_state(config, ocean, PROGNOSTIC, exact=True) + forcing),
            _made(ocean),
            "365 days of state and forcing",
        ),
    ]
    if config.evaluation.needs_thresholds:
        found += _percentiles(config, ocean)
    small = GRID_BYTES * ocean.columns * ocean.grid.nz + STATISTICS_BYTES
    how = "6.3 bytes a cell as in the demo, and 30 kB"
    return [*found, _gb("grid file and statistics", small, "measured", how)]


def forecasts(config: Config, ocean: Ocean, starts: int | None = None) -> Cost:
    """Stores of the forecasts.

    Args:
        config: The configuration.
        ocean: Its ocean cells.
        starts: Number of start dates; None for those of the configuration.
    """
    starts = len(config.forecast.start_dates()) if starts is None else starts
    days = config.forecast.days + 1
    state = _state(config, ocean, PROGNOSTIC, exact=True)
    how = f"{starts} starts x {days} days x {_mb(state)} MB"
    return _gb("forecasts", starts * days * state, _made(ocean), how)


def scores(config: Config) -> Cost:
    """Scores and figures.

    Args:
        config: The configuration.
    """
    starts, leads = len(config.forecast.start_dates()), config.forecast.days
    fields = 4 * len(config.grid.depths) + 1
    regions = 1 + len(config.evaluation.regions) + len(config.evaluation.named_regions)
    regions += 2 * (config.evaluation.edges > 0)
    forecasters = 1 + len(config.evaluation.baselines)
    amount = SCORE_BYTES * starts * leads * fields * regions * forecasters + FIGURES_BYTES
    how = "bytes for each start, lead, field, region and baseline, and the figures, of the demo"
    if config.networks.gate.name != NONE:
        amount += starts * gate_bytes(config)
        how += "; weights of the gate"
    return _gb("scores and figures", amount, "estimated", how)


def gate_bytes(config: Config) -> float:
    """Bytes of the weights that are kept of the gate along one forecast."""
    leads = sum(lead <= config.forecast.days for lead in config.evaluation.gate_leads)
    gating, levels = config.networks.gating, len(config.grid.depths)
    maps = len(SOURCES) * len(TRACERS)
    maps *= (2 if gating.directions == "each" else 1) * (levels if gating.levels == "each" else 1)
    return float(VALUE * leads * maps * _cells(config))


def state_bytes(config: Config, ocean: Ocean) -> float:
    """Compressed bytes of a day's state in the stores, with sea ice where it is kept."""
    ice = 4 if config.source.sea_ice else 0
    return _state(config, ocean, PROGNOSTIC) + VALUE * ROUGHEST * ice * ocean.surface


def forcing_bytes(config: Config, ocean: Ocean) -> float:
    """Compressed bytes of a day's forcing in the stores, which has no land."""
    ratios = (
        LEFT_FORCING.get(name, ROUGHEST) * _kept(config, name) for name in config.forcing_names
    )
    return VALUE * ocean.columns * sum(ratios)


def _state(config: Config, ocean: Ocean, names: Sequence[str], exact: bool = False) -> float:
    """Compressed bytes of a day; `exact`: no bits are rounded away."""
    return sum(
        VALUE
        * LEFT[name]
        * (1.0 if exact else _kept(config, name))
        * (ocean.volume if VARIABLES[name].has_depth else ocean.surface)
        for name in names
    )


def _kept(config: Config, name: str) -> float:
    """Part of a value's bits that `stores.keepbits` leaves."""
    bits = config.stores.keepbits.get(name, MANTISSA)
    return (EXPONENT + bits) / (EXPONENT + MANTISSA)


def _percentiles(config: Config, ocean: Ocean) -> list[Cost]:
    chosen = nearest_levels(ocean.grid, config.extremes.depths)
    count = len(config.extremes.percentiles)
    fields = sum(
        LEFT[name] * ocean.columns * sum(ocean.shares[chosen if VARIABLES[name].has_depth else [0]])
        for name in PROGNOSTIC
    )
    days = config.periods.train.length
    share = ocean.shares[chosen].sum()
    return [
        _gb(
            "percentiles",
            DAYS_IN_YEAR * count * VALUE * fields,
            _made(ocean),
            f"365 days x {count} percentiles x {len(chosen)} levels; {RATIO}",
        ),
        _gb(
            "  beside them while they are made",
            VALUE * days * share * ocean.columns,
            _made(ocean),
            f"4 bytes x {days:,} training days x ocean cells of the levels, at most",
        ),
    ]


def _twin_files(config: Config) -> list[Cost]:
    twin = config.twin
    days = (twin.end - twin.start).days + 1
    columns = 360.0 / twin.product_degrees
    nodes = columns * (TWIN_ROWS / twin.product_degrees + 1) * (4 * TWIN_LEVELS + 1)
    columns = 360.0 / twin.forcing_degrees
    points = columns * (180.0 / twin.forcing_degrees + 1) * 3
    how = "bytes of a value as in the demo's files x nodes x days"
    return [
        _gb("simulated ocean", TWIN_OCEAN * nodes * days, "measured", how),
        _gb("its atmosphere", TWIN_FORCING * points * days, "measured", how),
    ]


def _made(ocean: Ocean) -> Made:
    return "measured" if ocean.made == "counted" else "estimated"


def _days(config: Config) -> int:
    return sum(period.length for period in config.periods.all)


def _cells(config: Config) -> int:
    (south, north), (west, east) = config.grid.lat, config.grid.lon
    return round((north - south) * (east - west) / config.grid.resolution**2)


def _mb(size: float) -> str:
    return f"{size / 1e6:.3g}"


def _gb(what: str, size: float, made: Made, how: str) -> Cost:
    return Cost(PART, what, size / GIGA, "GB", made, how)

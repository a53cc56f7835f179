"""The configuration, the paths, and what the rules share. No torch, no xarray: every cluster job
reads this file twice."""

import datetime as dt
import fcntl
import json
import shlex
import sys
from pathlib import Path

from hybridom.config import STAGES, load, narrow
from hybridom.errors import UserError
from hybridom.figures import FIGURES, figure_inputs, figure_names, figure_outputs
from hybridom.layout import Layout
from hybridom.page.themes import theme
from hybridom.twin.states import packaged_state

# With `--sdm conda`, jobs run in this environment; without, they find `hybridom` and `torchrun`
# beside the Python that runs Snakemake, activated or not.
ENVIRONMENT = "../../envs/hybridom.yaml"
if not workflow.deployment_settings.deployment_method:
    shell.prefix(f'PATH="{Path(sys.executable).parent}:$PATH"; ')


# --- configuration


def stop(message):
    """End Snakemake with one line."""
    print(f"hybridom: error: {message}", file=sys.stderr)
    raise SystemExit(2)


def override_texts(values, prefix=""):
    """Texts such as `training.batch=2` from the nested values of `--config`."""
    texts = []
    for key, value in values.items():
        if isinstance(value, dict):
            texts += override_texts(value, f"{prefix}{key}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, default=str)
            texts.append(f"{prefix}{key}={text}")
    return texts


def read_configuration():
    """The base file, the overrides, and the configuration that they make.

    The base is `--config base=FILE`, else `--configfile FILE`, else config/demo.yaml; it is never
    mixed with the default. Overrides are `--config set='a.b=c d.e=f'` and nested values.
    """
    given = dict(workflow.config_settings.config)
    files = [Path(file) for file in workflow.overwrite_configfiles]
    if "base" in given:
        files.append(Path(given.pop("base")))
    if len(files) > 1:
        stop("give one configuration file, as --configfile FILE or --config base=FILE")
    base = files[0] if files else Path("config/demo.yaml")
    if not base.exists():
        base = Path(workflow.basedir) / base  # with --directory, files lie in the project
    overrides = shlex.split(str(given.pop("set", "")))
    overrides += override_texts(given)
    try:
        return base, overrides, load(base, overrides)
    except UserError as error:
        stop(error)


BASE, OVERRIDES, CONFIG = read_configuration()
CONFIG_OPTIONS = (
    shlex.join(["--config", str(BASE), *(word for text in OVERRIDES for word in ("--set", text))])
    .replace("{", "{{")
    .replace("}", "}}")
)
layout = Layout(CONFIG)


def stage_name(wildcards):
    """The stage whose configuration is written."""
    return wildcards.get("stage", "twin")


def stage_sections(wildcards):
    """What the stage is given; a change of it makes the file, and then the stage, anew."""
    return narrow(CONFIG, stage_name(wildcards)).as_dict()


# --- paths


class Wildcard(str):
    """A wildcard where a path expects a date: `{start:%Y-%m-%d}` stays `{start}`."""

    def __format__(self, specification):
        return str(self)


YEAR = Wildcard("{year}")
START = Wildcard("{start}")
MONTH = "{month}"
RAW = {".nc", ".h5", ".grib", ".grb", ".grib2"}  # raw files that are no folders
LOGS = f"logs/{CONFIG.experiment}"
BENCHMARKS = f"benchmarks/{CONFIG.experiment}"
# What is fetched takes days to arrive: its years are prepared as they come, after the first.
CHECKED_FIRST = CONFIG.periods.years[: 1 if CONFIG.source.kind == "download" else None]
# Kinds of scores, each with a table of its own; that of the fields is always there.
FAMILIES_SCORED = ("scores", *CONFIG.evaluation.families)
FIRST_CHECKS = [layout.check_report(year) for year in CHECKED_FIRST]


def previous_year(wildcards):
    """The year that a simulated year goes on from, unless the package holds its first state."""
    year = int(wildcards.year)
    if year == CONFIG.twin.start.year or packaged_state(CONFIG.twin, year):
        return []
    return layout.twin_manifest(year - 1)


def raw_files(wildcards):
    """What the check of one year reads: the manifests of what is made or fetched, or all files
    with the year in their name. The first day of all defines the grid and mask of the source."""
    year = int(wildcards.year)
    if CONFIG.source.kind == "twin":
        return layout.twin_manifest(year)
    if CONFIG.source.kind == "download":
        months = {CONFIG.periods.months()[0], *CONFIG.periods.months(year)}
        return [layout.static_download, *month_manifests(sorted(months))]
    folders = {layout.ocean_dir, Path(CONFIG.source.forcing_dir or layout.ocean_dir)}
    found = (path for folder in folders for path in folder.rglob("*") if path.suffix in RAW)
    return sorted(str(path) for path in found if wildcards.year in path.name)


def month_manifests(months):
    """Manifests of the fetched ocean and atmosphere of some months (YYYY-MM)."""
    return [
        manifest(month)
        for month in months
        for manifest in (layout.ocean_download, layout.forcing_download)
    ]


def static_files(wildcards):
    """The manifest of fetched static files, from which the grid takes the thickness of layers."""
    return layout.static_download if CONFIG.source.kind == "download" else []


def bulk_state(wildcards):
    """The state whose sea surface bulk formulae need."""
    return layout.state_manifest(wildcards.year) if CONFIG.forcing == "bulk8" else []


def year_stores(years):
    """Manifests of the state and the forcing of some years."""
    return [
        manifest(year)
        for year in sorted(years)
        for manifest in (layout.state_manifest, layout.forcing_manifest)
    ]


def forecast_stores(wildcards):
    """Stores of the days that one forecast touches: its analysis, its forcing, its truth."""
    start = dt.date.fromisoformat(wildcards.start)
    end = start + dt.timedelta(days=CONFIG.forecast.days)
    return year_stores(range(start.year, end.year + 1))


def damping_file(wildcards):
    """The damping of anomalies, where damped persistence is scored."""
    return layout.damping if "damped_persistence" in CONFIG.evaluation.baselines else []


def thresholds_file(wildcards):
    """The thresholds of extremes, where a family of scores asks for them."""
    return layout.percentiles_manifest if CONFIG.evaluation.needs_thresholds else []


def marked_for_report(figure):
    """Files of one figure; the first that a browser shows goes into the report."""
    files = figure_outputs(figure, CONFIG, layout)
    shown = next((file for file in files if file.suffix in (".png", ".svg", ".gif")), files[0])
    entry = FIGURES[figure]
    marked = report(
        shown,
        caption=f"../report/{entry.caption}",
        category="Figures",
        subcategory=theme(entry.module),
        labels={"figure": entry.title},
    )
    return [marked if file == shown else file for file in files]


# --- resources

CELLS = round(
    (CONFIG.grid.lat[1] - CONFIG.grid.lat[0])
    * (CONFIG.grid.lon[1] - CONFIG.grid.lon[0])
    / CONFIG.grid.resolution**2
)
STATE_MB = 4e-6 * CELLS * (4 * len(CONFIG.grid.depths) + 1)  # one day in single precision


def memory(states, base=2000):
    """Megabytes for `states` days of the model's state; more at each attempt."""

    def megabytes(wildcards, attempt):
        return round((base + states * STATE_MB) * attempt)

    return megabytes


def minutes(base, per_state=0.0):
    """Minutes that grow with the size of one day's state; more at each attempt."""

    def limit(wildcards, attempt):
        return round((base + per_state * STATE_MB) * attempt)

    return limit


def lock_working_directory():
    """Let one Snakemake at a time run here.

    Snakemake's own lock outlives a killed run and has to be removed by hand; this one is the
    kernel's and ends with the process (the default profile sets `nolock`).
    """
    global lock_handle  # the lock lasts as long as the file is open
    Path(".snakemake").mkdir(exist_ok=True)
    lock_handle = open(".snakemake/hybridom.lock", "w")
    try:
        fcntl.flock(lock_handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        stop("another snakemake is running in this directory; wait for it or stop it")

"""The configuration, the paths, and what the rules share. No torch, no xarray: every cluster job
reads this file twice."""

import datetime as dt
import fcntl
import json
import os
import re
import shlex
import sys
from pathlib import Path

from snakemake.settings.types import DeploymentMethod

import hybridom
from hybridom.config import STAGES, load_experiments, narrow
from hybridom.config.chain import load_chain, path_overrides, raw_elsewhere, training_starts
from hybridom.errors import UserError
from hybridom.figures import FIGURES, figure_inputs, figure_names, figure_outputs
from hybridom.layout import Layout
from hybridom.operations import failures
from hybridom.operations.changes import changed_options
from hybridom.page.themes import theme
from hybridom.twin.states import packaged_state

# The clone whose package this is; the script beside the conda environment installs it from there.
PROJECT = Path(hybridom.__file__).parents[1]
os.environ.setdefault("HYBRIDOM_PROJECT", str(PROJECT))
# With `--sdm`, jobs run in this environment or in the image of a container; without, they find
# `hybridom` and `torchrun` beside the Python that runs Snakemake, activated or not.
ENVIRONMENT = "../../envs/hybridom.yaml"
DEPLOYMENT = workflow.deployment_settings.deployment_method
if not DEPLOYMENT:
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


def given_configuration():
    """The configuration files and the values that were given.

    They come from the command line or, in a module of another workflow, from its `config`, which
    holds what `--config` takes.
    """
    main = workflow.modifier.is_main_snakefile()
    given = workflow.config_settings.config if main else config
    files = [Path(file) for file in workflow.overwrite_configfiles] if main else []
    return files, {key: value for key, value in given.items() if value is not None}


def chained():
    """What the workflow that added this one, as its region or driver, says of the chain; else {}.

    `elsewhere`: folders of raw files that another of its workflows makes.
    """
    return {} if workflow.modifier.is_main_snakefile() else config.get("chained", {})


def read_configuration():
    """The base files, the overrides, the seeds, and the experiments that they make.

    The base is `--config base=FILE` (or several), else `--configfile FILE`, else config/demo.yaml;
    it is never mixed with the default. Overrides are `--config set='a.b=c d.e=f'` and nested
    values; `--config seeds='0 1 2'` makes an experiment of each seed.
    """
    files, given = given_configuration()
    given.pop("image", None)
    if CHAINED:
        given.pop("chained")
    if len(files) > 1 or (files and "base" in given):
        stop(
            "give one configuration file, as --configfile FILE or --config base=FILE, or several "
            "experiments as --config base='FILE FILE'"
        )
    files += [Path(file) for file in words_of("base", given.pop("base", ""))]
    files = [find_base(file) for file in files or [Path("config/demo.yaml")]]
    overrides = words_of("set", given.pop("set", ""))
    seeds = str(given.pop("seeds", "")).replace(",", " ").split()
    overrides += override_texts(given)
    try:
        return files, overrides, seeds, load_experiments(files, overrides, list(map(int, seeds)))
    except UserError as error:
        stop(error)
    except ValueError:
        stop(f"seeds: expected whole numbers such as '0 1 2', found {' '.join(seeds)!r}")


def words_of(key, value):
    """The words of a value of `--config`, split as a shell does."""
    try:
        return shlex.split(str(value))
    except ValueError:
        # Snakemake takes away a quotation mark at the very end.
        stop(
            f"{key}: a quotation mark has no partner in {value!r}; if it is the last character, "
            "put a space behind it"
        )


def find_base(file):
    """The configuration file; with --directory, files lie in the project."""
    return file if file.exists() else PROJECT / file


def image():
    """The image of `--sdm apptainer`: `--config image=FILE_OR_ADDRESS`, else that of envs/."""
    given = given_configuration()[1].get("image")
    wanted = str(given or PROJECT / "envs/hybridom.sif")
    if DeploymentMethod.APPTAINER in DEPLOYMENT:
        if DeploymentMethod.CONDA in DEPLOYMENT:
            stop("the image holds every package: give --sdm apptainer or --sdm conda, not both")
        if "://" not in wanted and not Path(wanted).exists():
            stop(
                f"{wanted} does not exist; build it with `apptainer build envs/hybridom.sif "
                "envs/hybridom.def` in the clone, or name another one: --config image=FILE"
            )
    return wanted


CHAINED = chained()
FILES, OVERRIDES, SEEDS, EXPERIMENTS = read_configuration()
CONFIG_OPTIONS = shlex.join(
    [
        *("--files", *map(str, FILES)),
        *(("--seeds", *SEEDS) if SEEDS else ()),
        *(word for text in OVERRIDES for word in ("--set", text)),
    ]
)
CONFIG_OPTIONS = CONFIG_OPTIONS.replace("{", "{{").replace("}", "}}")
# Experiments of one run differ in skeleton, networks and training alone: for the rest, any will do.
CONFIG = next(iter(EXPERIMENTS.values()))
layout = Layout(CONFIG.model_copy(update={"experiment": "{experiment}"}))


def read_chain():
    """The workflows that this one adds, the folders of raw files that it and each of them leave to
    another, and why there is no chain.

    A region that cannot be made stops nothing else: `all` asks for none.
    """
    if CHAINED:
        return [], [{Path(folder) for folder in CHAINED["elsewhere"]}], None
    try:
        links = load_chain(FILES, EXPERIMENTS, find_base)
        return links[1:], raw_elsewhere(links), None
    except UserError as error:
        if CONFIG.region:
            stop(error)
        return [], [set()], error


LINKS, (RAW_ELSEWHERE, *RAW_ELSEWHERE_OF_LINKS), NO_CHAIN = read_chain()


def rule_prefix(link):
    """What the names of a chained workflow's rules begin with."""
    return re.sub(r"\W", "_", link.config.experiment) + "_"


def chained_config(link, elsewhere):
    """What a chained workflow is given in the place of `--config`. It has the folders of this one,
    and no other override."""
    image_given = given_configuration()[1].get("image")
    return {
        "base": shlex.join(map(str, link.files)),
        "set": shlex.join(path_overrides(CONFIG)),
        "chained": {"elsewhere": sorted(map(str, elsewhere))},
        **({"image": image_given} if image_given else {}),
    }


def pass_on_profile():
    """Let what a profile sets for a rule hold for the chained rules made from it."""
    settings = workflow.resource_settings
    for name in ("overwrite_resources", "overwrite_threads"):
        given = dict(getattr(settings, name))
        passed = {rule_prefix(link) + rule: given[rule] for link in LINKS for rule in given}
        setattr(settings, name, passed | given)


pass_on_profile()


def stage_name(wildcards):
    """The stage whose configuration is written."""
    return wildcards.get("stage", "twin")


def stage_sections(wildcards):
    """What the stage is given; a change of it makes the file, and then the stage, anew."""
    config = EXPERIMENTS[wildcards.get("experiment", CONFIG.experiment)]
    return narrow(config, stage_name(wildcards)).as_dict()


# --- paths


class Wildcard(str):
    """A wildcard where a path expects a date: `{start:%Y-%m-%d}` stays `{start}`."""

    def __format__(self, specification):
        return str(self)


YEAR = Wildcard("{year}")
START = Wildcard("{start}")
MONTH = "{month}"
RAW = {".nc", ".h5", ".grib", ".grb", ".grib2"}  # raw files that are no folders
# Logs of what experiments share lie with the first one's.
SHARED_LOGS, LOGS = (f"logs/{name}" for name in (CONFIG.experiment, "{experiment}"))
SHARED_BENCHMARKS, BENCHMARKS = (
    f"benchmarks/{name}" for name in (CONFIG.experiment, "{experiment}")
)
# What is fetched takes days to arrive: its years are prepared as they come, after the first.
CHECKED_FIRST = CONFIG.periods.years[: 1 if CONFIG.source.kind == "download" else None]
CHANGES_SHOWN = 10
SLURM_LOGS = Path("logs/slurm")  # as the profile has it
# What drives the forecast of a region from one start date.
DRIVER_OF_FORECAST = (
    [layout.driver.grid_file, layout.driver.forecast_manifest(START)] if CONFIG.region else []
)
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


def driver_of_training(wildcards):
    """What drives the training of a region: analyses, and forecasts over its periods."""
    if not CONFIG.region:
        return []
    config, driver = EXPERIMENTS[wildcards.experiment], layout.driver
    years = sorted({*config.periods.train.years, *config.periods.validation.years})
    return [
        driver.grid_file,
        *map(driver.state_manifest, years),
        *map(driver.forecast_manifest, training_starts(config)),
    ]


def start_from(wildcards):
    """The checkpoint whose weights a training begins with, where there is one."""
    return EXPERIMENTS[wildcards.experiment].training.start_from or []


def comparison(config):
    """Folder of the comparison of experiments, of which `config` is the first one's."""
    return Path(config.paths.results) / f"compare_{config.experiment}"


def finished(experiments):
    """Tables, figures and pages of experiments of one run, and their comparison."""
    config = next(iter(experiments.values()))
    layouts = [Layout(experiment) for experiment in experiments.values()]
    return [
        *(
            file
            for one in layouts
            for file in (
                *(one.scores_table, one.summary, one.page),
                *(f for name in figure_names(config) for f in figure_outputs(name, config, one)),
            )
        ),
        *([comparison(config) / "page.html"] if len(experiments) > 1 else []),
    ]


def finished_experiments(wildcards):
    """All that this configuration makes, without its regions."""
    return finished(EXPERIMENTS)


def finished_regions(wildcards):
    """All that is made of the regions: those that are named, or this one, if it is one."""
    if NO_CHAIN:
        stop(NO_CHAIN)
    regions = [link.experiments for link in LINKS[: len(CONFIG.regions)]]
    return [file for region in regions or [EXPERIMENTS] for file in finished(region)]


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
        labels={"figure": entry.title, "experiment": "{experiment}"},
    )
    return [marked if file == shown else file for file in files]


# --- resources


def described(name):
    """What the profile says of the cluster in `default-resources`, or None."""
    found = (workflow.resource_settings.default_resources or {}).get(name)
    return None if found is None else found.raw  # a word, which might be an expression too


RANKS = CONFIG.training.ranks
GPUS_PER_NODE = described("gpus_per_node")
CORES_PER_GPU = described("cores_per_gpu") or 8
NODES = -(-RANKS // GPUS_PER_NODE) if GPUS_PER_NODE else 1
RANKS_PER_NODE = -(-RANKS // NODES)
if RANKS % NODES:
    stop(
        f"training.ranks: {RANKS} processes cannot be spread evenly over {NODES} nodes of "
        f"{GPUS_PER_NODE} GPUs (gpus_per_node of the profile); choose a multiple of {GPUS_PER_NODE}"
    )


def gpus(number, nodes=1):
    """Resources of a job that takes `number` GPUs on each of its nodes.

    Without `gpus_per_node` in the profile, they are asked for as `gpu`, which every executor knows.
    """
    if GPUS_PER_NODE is None:
        return {"nodes": 1, "gpu": number, "tasks_per_gpu": 0}
    wanted = {"nodes": nodes}
    if GPUS_PER_NODE:
        kind = described("gpu_type")
        wanted["gres"] = f"gpu:{kind}:{number}" if kind else f"gpu:{number}"
        wanted["tasks_per_gpu"] = 0  # torchrun starts the processes of a node
    if nodes > 1:
        wanted |= {"mpi": "srun", "tasks": nodes}  # the rule starts a task on each node itself
    return wanted


CELLS = round(
    (CONFIG.grid.lat[1] - CONFIG.grid.lat[0])
    * (CONFIG.grid.lon[1] - CONFIG.grid.lon[0])
    / CONFIG.grid.resolution**2
)
STATE_MB = 4e-6 * CELLS * (4 * len(CONFIG.grid.depths) + 1)  # one day in single precision


def more(attempt):
    """Factor of what a job is given at an attempt; doubling soon asks for more than any node has."""
    return 1 + (attempt - 1) / 2


def memory(states, base=2000):
    """Megabytes for `states` days of the model's state; more at each attempt."""

    def megabytes(wildcards, attempt):
        return round((base + states * STATE_MB) * more(attempt))

    return megabytes


def training_memory():
    """Memory of training on one node: what `hybridom cost` counts, and CUDA's libraries."""
    periods, most = CONFIG.periods, 0
    # days of a window: its states, the climatology, and what drives a region
    parts = 3 if CONFIG.region else 2
    for settings in (config.training for config in EXPERIMENTS.values()):
        windows = parts * settings.batch * (1 + max(stage.days for stage in settings.curriculum))
        states = 2 * windows * (1 + settings.num_workers)  # the step's and those made in advance
        if settings.cache == "memory":
            states += periods.train.length + periods.validation.length + 366
            states += periods.train.length if CONFIG.region else 0  # the driver's analyses
        most = max(most, 4000 + 500 * settings.num_workers + states * STATE_MB)
    return memory(0, base=RANKS_PER_NODE * most)


def minutes(base, per_state=0.0):
    """Minutes that grow with the size of one day's state; more at each attempt."""

    def limit(wildcards, attempt):
        return round((base + per_state * STATE_MB) * more(attempt))

    return limit


# --- what is said about a run


def announce_changes():
    """Say which options have changed since the stages ran; what needs them runs again."""
    for config in EXPERIMENTS.values():
        stages = {}
        for stage, lines in changed_options(config).items():
            for line in lines:
                stages.setdefault(line, []).append(stage)
        said = [f"changed since {', '.join(on)} ran: {line}" for line, on in stages.items()]
        if len(said) > CHANGES_SHOWN:
            said[CHANGES_SHOWN:] = [f"and {len(said) - CHANGES_SHOWN} more: see hybridom status"]
        for line in said:
            print(f"hybridom: {config.experiment}: {line}", file=sys.stderr)


def explain_failures(logs):
    """Say what went wrong, and what to do about it, below all that Snakemake has said.

    `logs` are those of Snakemake's loggers, the first of which is its own.
    """
    if workflow.remote_exec:
        return  # a job of the cluster, whose failure the run that submitted it explains
    if said := failures.report(Path(logs[0]), SLURM_LOGS):
        print(f"\nhybridom: what went wrong\n\n{said}", file=sys.stderr)


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

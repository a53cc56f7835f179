"""`hybridom evaluate observations`."""

from __future__ import annotations

import argparse
import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING

from hybridom.cli import common, evaluate_files
from hybridom.errors import UserError

if TYPE_CHECKING:
    from hybridom.evaluation.case import Case
    from hybridom.evaluation.external.class4 import Observed


def add_command(group: argparse._SubParsersAction) -> None:
    """Add `observations` to `hybridom evaluate`."""
    parser = common.add_command(
        group,
        "observations",
        "score forecasts at the places and days of observations",
        "hybridom evaluate observations --observations argo.parquet --config config/demo.yaml",
        "The forecasts are those of the configuration, or those given as --forecast.",
    )
    parser.add_argument(
        "--observations",
        type=Path,
        nargs="+",
        required=True,
        metavar="FILE",
        help="tables of observations: Parquet, CSV or NetCDF",
    )
    parser.add_argument(
        "--mdt", type=Path, metavar="FILE", help="mean dynamic topography, for sea level anomalies"
    )
    parser.add_argument(
        "--sla-offset",
        type=float,
        default=0.0,
        metavar="M",
        help="added to zos less the topography (default: %(default)g m)",
    )
    # Absent options leave those in front of the command as they are.
    evaluate_files.add_forecasts(parser, default=argparse.SUPPRESS)
    evaluate_files.add_regions(parser, default=argparse.SUPPRESS)
    parser.set_defaults(run=run_observations)


def run_observations(args: argparse.Namespace) -> None:
    """Score against observations."""
    from hybridom.evaluation.external.class4 import Observed

    for key in ("members", "thresholds", "families", "interpolate_truth"):
        if getattr(args, key, None):
            option = key.replace("_", "-")
            raise UserError(f"--{option}: scores against observations use none; leave it out")
    observed = Observed(tuple(args.observations), args.mdt, args.sla_offset)
    if args.forecast:
        of_files(args, observed)
    else:
        of_configuration(args, observed)


def of_files(args: argparse.Namespace, observed: Observed) -> None:
    """Score forecasts in files."""
    from hybridom.evaluation.damping import read_damping
    from hybridom.evaluation.external.cases import baselines, make_case
    from hybridom.evaluation.external.class4 import evaluate_observations
    from hybridom.evaluation.external.opening import Files, describe, open_files
    from hybridom.evaluation.external.run import FileLayout

    if args.overrides:
        raise UserError(
            f"--set {args.overrides[0]}: no configuration is used with --forecast; leave it out"
        )
    folder = evaluate_files.folder(args, args.forecast)
    truth = tuple(args.truth or ())
    files = Files(tuple(args.forecast), truth, args.climatology, args.damping, "common")
    settings = evaluate_files.settings(args)
    with common.exclusive(folder / "observations.parquet"):
        opened = open_files(files)
        chosen = baselines(opened, args.baselines)
        settings = settings.model_copy(update={"baselines": chosen})
        damping = None
        if "damped_persistence" in chosen:
            damping = read_damping(FileLayout(folder, args.damping), opened.grid, opened.days)

        def open_start(start: dt.date) -> Case:
            return make_case(opened, start, settings, damping)

        about = {**describe(opened, chosen), **describe_observed(observed)}
        evaluate_observations(
            observed, open_start, opened.starts, folder, settings.bootstrap, about
        )


def of_configuration(args: argparse.Namespace, observed: Observed) -> None:
    """Score the forecasts of the configuration."""
    from hybridom.evaluation.case import open_case
    from hybridom.evaluation.external.class4 import evaluate_observations

    for key in ("truth", "climatology", "damping", "name", "baselines", "regions", "named_regions"):
        if getattr(args, key, None):
            option = key.removesuffix("s").replace("_", "-") if "region" in key else key
            raise UserError(
                f"--{option}: the configuration says it; give --forecast too, or leave it out"
            )
    config, layout = common.load(args, "evaluate")
    folder = args.output or layout.table("observations").parent
    with common.exclusive(folder / "observations.parquet"):
        evaluate_observations(
            observed,
            lambda start: open_case(config, layout, start),
            config.forecast.start_dates(),
            folder,
            config.evaluation.bootstrap,
            describe_observed(observed),
        )


def describe_observed(observed: Observed) -> dict[str, object]:
    """What is kept of the observations as attributes of the tables."""
    mdt = observed.mean_topography
    return {
        "observations": [str(path) for path in observed.files],
        "mdt": None if mdt is None else str(mdt),
        "sla_offset": observed.sla_offset,
    }

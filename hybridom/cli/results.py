"""`hybridom evaluate` and `hybridom figures`."""

from __future__ import annotations

import argparse

from hybridom.cli import common, evaluate_files, observations


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add `evaluate` and `figures` to the command line."""
    evaluate = evaluate_files.add_group(commands)
    damping = common.add_command(
        evaluate,
        "damping",
        "fit the damping of anomalies with lead time, for damped persistence",
        "hybridom evaluate damping --config config/demo.yaml",
        "It is fitted on the training period alone.",
    )
    damping.set_defaults(run=run_damping)
    start = common.add_command(
        evaluate,
        "start",
        "score one forecast, with the baselines beside it",
        "hybridom evaluate start --config config/demo.yaml --start 2004-03-01",
    )
    common.add_start(start)
    start.set_defaults(run=run_evaluate_start)
    aggregate = common.add_command(
        evaluate,
        "aggregate",
        "put the scores of all start dates into one table",
        "hybridom evaluate aggregate --config config/demo.yaml",
    )
    aggregate.set_defaults(run=run_aggregate)
    observations.add_command(evaluate)
    evaluate_files.only_commands(evaluate)

    figures = common.add_command(
        commands,
        "figures",
        "draw one figure, or all of them",
        "hybridom figures rmse --config config/demo.yaml --set figures.dpi=80",
        "The name `list` prints the names.",
    )
    figures.add_argument("name", metavar="NAME", help="name of a figure, `all`, or `list`")
    figures.set_defaults(run=run_figures)


def run_damping(args: argparse.Namespace) -> None:
    """Fit the damping of anomalies."""
    from hybridom.evaluation.damping import fit_damping

    config, layout = common.load(args, "damping")
    with common.exclusive(layout.damping):
        fit_damping(config, layout)


def run_evaluate_start(args: argparse.Namespace) -> None:
    """Score one start date or all."""
    from hybridom.evaluation.scores import evaluate_start

    config, layout = common.load(args, "evaluate")
    for start in common.starts(args, config):
        with common.exclusive(layout.scores(start)):
            evaluate_start(config, layout, start)


def run_aggregate(args: argparse.Namespace) -> None:
    """Write the table of all scores, the table of skill and the summary."""
    from hybridom.evaluation.scores import aggregate

    config, layout = common.load(args, "evaluate")
    with common.exclusive(layout.scores_table):
        aggregate(config, layout)


def run_figures(args: argparse.Namespace) -> None:
    """Draw one figure or all, or print their names."""
    from hybridom import figures

    config, layout = common.load(args, "figures")
    names = figures.figure_names(config)
    if args.name == "list":
        print("\n".join(names))
        return
    for name in names if args.name == "all" else [args.name]:
        figures.draw(name, config, layout)

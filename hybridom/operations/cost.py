"""What a configuration takes before it is run: disk, memory, arithmetic, GPU hours.

Nothing of the problem's size is allocated: operations and memory of a training step are traced on
tensors without contents (`bench.train_count`), stores are counted in cells. See docs/cluster.md.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from itertools import groupby

from hybridom.config import Config
from hybridom.errors import UserError
from hybridom.layout import Layout
from hybridom.operations import cost_driver, cost_storage, cost_trace, cost_training
from hybridom.operations.cost_item import Cost
from hybridom.operations.cost_ocean import ocean_cells

__all__ = ["Cost", "estimate", "table"]

WHAT, HOW = 40, 62  # characters of what a line is about, and of how it was made
EXACT = 1e4  # numbers without unit from here on are printed in full
RESULTS = ("forecasts", "all checkpoints that are kept", "scores and figures")


def estimate(config: Config, gpu_tflops: float) -> list[Cost]:
    """Estimate what an experiment takes.

    Args:
        config: The configuration.
        gpu_tflops: What one GPU achieves on this model, 1e12 operations per second, without those
            that activation checkpointing does again; `hybridom bench train` prints it.

    Returns:
        Lines, those of one part together. Without networks there are none about training. Of a
        region's driver, the forecasts that the region takes, unless its files are there already.

    Raises:
        UserError: `gpu_tflops` is not positive; a network refuses its configuration; the driver
            does not serve the region.
    """
    if not gpu_tflops > 0:
        raise UserError(f"--gpu-tflops {gpu_tflops:g}: expected a number above 0, such as 60")
    layout = Layout(config)
    ocean = ocean_cells(config, layout)
    storage = [*cost_storage.raw_files(config, layout), *cost_storage.stores(config, ocean)]
    driver = cost_driver.driver_config(config, config.experiment)
    memory = cost_training.host_memory(config, ocean.grid)
    work: list[Cost] = []
    results = [cost_storage.forecasts(config, ocean)]
    if cost_trace.has_networks(config):
        found = cost_trace.trace(config, ocean.grid)
        results += cost_training.checkpoints(config, ocean.grid, found)
        memory += cost_training.gpu_memory(config, found)
        work += cost_training.arithmetic(config, ocean.grid, found)
        work += cost_training.hours(config, ocean.grid, found, gpu_tflops)
    results.append(cost_storage.scores(config))
    storage += [*results, _in_sum(results)]
    if driver is not None:
        storage += cost_driver.storage(config, driver)
        work += cost_driver.hours(config, driver, gpu_tflops)
    return [*storage, *memory, *work]


def table(costs: Sequence[Cost]) -> str:
    """The lines as text, part by part; how each was made stands beside it."""
    lines: list[str] = []
    for part, rows in groupby(costs, key=lambda cost: cost.part):
        lines += ["", part] if lines else [part]
        for cost in rows:
            amount = f"{_number(cost):>13} {cost.unit:5}"
            first, *more = textwrap.wrap(f"{cost.made}: {cost.how}", HOW) or [""]
            lines.append(f"  {cost.what:{WHAT}}{amount}  {first}".rstrip())
            lines += [f"{' ' * (WHAT + 23)}{text}" for text in more]
    return "\n".join(lines)


def _in_sum(results: Sequence[Cost]) -> Cost:
    amount = sum(cost.amount for cost in results if cost.what in RESULTS)
    how = "forecasts, checkpoints that are kept, scores and figures"
    return Cost("storage", "results in sum", amount, "GB", "estimated", how)


def _number(cost: Cost) -> str:
    if not cost.unit and cost.amount >= EXACT:
        return f"{cost.amount:,.0f}"
    return f"{cost.amount:,.0f}" if cost.amount >= 999.5 else f"{cost.amount:.3g}"

"""Figures from tables and stores, one function and one file each.

Importing this package loads no plotting library, so that a workflow can ask for names and inputs.
"""

from hybridom.figures.registry import (
    FIGURES,
    draw,
    figure_inputs,
    figure_names,
    figure_outputs,
)

__all__ = ["FIGURES", "draw", "figure_inputs", "figure_names", "figure_outputs"]

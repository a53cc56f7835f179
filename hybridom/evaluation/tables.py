"""Writing tables so that each appears complete or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd


def write_parquet(table: pd.DataFrame, path: Path) -> None:
    """Write a table as Parquet."""
    _replace(path, lambda temporary: table.to_parquet(temporary, index=False))


def write_csv(table: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV with six significant digits; NaN is an empty cell."""
    _replace(path, lambda temporary: table.to_csv(temporary, index=False, float_format="%.6g"))


def write_text(text: str, path: Path) -> None:
    """Write a text in UTF-8."""
    _replace(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".partial")
    write(temporary)
    os.replace(temporary, path)

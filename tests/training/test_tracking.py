from __future__ import annotations

from pathlib import Path

import pytest

from hybridom.errors import UserError
from hybridom.training.tracking import MetricsFile

COLUMNS = ("step", "loss", "rmse")


def write(path: Path, step: int, rows: list[dict[str, float]]) -> None:
    with MetricsFile(path, COLUMNS, step, write=True) as metrics:
        for row in rows:
            metrics.append(row)


def test_rows_reach_the_file_at_once_with_every_digit(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "metrics.csv"
    with MetricsFile(path, COLUMNS, 0, write=True) as metrics:
        metrics.append({"step": 1, "loss": 0.1 + 0.2})
        assert path.read_text().splitlines() == ["step,loss,rmse", "1,0.30000000000000004,"]


def test_rows_after_the_checkpoint_and_rows_cut_short_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    write(path, 0, [{"step": n, "loss": n / 2, "rmse": 1.0} for n in range(1, 6)])
    with path.open("a") as handle:
        handle.write("6,3")
    write(path, 3, [{"step": 4, "loss": 9.0}])
    assert path.read_text().splitlines() == [
        "step,loss,rmse",
        "1,0.5,1.0",
        "2,1.0,1.0",
        "3,1.5,1.0",
        "4,9.0,",
    ]


def test_a_record_with_other_columns_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("step,speed\n1,2\n")
    with pytest.raises(UserError, match="columns"):
        MetricsFile(path, COLUMNS, 0, write=True)
    assert path.read_text() == "step,speed\n1,2\n"


def test_only_the_first_process_writes(tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    with MetricsFile(path, COLUMNS, 0, write=False) as metrics:
        metrics.append({"step": 1})
        metrics.sync()
    assert not path.exists()


def test_publishing_copies_the_record(tmp_path: Path) -> None:
    path, target = tmp_path / "work" / "metrics.csv", tmp_path / "metrics.csv"
    with MetricsFile(path, COLUMNS, 0, write=True) as metrics:
        metrics.append({"step": 1, "loss": 2.0})
        metrics.publish(target)
    assert target.read_bytes() == path.read_bytes()

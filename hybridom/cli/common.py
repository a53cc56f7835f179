"""What the commands share: options, the configuration, dates, the lock of an output."""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import errno
import fcntl
import logging
import os
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hybridom.errors import UserError

if TYPE_CHECKING:
    from hybridom.config import StageConfig
    from hybridom.layout import Layout

DEFAULT_CONFIG = Path("config/demo.yaml")
LOCK_REMINDER = 60.0  # s between two lines that say what is being waited for
LOCK_POLL = 0.2  # s

log = logging.getLogger(__name__)


def add_command(
    commands: argparse._SubParsersAction,
    name: str,
    summary: str,
    example: str,
    details: str = "",
) -> argparse.ArgumentParser:
    """Add a sub-command with the options that all commands have, and an example."""
    parser = commands.add_parser(name, **texts(summary, example, details))
    parser.add_argument(
        "--config",
        type=Path,
        default=DEFAULT_CONFIG,
        metavar="FILE",
        help="configuration file (default: %(default)s)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="overrides",
        metavar="KEY=VALUE",
        help="override one entry, e.g. --set training.batch=2; may be repeated",
    )
    parser.add_argument("--verbose", action="store_true", help="log more")
    return parser


def add_group(
    commands: argparse._SubParsersAction, name: str, summary: str, example: str
) -> argparse._SubParsersAction:
    """Add a command that has commands of its own."""
    parser = commands.add_parser(name, **texts(summary, example))
    return parser.add_subparsers(title="commands", metavar="COMMAND", required=True)


def texts(summary: str, example: str, details: str = "") -> dict[str, Any]:
    """What `--help` says, for `add_parser`; an example stays on one line, ready to be copied."""
    return {
        "help": summary,
        "description": textwrap.fill(f"{summary[0].upper()}{summary[1:]}. {details}".strip(), 80),
        "epilog": f"Example:\n  {example}",
        "formatter_class": argparse.RawDescriptionHelpFormatter,
    }


def add_year(parser: argparse.ArgumentParser) -> None:
    """Add `--year`, which limits a command to one year."""
    parser.add_argument("--year", type=int, metavar="YEAR", help="this year only (default: all)")


def add_threads(parser: argparse.ArgumentParser) -> None:
    """Add `--threads`; see `threads` for the default."""
    parser.add_argument(
        "--threads",
        type=count,
        metavar="N",
        help="blocks decompressed and regridded at a time (default: one a core)",
    )


def threads(args: argparse.Namespace) -> int:
    """The threads asked for, or one a core that this process may use."""
    from hybridom.data.stores.threads import usable_cores

    return usable_cores() if args.threads is None else int(args.threads)


def count(text: str) -> int:
    """Parse a number of at least one; argparse turns the error into a message."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return value


def add_start(parser: argparse.ArgumentParser) -> None:
    """Add `--start`, which limits a command to one start date."""
    parser.add_argument(
        "--start",
        type=date,
        metavar="DATE",
        help="this start date only (default: all of the configuration)",
    )


def starts(args: argparse.Namespace, config: StageConfig) -> list[dt.date]:
    """The start date asked for, or all of the configuration."""
    return [args.start] if args.start is not None else config.forecast.start_dates()


def date(text: str) -> dt.date:
    """Parse `YYYY-MM-DD`; argparse turns the error into a message."""
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a date; write it as 2003-01-31"
        ) from None


def load(args: argparse.Namespace, stage: str) -> tuple[StageConfig, Layout]:
    """What `stage` is given of the configuration, with every `--set` applied, and its paths."""
    from hybridom.config import load_stage
    from hybridom.layout import Layout

    config = load_stage(args.config, stage, args.overrides)
    return config, Layout(config)


@contextlib.contextmanager
def exclusive(output: Path) -> Iterator[None]:
    """Hold the only right to write `output`, waiting for it where another process has it.

    A workflow that was killed may leave the command that it started behind; started again, it
    must not write the same files at the same time. The lock is the kernel's, so it ends with the
    process that holds it, however that ends.

    Args:
        output: The file that stands for what is written; `.NAME.lock` lies beside it.

    Raises:
        UserError: Its folder cannot be written.
    """
    path = output.with_name(f".{output.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = path.open("a+")
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UserError(
            f"{path.parent}: cannot be written ({error.strerror}); mend the folder or choose "
            "another with the section paths"
        ) from None
    with handle:
        wait_for_lock(handle.fileno(), path, output)
        handle.truncate(0)
        handle.write(f"{os.getpid()} on {os.uname().nodename}")
        handle.flush()
        yield


def wait_for_lock(descriptor: int, path: Path, output: Path) -> None:
    """Take the lock on `descriptor`; say once a minute who has it."""
    reminded = -LOCK_REMINDER
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() - reminded >= LOCK_REMINDER:
                reminded = time.monotonic()
                holder = path.read_text() or "unknown"
                log.warning("waiting for process %s, which is writing %s", holder, output)
            time.sleep(LOCK_POLL)
        except OSError as error:
            if error.errno not in (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK):
                raise
            # Some parallel file systems are mounted without locks; the workflow's own lock holds.
            log.warning("%s: this file system has no locks; going on without", path.parent)
            return

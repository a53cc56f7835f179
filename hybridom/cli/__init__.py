"""The `hybridom` command: argument parsing and messages, nothing else.

Every stage of the workflow is one sub-command, and every rule of the Snakefile runs exactly one
of them. What a command needs is imported when it runs, so that `--help` and a typing error answer
at once.
"""

from __future__ import annotations

import argparse
import errno
import logging
import os
import sys
from collections.abc import Sequence

from hybridom import __version__
from hybridom.cli import (
    bench,
    checkpoints,
    compare,
    config,
    data,
    export,
    launch,
    model,
    oceanbench,
    operations,
    page,
    region,
    results,
    retrieve,
    store,
)
from hybridom.errors import UserError

EXIT_ERROR = 1
EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130

log = logging.getLogger(__name__)


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line; a parsed command carries its function in `run`."""
    parser = argparse.ArgumentParser(
        prog="hybridom",
        description="HybridOM: a differentiable numerical ocean corrected by neural networks.",
        epilog="Example: hybridom forecast --config config/demo.yaml --help",
    )
    parser.add_argument("--version", action="version", version=f"hybridom {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for module in (
        retrieve,
        data,
        export,
        model,
        checkpoints,
        results,
        region,
        page,
        compare,
        oceanbench,
        config,
        store,
        bench,
        operations,
        launch,
    ):
        module.add_commands(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status.

    Returns:
        0 on success; 2 after a mistake of the user (one line, no traceback) or a full disk;
        1 after an unexpected error (with its traceback); 130 after an interrupt. `train` may
        also exit with 85: it was asked to stop and saved where it was.
    """
    args = build_parser().parse_args(argv)
    logging.basicConfig(
        level=logging.DEBUG if args.verbose else logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        datefmt="%Y-%m-%d %H:%M:%S",
        stream=sys.stderr,
    )
    try:
        args.run(args)
    except UserError as error:
        return fail(str(error))
    except KeyboardInterrupt:
        print("hybridom: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader (`| head`) has gone; without this, Python complains again while closing.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            where = f" while writing {error.filename}" if error.filename else ""
            return fail(f"the disk is full{where}; free some space and run the command again")
        return unexpected()
    except Exception:
        return unexpected()
    return 0


def fail(message: str) -> int:
    """Print one line for each mistake of the user that `message` names."""
    for line in message.splitlines() if announce(message) else ():
        print(f"hybridom: error: {' '.join(line.split())}", file=sys.stderr)
    return EXIT_USER_ERROR


def unexpected() -> int:
    """Log the traceback of the exception that is being handled."""
    if announce(repr(sys.exception())):
        log.critical("unexpected error; please report it with the lines below", exc_info=True)
    return EXIT_ERROR


def announce(message: str) -> bool:
    """Whether to show an error: of the processes under torchrun, the first to fail does."""
    if "WORLD_SIZE" not in os.environ:
        return True
    from hybridom.training import failure

    return failure.announce(message)

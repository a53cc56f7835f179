"""The clients of the data stores: loading them, and calling them over a network that may fail.

Credentials are the clients' own business: they find them by themselves, and nothing here sees them.
"""

from __future__ import annotations

import errno
import importlib
import logging
import re
import time
from collections.abc import Callable
from importlib import metadata
from types import ModuleType
from typing import TypeVar

from hybridom.errors import UserError

log = logging.getLogger(__name__)
T = TypeVar("T")

WAITS = (10.0, 60.0, 300.0)  # s between attempts
# A client refuses these whatever the network does; trying again changes nothing.
REFUSALS = frozenset(
    {
        "CoordinatesOutOfDatasetBounds",
        "CredentialsCannotBeNone",
        "DatasetNotFound",
        "DatasetVersionNotFound",
        "DatasetVersionPartNotFound",
        "InvalidUsernameOrPassword",
        "ProcessingFailedError",
        "ServiceNotSupported",
        "ValidationError",
        "VariableDoesNotExistInTheDataset",
    }
)
FULL = (errno.ENOSPC, errno.EDQUOT)


def load(module: str) -> ModuleType:
    """Import a client.

    Raises:
        UserError: It is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as e:
        raise UserError(
            f"the client {module} cannot be imported ({plain(e)}); retrieval needs it: run "
            "pip install 'hybridom[download]'"
        ) from None


def version(distribution: str) -> str:
    """Installed version of a client; `unknown` for one that is not installed as a package."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "unknown"


def attempt(call: Callable[[], T], what: str, remedy: str = "correct the request") -> T:
    """Call a client, again after a pause where that can help.

    Args:
        call: The call alone, so that every exception is the client's.
        what: Words for messages, such as `dataset x, 1993-01`.
        remedy: What the user can do after a refusal.

    Raises:
        UserError: The client refused, or the last attempt failed.
        OSError: The disk is full.
    """
    for wait in (*WAITS, None):
        try:
            return call()
        except (UserError, TypeError, AttributeError):
            raise
        except Exception as e:
            if isinstance(e, OSError) and e.errno in FULL:
                raise
            if not passing(e):
                raise UserError(f"{what}: refused: {plain(e)}; {remedy}") from None
            if wait is None:
                raise UserError(
                    f"{what}: still failing after {len(WAITS) + 1} attempts: {plain(e)}; run the "
                    "command again when the network or the service is back"
                ) from None
            log.warning("%s: %s; trying again in %.0f s", what, plain(e), wait)
            time.sleep(wait)
    raise AssertionError("the last attempt returns or raises")


def passing(error: Exception) -> bool:
    """Whether trying again may help: not after a refusal or a client error (HTTP 4xx)."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(status, int) and 400 <= status < 500:
        return status in (408, 429)
    return not any(kind.__name__ in REFUSALS for kind in type(error).__mro__)


def plain(error: Exception) -> str:
    """An exception in one line, without what URLs may carry beside the address."""
    text = " ".join(str(error).split())
    text = re.sub(r"//[^/\s@]+@", "//", text)
    text = re.sub(r"\?[^\s'\")]+", "", text)
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__

"""Networks that map channels on a horizontal grid to channels on the same grid.

`build` makes one from its configuration; every module of this package is imported here, so that
a file which calls `register` is all that a new network needs (see `registry`).
"""

from __future__ import annotations

import importlib
import pkgutil

from hybridom.networks.registry import build, names, register

__all__ = ["build", "names", "register"]

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

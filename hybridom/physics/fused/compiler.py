"""How the CPU kernels are compiled."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import njit
from numba.core.caching import FunctionCache, IndexDataCacheFile
from numba.core.compiler import CompilerBase, DefaultPassBuilder


class ApartCompiler(CompilerBase):
    """Numba's pipeline, told that the arrays which a kernel gets do not overlap where it writes.

    Without that LLVM would compare every pair of arrays before a loop, and gives up vectorising
    loops over many of them.
    """

    def define_pipelines(self) -> list:
        self.state.flags.noalias = True
        return [DefaultPassBuilder.define_nopython_pipeline(self.state)]


def digest() -> bytes:
    """Hash of the sources of all kernels."""
    found = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        found.update(path.read_bytes())
    return found.digest()


DIGEST = digest()


class Cache(FunctionCache):
    """Numba's files of compiled kernels, stale when any kernel has changed.

    Numba looks at the file of the kernel itself alone, and would go on with what the kernels that
    it calls were before.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._cache_file = IndexDataCacheFile(self._cache_path, self._impl.filename_base, DIGEST)


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """A decorator of kernels."""
    decorator = njit(
        nogil=True,
        error_model="numpy",
        # sums keep their order, so that results do not depend on how a loop was vectorised
        fastmath={"contract"},
        pipeline_class=ApartCompiler,
        **options,
    )

    def decorate(function: Callable[..., Any]) -> Any:
        dispatcher = decorator(function)
        if hasattr(dispatcher, "_cache"):  # not where NUMBA_DISABLE_JIT is set
            dispatcher._cache = Cache(function)
        return dispatcher

    return decorate


kernel = compiled()
# of kernels that only others call: compiled faster, without what Python needs for a call
inner = compiled(no_cpython_wrapper=True, no_cfunc_wrapper=True)
# of such kernels that make no arrays: without counts of references, which take as long as a loop
# over a short row
bare = compiled(_nrt=False, no_cpython_wrapper=True, no_cfunc_wrapper=True)

"""How the CPU kernels are compiled."""

from __future__ import annotations

from typing import Any

from numba import njit
from numba.core.compiler import CompilerBase, DefaultPassBuilder


class ApartCompiler(CompilerBase):
    """Numba's pipeline, told that the arrays which a kernel gets do not overlap where it writes.

    Without that LLVM would compare every pair of arrays before a loop, and gives up vectorising
    loops over many of them.
    """

    def define_pipelines(self) -> list:
        self.state.flags.noalias = True
        return [DefaultPassBuilder.define_nopython_pipeline(self.state)]


OPTIONS: dict[str, Any] = {
    "nogil": True,
    "cache": True,
    "error_model": "numpy",
    # sums keep their order, so that results do not depend on how a loop was vectorised
    "fastmath": {"contract"},
    "pipeline_class": ApartCompiler,
}
kernel = njit(**OPTIONS)
# of kernels that only others call: compiled faster, without what Python needs for a call
inner = njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, **OPTIONS)  # type: ignore[call-overload]
# of such kernels that make no arrays: without counts of references, which take as long as a loop
# over a short row
bare = njit(  # type: ignore[call-overload]
    _nrt=False, no_cpython_wrapper=True, no_cfunc_wrapper=True, **OPTIONS
)

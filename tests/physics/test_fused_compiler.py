"""Files of compiled kernels."""

from __future__ import annotations

import shutil
import subprocess
import sys

from hybridom.physics.fused import compiler

CALLEE = """
from compiler import inner

@inner
def factor():
    return {}
"""
CALLER = """
import compiler
from compiler import kernel
from callee import factor

@kernel
def scaled(x):
    return factor() * x

print(scaled(2.0), sum(scaled.stats.cache_hits.values()))
"""


def test_a_kernel_is_compiled_anew_when_one_that_it_calls_has_changed(tmp_path):
    shutil.copy(compiler.__file__, tmp_path / "compiler.py")
    (tmp_path / "caller.py").write_text(CALLER)

    def printed(number):
        (tmp_path / "callee.py").write_text(CALLEE.format(number))
        command = [sys.executable, "-B", "caller.py"]
        run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        return run.stdout.split()

    assert printed(3.0) == ["6.0", "0"]
    assert printed(3.0) == ["6.0", "1"]
    assert printed(5.0) == ["10.0", "0"]

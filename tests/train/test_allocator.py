from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from seas_train.training import allocator

FAULTS = """
import resource, sys
import numpy as np
from seas_train.training.allocator import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(8):
        np.ones(48 * 2**17)  # 48 MiB, as large as a step's largest tensors
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
before = faults()
assert keep_freed_memory()
faults()
print(before, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc alone gives memory back so eagerly")
def test_freed_memory_is_taken_again_without_the_kernel() -> None:
    ended = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    before, after = map(int, ended.stdout.split())
    assert after < before / 50


@pytest.mark.parametrize("system", ["win32", "darwin"])
def test_another_system_is_left_as_it_is(system: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(allocator.ctypes, "CDLL", None)
    assert not allocator.keep_freed_memory()

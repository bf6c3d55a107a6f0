"""The service's threads share their memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from seas_runtime.packages import child_environment

HOLDING = """
import ctypes, sys, threading
from seas_runtime.service.serving import _share_memory
if sys.argv[1] == "shared":
    assert _share_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.fopen.restype = ctypes.c_void_p, ctypes.c_void_p
libc.malloc_info.argtypes, libc.fclose.argtypes = (ctypes.c_int, ctypes.c_void_p), (ctypes.c_void_p,)
together = threading.Barrier(12)
def hold():
    together.wait()
    for _ in range(100):
        libc.malloc(20_000)
    together.wait()
threads = [threading.Thread(target=hold) for _ in range(12)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
file = libc.fopen(sys.argv[2].encode(), b"w")
libc.malloc_info(0, file)
libc.fclose(file)
"""


@pytest.mark.skipif(
    "CS_GNU_LIBC_VERSION" not in getattr(os, "confstr_names", ()), reason="glibc alone has pools"
)
def test_threads_share_their_memory(tmp_path: Path) -> None:
    pools = {}
    for how in ("shared", "own"):
        words = [sys.executable, "-c", HOLDING, how, str(tmp_path / how)]
        subprocess.run(words, env=child_environment(), check=True)
        pools[how] = (tmp_path / how).read_text().count("<heap nr=")
    assert pools["shared"] <= 2 < pools["own"]

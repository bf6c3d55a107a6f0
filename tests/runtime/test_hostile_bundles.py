"""Bundles whose hashes an attacker made right again: each is refused, soon and in little memory."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from seas_runtime.packages import child_environment
from tests.runtime.bundles import Toy, write_tiny_bundle
from tests.runtime.hostile import attacks

SECONDS, MEMORY = 10.0, 1 << 30
"""Most that one may take, and most bytes beyond what an honest bundle took before."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("hostile") / "base", Toy(weights_file=True))


def test_there_are_enough_hostile_bundles(base: Path) -> None:
    assert len(attacks(base)) >= 200


@pytest.mark.parametrize("backend", ["cpu", "openvino:fp32"])
def test_a_hostile_bundle_is_refused_before_a_library_sees_it(
    base: Path, tmp_path: Path, backend: str
) -> None:
    if backend != "cpu":
        pytest.importorskip("openvino")
    command = [
        sys.executable,
        "-m",
        "tests.runtime.hostile_worker",
        str(base),
        str(tmp_path),
        "0",
        "1",
        backend,
    ]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=child_environment()
    ) as worker:
        results = read_lines(worker)
        assert worker.wait() == 0, worker.stderr.read().decode()[-2000:] if worker.stderr else ""
    (honest, *hostile) = results
    assert [name for name, *_ in hostile] == list(attacks(base))
    assert {name: how for name, how, *_ in hostile if how != "refused"} == {}
    assert {name: seconds for name, _, seconds, _, _ in hostile if seconds > SECONDS} == {}
    assert {name: len(message) for name, *_, message in hostile if len(message) > 2000} == {}
    assert hostile[-1][3] - honest[3] <= MEMORY


def read_lines(worker: subprocess.Popen[bytes]) -> list[list[Any]]:
    """Return what a worker says, and end it once it says nothing for far too long."""
    assert worker.stdout is not None
    found, data, last = [], b"", time.monotonic()
    with selectors.DefaultSelector() as waiting:
        waiting.register(worker.stdout, selectors.EVENT_READ)
        while True:
            if not waiting.select(timeout=1):
                if time.monotonic() - last > 6 * SECONDS:
                    worker.kill()
                    raise AssertionError(f"hangs after {found[-1] if found else 'nothing'}")
                continue
            block = os.read(worker.stdout.fileno(), 1 << 16)
            if not block:
                return found
            last, data = time.monotonic(), data + block
            *lines, data = data.split(b"\n")
            found += [json.loads(line) for line in lines]

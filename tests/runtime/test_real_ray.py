"""Pairs and builds of a real Ray cluster of two nodes on this machine, whoever is killed with -9.

The stand-in of `fake_ray` cannot tell whether Ray does what we take it to do; these can. They take minutes,
most of which Ray needs to start.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from seas_runtime.bundle.reading import Bundle
from seas_runtime.dataset.writing import DatasetRequest, write_dataset
from seas_runtime.generation.generator import Generator
from seas_runtime.spreading.contract import Job, Opened
from seas_runtime.spreading.on_ray.crew import RayCrew
from seas_runtime.spreading.pool import Pool
from tests.runtime.datasets import snapshot
from tests.runtime.real_ray import Nodes, cluster, needs_ray

pytestmark = [pytest.mark.slow, needs_ray]
REQUEST = DatasetRequest(("all",), 20, seed=3, batch=2)
Made = Callable[..., tuple[dict[str, bytes], int]]


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    """A head and a second node, of a core each."""
    with cluster(1, 1) as found:
        yield found


@pytest.fixture(scope="module")
def alone(generator: Generator, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of 20 pairs each of two defects and normals, made by this process."""
    out = tmp_path_factory.mktemp("alone") / "out"
    write_dataset(generator, REQUEST, out)
    return snapshot(out)


@pytest.fixture
def made(nodes: Nodes, tiny_bundle: Path, tmp_path: Path) -> Made:
    """A function that makes the same pairs on the cluster; `meanwhile` is called with the workers."""

    def make(
        workers: int | None = None, meanwhile: Callable[[list[Opened]], None] | None = None
    ) -> tuple[dict[str, bytes], int]:
        job = Job(str(tiny_bundle), Bundle.read(tiny_bundle).fingerprint, "cpu", 1)
        crew = RayCrew(nodes.address, workers)
        with Pool(Bundle.read(tiny_bundle), crew, job) as pool:
            count = len(pool.start())
            reports = 0

            def progress(done: int, total: int) -> None:
                nonlocal reports
                reports += 1
                if meanwhile is not None and reports % 4 == 3:
                    meanwhile(crew.opened)

            write_dataset(pool, REQUEST, tmp_path / "out", progress)
        return snapshot(tmp_path / "out"), count

    return make


@pytest.mark.parametrize("workers", [1, 2])
def test_any_number_of_workers(made: Made, alone: dict[str, bytes], workers: int) -> None:
    assert made(workers) == (alone, workers)


def test_a_worker_is_killed_five_times(
    made: Made, alone: dict[str, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    killed: list[int] = []

    def kill(workers: list[Opened]) -> None:
        if workers and len(killed) < 5 and workers[0].process not in killed:
            killed.append(workers[0].process)
            os.kill(killed[-1], signal.SIGKILL)

    assert made(None, kill)[0] == alone
    assert len(killed) >= 2
    assert "its pairs are made again" in caplog.text


def test_the_command(nodes: Nodes, tiny_bundle: Path, tmp_path: Path, alone: dict[str, bytes]) -> None:
    words = ["generate", str(tiny_bundle), "--defect", "all", "--count", "20", "--seed", "3", "--batch", "2"]
    words += ["--threads", "1", "--ray", nodes.address, "--out", str(tmp_path / "out")]
    ended = subprocess.run(
        [sys.executable, "-m", "seas_export", *words], check=False, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    assert snapshot(tmp_path / "out") == alone


def test_products_are_built(nodes: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each by a process on a node; a stand-in for builds, as in the tests of `build --all`."""
    from seas_export.pipeline import everything
    from tests.export.test_build_everything import CHILD, add

    monkeypatch.setattr(everything, "_command", lambda: [sys.executable, "-c", CHILD])
    monkeypatch.chdir(tmp_path)
    add(tmp_path / "photos", "a", "broken", "z")
    ended = everything.build_everything(Path("photos"), Path("out"), {}, ray=nodes.address)
    assert {one.product: one.state for one in ended.outcomes} == {
        "a": "built",
        "broken": "failed",
        "z": "built",
    }
    assert "failed: training diverged" in (tmp_path / "out/broken.log").read_text()


def test_a_node_is_killed(nodes: Nodes, made: Made, alone: dict[str, bytes]) -> None:
    """The last of these tests: the head alone makes the rest.

    Whether Ray tells of the loss before the head has made again what the node dawdles over is a race.
    """
    killed: list[int] = []

    def kill(workers: list[Opened]) -> None:
        if not killed:
            killed.extend(nodes.kill_last())

    assert made(None, kill) == (alone, 2)
    assert killed

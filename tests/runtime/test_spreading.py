"""Pairs of many processes are those of one, to the byte, in its order."""

from __future__ import annotations

import dataclasses
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from seas_runtime.bundle.reading import Bundle
from seas_runtime.dataset.writing import DatasetRequest, write_dataset
from seas_runtime.errors import CheckFailed, UserError
from seas_runtime.generation.generator import Generator
from seas_runtime.methods.request import PairRequest, Placing
from seas_runtime.spreading import devices, processes
from seas_runtime.spreading.contract import Job, Opened, Task
from seas_runtime.spreading.devices import Device, find_devices
from seas_runtime.spreading.opening import open_source
from seas_runtime.spreading.pool import Pool, check_alike
from seas_runtime.spreading.processes import Processes
from seas_runtime.spreading.worker import Worker, versions
from tests.runtime.datasets import snapshot
from tests.runtime.interpreters import start_python
from tests.runtime.placing.photographs import write_photographs, write_placing_bundle

REQUEST = DatasetRequest(("all",), 40, seed=3, batch=3)
TWO = (Device("one", threads=1), Device("two", threads=1))


@pytest.fixture(scope="module")
def alone(generator: Generator, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of 40 pairs each of two defects and normals, made by this process."""
    out = tmp_path_factory.mktemp("alone") / "out"
    write_dataset(generator, REQUEST, out)
    return snapshot(out)


def job_of(bundle: Path) -> Job:
    return Job(str(bundle), Bundle.read(bundle).fingerprint, "cpu", 1)


@pytest.fixture(scope="module")
def pool(tiny_bundle: Path) -> Iterator[Pool]:
    """Two processes, whose start takes longer than their work."""
    with Pool(Bundle.read(tiny_bundle), Processes(TWO), job_of(tiny_bundle)) as pool:
        yield pool


def test_two_processes(pool: Pool, tmp_path: Path, alone: dict[str, bytes]) -> None:
    out = tmp_path / "out"
    opened = pool.start()
    assert len({one.process for one in opened} | {os.getpid()}) == 3
    write_dataset(pool, REQUEST, out)
    assert snapshot(out) == alone
    assert write_dataset(pool, dataclasses.replace(REQUEST, count=41), out).continued == 120


def test_what_one_process_began_two_continue(
    generator: Generator, pool: Pool, tmp_path: Path, alone: dict[str, bytes]
) -> None:
    out = tmp_path / "out"
    write_dataset(generator, dataclasses.replace(REQUEST, count=10), out)
    assert write_dataset(pool, REQUEST, out).continued == 30
    assert snapshot(out) == alone


def test_a_killed_process_is_replaced(
    tiny_bundle: Path, tmp_path: Path, alone: dict[str, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    reports: list[int] = []
    with Pool(Bundle.read(tiny_bundle), Processes(TWO), job_of(tiny_bundle)) as pool:
        killed, spared = (one.process for one in pool.start())

        def kill(done: int, total: int) -> None:
            reports.append(done)
            if len(reports) == 1:  # later it may have done all of its work
                os.kill(killed, signal.SIGKILL)

        write_dataset(pool, REQUEST, tmp_path / "out", kill)
    assert snapshot(tmp_path / "out") == alone
    assert caplog.text.count("another one takes its place") == 1
    with pytest.raises(ProcessLookupError):  # the end has ended it
        os.kill(spared, 0)


def test_too_many_deaths_are_given_up(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "MOST_DEATHS", 0)
    with Pool(Bundle.read(tiny_bundle), Processes(TWO[:1]), job_of(tiny_bundle)) as pool:
        first = pool.start()[0].process
        with pytest.raises(CheckFailed, match="the process of one ended, exit code -9"):
            write_dataset(pool, REQUEST, tmp_path / "out", lambda done, total: os.kill(first, signal.SIGKILL))


def test_placed_pairs_on_photographs_of_ones_own(tmp_path: Path) -> None:
    bundle = write_placing_bundle(tmp_path / "bundle")
    write_photographs(tmp_path / "photographs")
    request = DatasetRequest(("all",), 4, 3, 2, placing=Placing())
    generator = Generator.open(bundle, threads=1)
    generator.draw_onto(tmp_path / "photographs")
    write_dataset(generator, request, tmp_path / "one")
    with open_source(bundle, threads=1, devices="all") as (source, chosen):
        assert chosen is None
        source.draw_onto(tmp_path / "photographs")
        write_dataset(source, request, tmp_path / "other")
    assert snapshot(tmp_path / "one") == snapshot(tmp_path / "other")


def test_an_error_of_a_process_is_the_commands(tiny_bundle: Path, tmp_path: Path) -> None:
    other = Pool(
        Bundle.read(tiny_bundle),
        Processes(TWO[:1]),
        dataclasses.replace(job_of(tiny_bundle), fingerprint="0" * 64),
    )
    with other, pytest.raises(UserError, match="expected the bundle 000000000000, found"):
        write_dataset(other, REQUEST, tmp_path / "out")
    assert not (tmp_path / "out" / "dataset.json").exists()


def test_photographs_that_differ_are_refused(tmp_path: Path) -> None:
    bundle = write_placing_bundle(tmp_path / "bundle")
    write_photographs(tmp_path / "photographs")
    job = dataclasses.replace(job_of(bundle), onto=str(tmp_path / "photographs"), photographs="0" * 64)
    with pytest.raises(UserError, match="expected the same photographs"):
        Worker(job)


def test_devices_of_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(6)))
    monkeypatch.setattr(devices, "usable_cores", lambda: 6)
    assert find_devices("all", "cpu") == [Device("processor")]
    assert find_devices("cores:2", "openvino") == [
        Device("cores 0", cores=(0, 1, 2), threads=3),
        Device("cores 1", cores=(3, 4, 5), threads=3),
    ]
    for asked, words in (
        ("cores:7", "expected 1 to 6 groups"),
        ("cores:0", "expected 1 to 6 groups"),
        ("0,1", "backend cpu runs on the processor"),
        ("gpus", "expected all, GPUs such as 0,1,3"),
    ):
        with pytest.raises(UserError, match=words):
            find_devices(asked, "cpu")


def test_devices_that_are_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "count_cuda_devices", lambda: 3)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [device.gpu for device in find_devices("all", "tensorrt")] == ["0", "1", "2"]
    assert [device.gpu for device in find_devices("2,0", "rtx")] == ["2", "0"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,GPU-1b2c,6")
    assert [device.gpu for device in find_devices("1,2", "cuda")] == ["GPU-1b2c", "6"]
    for asked, words in (
        ("0,3", "found 3 GPUs, 0 to 2"),
        ("1,1", "each GPU once"),
        ("cores:2", "backend cuda runs on GPUs"),
    ):
        with pytest.raises(UserError, match=words):
            find_devices(asked, "cuda")
    monkeypatch.setattr(devices, "count_cuda_devices", lambda: 0)
    with pytest.raises(UserError, match="found none"):
        find_devices("all", "cuda")


def test_workers_that_would_make_other_pairs_are_refused() -> None:
    first = Opened({"backend": "cuda", "backend_device": "L4"}, "L4", "a", 1, versions(), None)
    check_alike([first, dataclasses.replace(first, host="b")], mixed=False)
    other = dataclasses.replace(first, host="b", versions={**versions(), "numpy": "1.0"})
    with pytest.raises(UserError, match=r"b: expected numpy .* as on a, found 1\.0"):
        check_alike([first, other], mixed=True)
    other = dataclasses.replace(first, backend={"backend": "cuda", "backend_device": "H200"}, host="b")
    with pytest.raises(UserError, match=r"expected backend device L4 as on a, found H200.*--mixed-devices"):
        check_alike([first, other], mixed=False)
    check_alike([first, other], mixed=True)


def test_records_say_which_device_where_they_are_mixed(tiny_bundle: Path) -> None:
    job = dataclasses.replace(job_of(tiny_bundle), mixed=True)
    worker = Worker(job)
    request = Generator.open(tiny_bundle, threads=1).request("good", 3)
    ((pair,),) = worker.make(Task([[PairRequest(request, 5)]], {}))
    assert pair.record.to_dict()["device"] == worker.opened.kind
    plain = Worker(job_of(tiny_bundle)).make(Task([[PairRequest(request, 5)]], {}))[0][0]
    assert "device" not in plain.record.to_dict()
    assert plain.files == pair.files


def test_no_process_outlives_its_parent(tiny_bundle: Path, tmp_path: Path) -> None:
    code = """
import os, sys, time
from pathlib import Path
from seas_runtime.spreading.opening import open_source
with open_source(Path(sys.argv[1]), threads=1, devices="all") as (source, _):
    print(source.start()[0].process, flush=True)
    time.sleep(60)
"""
    with start_python(code, str(tiny_bundle)) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        parent.kill()
    gone = threading.Event()
    for _ in range(100):
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            gone.set()
            break
        if Path(f"/proc/{child}/stat").exists() and " Z " in Path(f"/proc/{child}/stat").read_text():
            gone.set()  # dead, and nobody has waited for it
            break
        gone.wait(0.1)
    assert gone.is_set()

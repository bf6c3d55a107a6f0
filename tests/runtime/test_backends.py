from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from seas_runtime.backends import open_backend
from seas_runtime.backends.cores import container_quota, physical_cores, usable_cores
from seas_runtime.errors import CheckFailed, UserError


def test_a_missing_onnxruntime_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r"pip install seas-export\[runtime\]"):
        open_backend("cpu")


def test_signature_and_run(tiny_bundle: Path) -> None:
    backend = open_backend("cpu", threads=1)
    session = backend.load(tiny_bundle / "graphs/decode_image.onnx")
    assert [(spec.name, spec.dtype, spec.shape) for spec in session.inputs] == [
        ("latents", "float32", ("batch", 4, 6, 6))
    ]
    assert [spec.dtype for spec in session.outputs] == ["uint8"]
    values = session.run({"latents": backend.upload(np.zeros((2, 4, 6, 6), np.float32))}, ["image"])
    image = backend.download(values["image"])
    assert image.shape == (2, 48, 48, 3)
    assert (image == 128).all()  # 127.5 rounds half to even


def test_a_graph_that_fails_is_named(tiny_bundle: Path) -> None:
    session = open_backend("cpu", threads=1).load(tiny_bundle / "graphs/decode_image.onnx")
    with pytest.raises(CheckFailed, match=r"decode_image\.onnx: the graph failed to run"):
        session.run({"latents": np.zeros((1, 3, 6, 6), np.float32)}, ["image"])


def test_usable_cores_respects_affinity() -> None:
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)
    if hasattr(os, "sched_setaffinity"):
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {min(before)})
        try:
            assert usable_cores() == 1
        finally:
            os.sched_setaffinity(0, before)


def test_physical_cores_counts_hyperthreads_once(tmp_path: Path) -> None:
    processors = [
        f"processor\t: {cpu}\nphysical id\t: {cpu % 2}\ncore id\t\t: {cpu // 2 % 2}\n" for cpu in range(8)
    ]
    (tmp_path / "cpuinfo").write_text("\n".join(processors))
    assert physical_cores(tmp_path / "cpuinfo") == 4
    assert physical_cores(tmp_path / "nothing") == (os.cpu_count() or 1)


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "max 100000"}, None),
        ({"cpu.max": "150000 100000"}, 2),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ({"cpu/cpu.cfs_quota_us": "50000", "cpu/cpu.cfs_period_us": "100000"}, 1),
        ({"cpu.max": "nonsense"}, None),
        ({}, None),
    ],
)
def test_container_quota(tmp_path: Path, files: dict[str, str], cores: int | None) -> None:
    (tmp_path / "cpu").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert container_quota(tmp_path) == cores

"""The TensorRT backends on a GPU in host memory: whole loops, captures, memory, and wrong engines."""

from __future__ import annotations

import gc
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seas_runtime.bundle.reading import Bundle
from seas_runtime.engines.errors import (
    EngineDamaged,
    EngineForeign,
    EngineMissing,
    EngineStale,
    EngineWrongBatch,
)
from seas_runtime.errors import CheckFailed, UserError
from seas_runtime.generation.generator import Generator
from seas_runtime.generation.plan import Plan
from seas_runtime.generation.records import GeneratedPair
from tests.runtime.bundles import Toy, write_tiny_bundle
from tests.runtime.fake_gpu import DEVICE, FakeDriver, build_engines, fake_backend


def pairs(generator: Generator, count: int, batch: int = 4, **options: Any) -> list[GeneratedPair]:
    return list(generator.generate("stain", count, 3, batch=batch, **options))


def same(ours: list[GeneratedPair], theirs: list[GeneratedPair]) -> bool:
    return all(
        np.array_equal(one.image, other.image)
        and np.array_equal(one.mask, other.mask)
        and np.allclose(one.probability, other.probability, atol=1e-6)
        for one, other in zip(ours, theirs, strict=True)
    )


@pytest.fixture
def engines(own_bundle: Path) -> Path:
    build_engines(own_bundle, "rtx")
    build_engines(own_bundle, "tensorrt")
    return own_bundle


@pytest.fixture
def driver() -> FakeDriver:
    return FakeDriver()


@pytest.mark.parametrize("target", ["rtx", "tensorrt"])
@pytest.mark.parametrize("sampler", ["dpmpp_2m", "ddim_eta"])
def test_the_pairs_are_those_of_the_cpu(
    generator: Generator, engines: Path, driver: FakeDriver, target: str, sampler: str
) -> None:
    steps = 5 if sampler == "dpmpp_2m" else 4
    ours = Generator(Bundle.read(engines), fake_backend(target, driver))
    for _ in range(3):  # queued, captured, launched
        made = pairs(ours, 6, sampler=sampler, steps=steps)
        assert same(made, pairs(generator, 6, sampler=sampler, steps=steps))


def test_the_host_waits_once_a_batch_and_a_batch_is_three_launches(engines: Path, driver: FakeDriver) -> None:
    ours = Generator(Bundle.read(engines), fake_backend("rtx", driver))
    pairs(ours, 4, gate=False)
    pairs(ours, 4, gate=False)
    assert driver.captures == 3  # steps, masks, image
    before = driver.waits, driver.launches, driver.queued
    pairs(ours, 4, gate=False)
    assert driver.waits - before[0] == 1
    assert driver.launches - before[1] == 3
    assert driver.queued - before[2] == 1 + 3  # the start goes in; image, latents and probability come out


def test_masks_are_decoded_together_where_the_engine_takes_as_many(own_bundle: Path) -> None:
    runs = []
    for batch in ("1:4:12", "1:4:11"):
        build_engines(own_bundle, "rtx", batch, ["decode_mask"])
        build_engines(own_bundle, "rtx", "1:4:16", ["step", "decode_image"])
        driver = FakeDriver()
        pairs(Generator(Bundle.read(own_bundle), fake_backend("rtx", driver)), 4, gate=False)
        runs.append(driver.queued)
        for folder in (own_bundle / "engines").iterdir():
            if json.loads((folder / "index.json").read_text())["graph"] == "decode_mask":
                shutil.rmtree(folder)
    assert runs[1] - runs[0] == 2 + 2  # three decodes, and three copies of their maps, where it was one


def test_a_capture_that_fails_is_done_without(
    generator: Generator, engines: Path, driver: FakeDriver
) -> None:
    driver.refuses_capture = True
    ours = Generator(Bundle.read(engines), fake_backend("rtx", driver))
    for _ in range(3):
        assert same(pairs(ours, 4), pairs(generator, 4))
    assert driver.launches == 0


def test_memory_is_freed_with_the_plans(engines: Path, driver: FakeDriver) -> None:
    ours = Generator(Bundle.read(engines), fake_backend("rtx", driver))
    used = []
    for _ in range(3):
        for batch in range(1, 9):
            pairs(ours, batch, batch, gate=False)
        gc.collect()
        used.append(driver.free_memory())
    assert used[1] == used[2]


@pytest.mark.parametrize("share", [2, 3])
def test_where_memory_is_short_less_runs_at_once(
    share: int, generator: Generator, engines: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plenty = FakeDriver()
    whole = Generator(Bundle.read(engines), fake_backend("rtx", plenty))
    expected = pairs(whole, 4, gate=False)
    needed = plenty.memory - plenty.free_memory()
    assert same(expected, pairs(generator, 4, gate=False))
    tried = []
    make = Plan.__init__

    def watched(self: Plan, *args: Any) -> None:
        tried.append((len(args[-2].origins), args[-1]))
        make(self, *args)

    monkeypatch.setattr(Plan, "__init__", watched)
    ours = Generator(Bundle.read(engines), fake_backend("rtx", FakeDriver(needed // share)))
    assert same(pairs(ours, 4, gate=False), expected)
    assert tried == [(4, True), (4, False), (2, False), (1, False)][: len(tried)]
    assert len(tried) > 2
    tried.clear()
    assert same(pairs(ours, 4, gate=False), expected)
    assert not tried  # what did not fit is not tried again
    scarce = Generator(Bundle.read(engines), fake_backend("rtx", FakeDriver(needed // 64)))
    with pytest.raises(CheckFailed, match="out of memory"):
        pairs(scarce, 4, gate=False)
    assert tried[-1] == (1, False)


def test_memory_that_runs_out_is_tried_once_more_and_named(engines: Path, driver: FakeDriver) -> None:
    backend = fake_backend("rtx", driver)
    ours = Generator(Bundle.read(engines), backend)
    backend.trt.run_error = "Error Code 2: OutOfMemory (requested size was 7)"
    with pytest.raises(CheckFailed, match=r"engine\.bin: the engine failed to run: out of memory.*--batch"):
        pairs(ours, 4)
    backend.trt.run_error = ""
    assert len(pairs(ours, 4)) == 4  # the next request finds it working


def test_a_run_that_fails_names_engine_and_reason(engines: Path, driver: FakeDriver) -> None:
    backend = fake_backend("tensorrt", driver)
    ours = Generator(Bundle.read(engines), backend)
    backend.trt.run_error = "Error Code 1: Myelin"
    with pytest.raises(CheckFailed, match=r"engine\.bin: the engine failed to run: Error Code 1: Myelin"):
        pairs(ours, 1)


def test_a_device_that_fails_gives_no_pair(engines: Path, driver: FakeDriver) -> None:
    ours = Generator(Bundle.read(engines), fake_backend("rtx", driver))
    driver.broken = CheckFailed("GPU: cudaStreamSynchronize failed: cudaErrorIllegalAddress")
    with pytest.raises(CheckFailed, match="IllegalAddress"):
        pairs(ours, 1)


def test_compiled_kernels_are_kept_beside_the_engine(engines: Path, driver: FakeDriver) -> None:
    pairs(Generator(Bundle.read(engines), fake_backend("rtx", driver)), 2)
    kept = list((engines / "engines").glob("*/runtime.cache"))
    assert len(kept) == 3
    second = fake_backend("rtx")
    pairs(Generator(Bundle.read(engines), second), 2)
    assert second.trt.caches_read == [b"kernels"] * 3
    kept[0].write_bytes(b"another's")
    third = fake_backend("rtx")
    pairs(Generator(Bundle.read(engines), third), 2)
    assert third.trt.caches_read == [b"kernels"] * 2  # what nobody recorded is not read


def test_engines_without_a_place_for_kernels_still_run(
    engines: Path, driver: FakeDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    from seas_runtime.engines.errors import EngineStoreUnwritable
    from seas_runtime.engines.store import EngineStore

    def refuse(*_: Any) -> None:
        raise EngineStoreUnwritable("read-only")

    monkeypatch.setattr(EngineStore, "save_companion", refuse)
    assert len(pairs(Generator(Bundle.read(engines), fake_backend("rtx", driver)), 2)) == 2


def test_no_engine_names_the_command(own_bundle: Path) -> None:
    with pytest.raises(EngineMissing, match=r"seas-export engine .* --target rtx"):
        Generator(Bundle.read(own_bundle), fake_backend("rtx"))


def test_an_engine_of_another_device_or_version_is_not_loaded(own_bundle: Path) -> None:
    build_engines(own_bundle, "rtx", device=replace(DEVICE, compute_capability="8.9"))
    with pytest.raises(EngineForeign, match=r"8\.9, this device is 8\.6"):
        Generator(Bundle.read(own_bundle), fake_backend("rtx"))
    build_engines(own_bundle, "rtx", version="1.0")
    with pytest.raises(EngineStale, match=r"version 1\.0"):
        Generator(Bundle.read(own_bundle), fake_backend("rtx"))


def test_an_engine_of_another_bundle_is_not_loaded(own_bundle: Path, tmp_path: Path) -> None:
    other = write_tiny_bundle(tmp_path / "other", Toy(gain=2.0, noise_input=False))
    build_engines(other, "rtx")
    (other / "engines").rename(own_bundle / "engines")
    backend = fake_backend("rtx")
    with pytest.raises(EngineStale, match="another graph"):
        pairs(Generator(Bundle.read(own_bundle), backend), 1)
    assert backend.trt.loaded == 0


@pytest.mark.parametrize("spoil", ["truncate", "flip"])
def test_a_damaged_engine_is_never_deserialized(engines: Path, spoil: str) -> None:
    for file in (engines / "engines").glob("*/engine.bin"):
        data = bytearray(file.read_bytes())
        if spoil == "flip":
            data[len(data) // 2] ^= 1
        file.write_bytes(data[:-1] if spoil == "truncate" else data)
    backend = fake_backend("rtx")
    with pytest.raises(EngineDamaged):
        pairs(Generator(Bundle.read(engines), backend), 1)
    assert backend.trt.loaded == 0


def test_an_engine_that_the_library_refuses_names_reason_and_command(engines: Path) -> None:
    backend = fake_backend("rtx")
    backend.trt.load_error = "Serialization assertion plan.header.size == blobSize failed"
    with pytest.raises(UserError, match=r"cannot load the engine: Serialization.*seas-export engine"):
        pairs(Generator(Bundle.read(engines), backend), 1)


def test_a_batch_that_no_engine_takes(engines: Path, own_bundle: Path) -> None:
    ours = Generator(Bundle.read(engines), fake_backend("rtx"))
    with pytest.raises(EngineWrongBatch, match="1 to 16, not of 17"):
        pairs(ours, 17, 17)


def test_each_batch_runs_on_the_engine_built_for_it(generator: Generator, engines: Path) -> None:
    build_engines(engines, "rtx", "2")
    backend = fake_backend("rtx")
    ours = Generator(Bundle.read(engines), backend)
    assert same(pairs(ours, 2, 2, gate=False), pairs(generator, 2, 2, gate=False))
    assert same(pairs(ours, 3, 3, gate=False), pairs(generator, 3, 3, gate=False))
    # step and image for 2 and for 3 each; three masks of 2 or of 3 together need the wide engine alone
    assert backend.trt.loaded == 5

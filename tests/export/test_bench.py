"""What bench measures, on a tiny bundle."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

import seas_export.machine.bench as measuring
from seas_export.report.content import parts_of
from seas_runtime.errors import CheckFailed
from seas_runtime.generation.generator import Generator
from tests.export.commands import Run
from tests.runtime.bundles import Toy, write_tiny_bundle


def test_every_batch_size_is_measured(run: Run, toy_bundle: Path, tmp_path: Path) -> None:
    ended = run(
        "bench", toy_bundle, "--batches", "4,1", "--pairs", 6, "--threads", 1, "--out", tmp_path, "--json"
    )
    assert ended.code == 0
    result = ended.json
    assert [(entry["batch"], entry["pairs"]) for entry in result["batches"]] == [(1, 6), (4, 8)]
    for entry in result["batches"]:
        assert entry["pairs_per_second"] == pytest.approx(entry["pairs"] / entry["seconds"])
        assert sum(entry["share"].values()) == pytest.approx(1)
        assert set(entry["share"]) == {"step", "decode_mask", "decode_image", "rest"}
    assert len(result["latencies"]) == 6
    assert result["latency_median"] <= result["latency_p95"] <= max(result["latencies"])
    assert result["peak_memory"] > 2**20
    assert json.loads((tmp_path / "bench.json").read_text())["defect"] == "broken_large"


def test_pairs_in_a_background_are_measured_where_the_bundle_makes_them(
    run: Run, toy_bundle: Path, tmp_path: Path
) -> None:
    assert measuring.bench(toy_bundle, batches=(1,), pairs=2, threads=1).placed is None
    bundle = write_tiny_bundle(tmp_path / "bundle", Toy(blend="fixed"))
    ended = run("bench", bundle, "--batches", "1", "--pairs", 6, "--threads", 1, "--json")
    placed = ended.json["placed"]
    assert (placed["batch"], placed["pairs"]) == (1, 4)
    assert set(placed["share"]) == {"encode_image", "step", "decode_mask", "decode_image", "rest"}
    assert placed["parts"]["encode_image"] > 0
    assert sum(placed["share"].values()) == pytest.approx(1)
    said = run("bench", bundle, "--batches", "1", "--pairs", 1, "--threads", 1).out
    assert "encode_image" in said
    assert "1, placed" in said


def test_latency_is_of_one_pair_even_if_that_size_was_not_asked_for(toy_bundle: Path) -> None:
    result = measuring.bench(toy_bundle, batches=(2,), pairs=2, threads=1)
    assert [entry.batch for entry in result.batches] == [2]
    assert len(result.latencies) == 2


def test_what_was_measured_is_kept_where_a_larger_batch_fails(
    run: Run, toy_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = Generator.generate

    def short_of_memory(self: Generator, *args: Any, batch: int = 1, **options: Any) -> Any:
        if batch > 2:
            raise CheckFailed("GPU: out of memory; use a smaller --batch")
        return make(self, *args, batch=batch, **options)

    monkeypatch.setattr(Generator, "generate", short_of_memory)
    ended = run("bench", toy_bundle, "--batches", "1,2,4,8", "--pairs", 2, "--out", tmp_path, "--json")
    assert ended.code == 1
    assert "batch 4: GPU: out of memory; use a smaller --batch" in ended.err
    result = json.loads((tmp_path / "bench.json").read_text())
    assert [entry["batch"] for entry in result["batches"]] == [1, 2]
    assert result["failed"] == [4, "GPU: out of memory; use a smaller --batch"]
    assert ended.json["batches"] == result["batches"]
    ended = run("bench", toy_bundle, "--batches", "4", "--pairs", 2, "--json")
    assert ended.code == 1
    assert not ended.out


def test_the_plot_is_a_drawing(toy_bundle: Path, tmp_path: Path) -> None:
    result = measuring.bench(toy_bundle, batches=(1, 2), pairs=2, threads=1)
    _, drawing = measuring.write_bench(result, tmp_path)
    assert drawing.name == "bench.svg"
    texts = [node.text for node in ET.parse(drawing).iter("{http://www.w3.org/2000/svg}text")]
    assert any("decode_mask" in (text or "") for text in texts)


def test_parts_and_the_rest_make_the_whole() -> None:
    times = [
        {"step": 0.5, "decode_mask": 0.2, "decode_image": 0.1, "total": 1.0},
        {"step": 0.7, "decode_mask": 0.2, "decode_image": 0.1, "total": 1.2},
    ]
    parts = parts_of(times)
    assert parts["step"] == pytest.approx(0.6)
    assert parts["rest"] == pytest.approx(0.2)
    assert sum(parts.values()) == pytest.approx(1.1)

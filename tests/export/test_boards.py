"""Calculated latencies: operations over published rates, and said to be so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from boards import BOARDS, PairOperations, calculated_latencies

RESULT = Path(__file__).parents[2] / "benchmarks/results/boards.json"


def test_a_pair_is_its_steps_masks_and_image() -> None:
    operations = PairOperations(step=2.0, decode_mask=5.0, decode_image=7.0, steps=10, mask_steps=3)
    assert operations.total == 42.0
    found = calculated_latencies(operations)
    assert [entry["name"] for entry in found] == [board.name for board in BOARDS]
    for entry, board in zip(found, BOARDS, strict=True):
        assert entry["seconds_per_pair"] == pytest.approx(42.0 / board.flops)
        assert entry["calculated"] is True
        assert entry["source"]


def test_the_written_result_is_what_the_code_calculates() -> None:
    result = json.loads(RESULT.read_text())
    values = {
        key: value for key, value in result["operations"].items() if key in PairOperations.__annotations__
    }
    operations = PairOperations(**values)
    assert result["boards"] == calculated_latencies(operations)
    assert result["operations"]["total"] == operations.total
    assert result["what"].startswith("calculated, not measured")


def test_the_documentation_says_the_same_and_says_that_it_is_calculated() -> None:
    page = (RESULT.parents[2] / "docs/sd14.md").read_text(encoding="utf-8")
    for entry in json.loads(RESULT.read_text())["boards"]:
        row = next(line for line in page.splitlines() if line.startswith(f"| {entry['name']} |"))
        assert f"{entry['flops'] / 1e12:.1f} TFLOP/s | {entry['seconds_per_pair']:.3f} s or more" in row
        assert entry["source"] in row
    assert "| board | published, dense float16 | calculated, a pair | source |" in page

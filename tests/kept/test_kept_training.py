"""Both stages lose what they lost: ten steps of each, on the sample product."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

from tests.kept import evidence


def test_losses_are_what_they_were(tmp_path: Path) -> None:
    from tests.kept.training import losses

    expected = evidence.read("expected_training.json")
    if evidence.versions(*expected["versions"]) != expected["versions"]:
        pytest.skip(f"the kept losses are of {expected['versions']}")
    tolerance = 1e-6 if evidence.processor() == expected["processor"] else 1e-2  # some compute in bfloat16
    found = losses(tmp_path)
    assert found.keys() == expected["losses"].keys()
    for stage, lines in expected["losses"].items():
        assert len(found[stage]) == len(lines) == 10
        for now, then in zip(found[stage], lines, strict=True):
            assert now == pytest.approx(then, rel=tolerance), f"{stage}, step {then['step']}"

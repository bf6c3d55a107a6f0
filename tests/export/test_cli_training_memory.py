"""`train --dry-run`, `--memory` and `--lora` as a person types them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bases import write_tiny_base
from tests.export.commands import Run


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_base(tmp_path_factory.mktemp("bases") / "tiny")


def test_dry_run_says_what_training_takes_and_writes_nothing(
    run: Run, toy_product: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    whole = run("train", toy_product, "--base", base, "--dry-run", "--json").json
    assert whole["host_bytes"] == sum(whole["host_parts"].values())
    assert whole["seconds"] == pytest.approx(
        whole["steps"] * whole["flops_per_step"] / whole["flops_per_second"]
    )
    assert whole["fits"] is True
    low = run("train", toy_product, "--base", base, "--dry-run", "--memory", "low", "--json").json
    assert low["precision"] == "bf16"
    assert low["trained_parameters"] < whole["trained_parameters"] / 5
    assert low["host_bytes"] < whole["host_bytes"]
    words = ("--set", "finetune.steps=7", "--lora", 3)
    said = run("train", toy_product, "--base", base, "--dry-run", *words).out
    assert "7 steps in fp32" in said
    assert "time, calculated" in said
    assert list(tmp_path.iterdir()) == []


def test_what_does_not_fit_is_said() -> None:
    from seas_export.pipeline.training.estimate import TrainingEstimate

    found = TrainingEstimate(
        product="a",
        base="b",
        device="card",
        precision="fp32",
        steps=10,
        trained_parameters=5,
        device_parts={"weights": 9 * 2**30},
        host_parts={"the base": 2**30},
        device_memory=8 * 2**30,
        host_memory=2 * 2**30,
        flops_per_step=2e12,
        flops_per_second=1e12,
        eight_bit=False,
    )
    assert found.fits is False
    assert found.seconds == 20
    assert "--memory low" in found.to_text()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--memory", "tiny"), "--memory: expected low | medium | high"),
        (("--lora", 0), "--lora: expected a rank"),
        ((), "--out: expected the checkpoint's folder"),
    ],
    ids=str,
)
def test_mistakes(run: Run, toy_product: Path, words: tuple[object, ...], said: str) -> None:
    dry = ("--dry-run",) if words else ()
    ended = run("train", toy_product, *dry, *words)
    assert ended.code == 2
    assert said in ended.err

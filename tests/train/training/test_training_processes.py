"""Several processes share a step's batches and end with the losses and weights of one."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from seas_runtime.errors import UserError
from seas_runtime.packages import child_environment
from seas_train.training import loop
from seas_train.training.loop import run_training
from seas_train.training.stage import LoopConfig
from seas_train.training.state import State, last_state, read_state
from tests.products import write_tiny_product
from tests.train.training.shared_steps import STEPS, stage, train

ROOT = Path(__file__).parents[3]


def launch(world: int, *words: Path) -> None:
    """Train in processes that find each other as under `accelerate launch`, over gloo."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "tests.train.training.shared_steps", *map(str, words)]
    processes = []
    for rank in range(world):
        extra = {
            "ACCELERATE_USE_CPU": "true",
            "OMP_NUM_THREADS": "1",
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(world),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
        }
        environ = {**child_environment(), **extra}
        processes.append(subprocess.Popen(command, env=environ, cwd=ROOT, stderr=subprocess.PIPE, text=True))
    for process in processes:
        _, err = process.communicate()
        assert process.returncode == 0, err[-3000:]


def losses(run: Path) -> list[dict[str, float]]:
    lines = (run / "finetune/losses.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def state(run: Path) -> State:
    path = last_state(run / "finetune")
    assert path is not None
    return read_state(path)


@pytest.mark.slow
def test_two_processes_give_the_losses_of_one(tiny_base_path: Path, tmp_path: Path) -> None:
    product = write_tiny_product(tmp_path / "plate")
    train(tiny_base_path, product, tmp_path / "one")
    launch(2, tiny_base_path, product, tmp_path / "two")
    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert len(one) == len(two) == STEPS
    for single, shared in zip(one, two, strict=True):
        for name in ("loss", "noise_defect", "noise_normal", "alignment"):
            assert shared[name] == pytest.approx(single[name], rel=1e-5, abs=1e-6), name
    weights, others = state(tmp_path / "one").weights, state(tmp_path / "two").weights
    assert weights.keys() == others.keys()
    for name, tensor in weights.items():
        torch.testing.assert_close(others[name], tensor, rtol=1e-3, atol=1e-5)


def test_batches_that_cannot_be_shared_are_refused(
    tiny_base_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "make_accelerator", lambda precision: SimpleNamespace(num_processes=2))
    three = stage(tiny_base_path, write_tiny_product(tmp_path / "plate"), 3)
    with pytest.raises(UserError, match="expected a multiple of the 2 processes"):
        run_training(three, tmp_path / "run", LoopConfig(), progress=False)
    assert not (tmp_path / "run").exists()

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from seas_runtime.errors import CheckFailed, UserError
from seas_train.training import state as state_module
from seas_train.training.loop import run_training
from seas_train.training.optimizer import OptimizerConfig
from seas_train.training.stage import LoopConfig
from seas_train.training.state import last_state, read_state, trained_tensors
from tests.train.training.toy_stage import Killed, Toy

CONFIG = LoopConfig(seed=3, save_every=2)


def run(toy: Toy, folder: Path, config: LoopConfig = CONFIG, *, resume: bool = False) -> dict[str, Tensor]:
    """The toy's final tensors."""
    run_training(toy, folder, config, resume=resume, progress=False)
    return {name: tensor.clone() for name, tensor in toy.module.state_dict().items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def records(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "toy" / "losses.jsonl").read_text().splitlines()]


def test_a_seed_makes_a_run_repeatable(tmp_path: Path) -> None:
    first = run(Toy(), tmp_path / "first")
    torch.manual_seed(99)  # what others draw does not matter
    assert same(run(Toy(), tmp_path / "second"), first)
    assert not same(run(Toy(), tmp_path / "third", LoopConfig(seed=4)), first)


@pytest.mark.parametrize("step", range(1, 8))
def test_resumed_is_unbroken_wherever_it_was_interrupted(tmp_path: Path, step: int) -> None:
    unbroken = run(Toy(), tmp_path / "unbroken")
    with pytest.raises(Killed):
        run(Toy(die_at=step), tmp_path / "broken")
    again = Toy()
    assert same(run(again, tmp_path / "broken", resume=True), unbroken)
    assert again.drawn == 7 - (step - 1) // 2 * 2, "at most save_every steps are done again"
    assert records(tmp_path / "broken") == records(tmp_path / "unbroken")


def test_a_killed_process_is_resumed(tmp_path: Path) -> None:
    unbroken = run(Toy(), tmp_path / "unbroken", LoopConfig(save_every=2))
    paths = [str(Path(entry).resolve()) for entry in sys.path if entry]
    done = subprocess.run(
        [sys.executable, "-m", "tests.train.training.toy_stage", str(tmp_path / "broken"), "6"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    assert same(run(Toy(), tmp_path / "broken", LoopConfig(save_every=2), resume=True), unbroken)


def test_killed_while_saving_the_last_state_is_still_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unbroken = run(Toy(), tmp_path / "unbroken")
    real, calls = state_module.save_file, 0

    def dying(*args: object) -> None:
        nonlocal calls
        calls += 1
        if calls == 5:  # the second state's second file
            raise Killed
        real(*args)

    monkeypatch.setattr(state_module, "save_file", dying)
    with pytest.raises(Killed):
        run(Toy(), tmp_path / "broken")
    monkeypatch.undo()
    found = last_state(tmp_path / "broken" / "toy")
    assert found is not None
    assert read_state(found).step == 2
    assert same(run(Toy(), tmp_path / "broken", resume=True), unbroken)


def test_a_finished_run_is_loaded_not_repeated(tmp_path: Path) -> None:
    first = Toy()
    weights = run(first, tmp_path)
    again = Toy()
    losses = run_training(again, tmp_path, CONFIG, resume=True, progress=False)
    assert again.drawn == again.prepared == 0
    assert same(dict(again.module.state_dict()), weights)
    assert losses["loss"] == pytest.approx(sum(r["loss"] for r in records(tmp_path)) / 7)
    assert not again.module.training


def test_only_one_state_is_kept(tmp_path: Path) -> None:
    run(Toy(), tmp_path)
    assert [path.name for path in (tmp_path / "toy").glob("*state*")] == ["state-000007"]


def test_without_resume_a_run_starts_again(tmp_path: Path) -> None:
    run(Toy(width=4), tmp_path)
    again = Toy()
    run(again, tmp_path)
    assert again.drawn == 7
    assert len(records(tmp_path)) == 7


@pytest.mark.parametrize(
    ("toy", "config", "named"),
    [
        (Toy(width=4), CONFIG, "config.width: now 4, then 3"),
        (Toy(steps=9), CONFIG, "steps: now 9, then 7"),
        (Toy(), LoopConfig(seed=4, save_every=2), "seed: now 4, then 3"),
    ],
)
def test_another_run_is_not_continued(tmp_path: Path, toy: Toy, config: LoopConfig, named: str) -> None:
    with pytest.raises(Killed):
        run(Toy(die_at=4), tmp_path)
    with pytest.raises(UserError, match=named):
        run(toy, tmp_path, config, resume=True)
    assert last_state(tmp_path / "toy") is not None, "nothing of the run was touched"


def test_how_often_is_saved_may_change(tmp_path: Path) -> None:
    unbroken = run(Toy(), tmp_path / "unbroken")
    with pytest.raises(Killed):
        run(Toy(die_at=4), tmp_path / "broken")
    often = LoopConfig(seed=3, save_every=1, preview_every=1)
    assert same(run(Toy(), tmp_path / "broken", often, resume=True), unbroken)


def test_a_loss_that_is_not_finite_names_step_and_photographs(tmp_path: Path) -> None:
    with pytest.raises(CheckFailed) as caught:
        run(Toy(broken_at=5), tmp_path)
    for part in ("toy", "step 5", "photo5.png", "other.png", "loss nan"):
        assert part in str(caught.value)
    found = last_state(tmp_path / "toy")
    assert found is not None
    assert read_state(found).step == 4


def test_a_broken_state_is_a_clear_error(tmp_path: Path) -> None:
    run(Toy(), tmp_path)
    found = last_state(tmp_path / "toy")
    assert found is not None
    weights = found / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(UserError, match="training state is broken"):
        run(Toy(), tmp_path, resume=True)


def test_previews_are_of_the_averaged_weights_and_change_nothing(tmp_path: Path) -> None:
    from PIL import Image

    plain = run(Toy(), tmp_path / "plain")
    shown = run(Toy(), tmp_path / "shown", LoopConfig(seed=3, save_every=2, preview_every=3))
    assert same(plain, shown)
    sheets = sorted((tmp_path / "shown" / "toy" / "previews").iterdir())
    assert [sheet.name for sheet in sheets] == ["000003.png", "000006.png", "000007.png"]
    final = int(shown["0.weight"].abs().sum().item() % 256)
    assert Image.open(sheets[-1]).getpixel((0, 0)) == (final, final, final)


def test_a_run_ends_with_the_moving_average_of_its_weights(tmp_path: Path) -> None:
    """Brought up to date after the fifth step and the seventh, the last; from the first weights on."""
    plain = OptimizerConfig(ema=0, warmup_steps=2)
    first, *after = [trained_tensors(Toy().module)] + [
        run(Toy(steps=steps, optimizer=plain), tmp_path / str(steps)) for steps in (5, 7)
    ]
    average = {name: tensor.clone() for name, tensor in first.items()}
    for weights, step, steps in zip(after, (5, 7), (5, 2), strict=True):
        decay = min(0.5, step / (step + 10)) ** steps
        for name, tensor in average.items():
            if tensor.is_floating_point():
                average[name] = decay * tensor + (1 - decay) * weights[name]
    found = run(Toy(), tmp_path / "averaged")
    for name, tensor in average.items():
        if tensor.is_floating_point():
            assert torch.allclose(found[name], tensor, atol=1e-6), name
            assert not torch.allclose(found[name], after[-1][name], atol=1e-6), name


def test_losses_are_in_tensorboard(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run(Toy(), tmp_path)
    events = EventAccumulator(str(tmp_path / "toy" / "tensorboard")).Reload()
    scalars = events.Scalars("toy/twice")
    assert [scalar.step for scalar in scalars] == list(range(1, 8))
    assert scalars[0].value == pytest.approx(records(tmp_path)[0]["twice"])


def test_accumulated_batches_are_one_step(tmp_path: Path) -> None:
    toy = Toy(steps=2, optimizer=OptimizerConfig(gradient_accumulation=3))
    run(toy, tmp_path)
    assert toy.drawn == 6
    assert len(records(tmp_path)) == 2


def test_what_is_frozen_is_no_state() -> None:
    names = set(trained_tensors(Toy().module))
    assert names == {"0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var",
                     "1.num_batches_tracked", "3.weight"}  # fmt: skip

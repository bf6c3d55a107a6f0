"""The training loop: a killed run ends where an uninterrupted one does, and the rate follows the budget."""

from pathlib import Path

import pytest
import torch

from seas_train.bases.micro.training.loop import Budget, Optimisation, Trainer


def _trainer(folder: Path, steps: int) -> tuple[Trainer, torch.nn.Linear]:
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 4)
    settings = Optimisation(learning_rate=1e-2, warmup_steps=3, save_every_minutes=1e9, seed=5)
    return Trainer({"model": model}, folder, settings, Budget(steps=steps)), model


def _run(trainer: Trainer, model: torch.nn.Linear, die_at: int | None = None) -> None:
    def loss(step: int, progress: float, generator: torch.Generator) -> torch.Tensor:
        if step == die_at:
            raise KeyboardInterrupt
        data = torch.randn(8, 4, generator=generator)
        return (model(data) - data.flip(1)).square().mean()

    trainer.train(loss)


def test_a_killed_run_ends_with_the_same_weights(tmp_path: Path) -> None:
    whole, model = _trainer(tmp_path / "whole", 30)
    _run(whole, model)

    killed, killed_model = _trainer(tmp_path / "killed", 30)
    with pytest.raises(KeyboardInterrupt):
        _run(killed, killed_model, die_at=12)
    killed.save()
    with pytest.raises(KeyboardInterrupt):
        _run(*_trainer(tmp_path / "killed", 30), die_at=17)  # dies unsaved: these steps are taken again
    resumed, resumed_model = _trainer(tmp_path / "killed", 30)
    assert resumed.step == 12
    _run(resumed, resumed_model)

    assert resumed.step == whole.step == 30
    assert torch.equal(resumed_model.weight, model.weight)
    for mine, theirs in zip(resumed.average, whole.average, strict=True):
        assert torch.equal(mine, theirs)
    assert (tmp_path / "killed" / "log.json").exists()


def test_training_lowers_the_loss_and_the_average_is_used_only_for_a_while(tmp_path: Path) -> None:
    trainer, model = _trainer(tmp_path, 300)
    _run(trainer, model)
    assert trainer.losses[-1][2] < 0.5 * trainer.losses[0][2]
    trained, seen = model.weight.detach().clone(), []
    trainer.with_average(lambda: seen.append(model.weight.detach().clone()))
    assert torch.equal(seen[0], trainer.average[0])
    assert not torch.equal(seen[0], trained)
    assert torch.equal(model.weight, trained)


def test_rate_warms_up_holds_and_falls_to_nothing() -> None:
    settings = Optimisation(learning_rate=1.0, warmup_steps=10, decay_share=0.5)
    assert settings.rate(0, 0.0) == pytest.approx(0.1)
    assert settings.rate(100, 0.3) == 1.0
    assert settings.rate(100, 0.75) == pytest.approx(0.5)
    assert settings.rate(100, 1.0) == pytest.approx(0.0)


def test_a_budget_is_either_minutes_or_steps() -> None:
    for wrong in (lambda: Budget(), lambda: Budget(1.0, 1)):
        with pytest.raises(ValueError, match="either"):
            wrong()
    assert Budget(minutes=2).progress(1, 999) == 0.5
    assert Budget(steps=10).progress(999, 20) == 1.0

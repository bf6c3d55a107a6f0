"""From encoded scenes to a base that loads, at the smallest size."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel

from seas_runtime.errors import UserError
from seas_train.bases.micro.tokens import LENGTH, build_tokenizer
from seas_train.bases.micro.training import cache, denoiser
from seas_train.bases.micro.training.autoencoder import new_autoencoder
from seas_train.bases.micro.training.denoiser import (
    DenoiserSettings,
    denoising_loss,
    encode_part,
    load_latents,
    require_latents,
    tokenise,
    train_denoiser,
)
from seas_train.bases.micro.training.loop import Budget, Optimisation

# Saves after every step.
SETTINGS = DenoiserSettings(
    scenes=4, large_scenes=2, small_batch=2, large_batch=1, optimisation=Optimisation(save_every_minutes=0)
)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("work")
    torch.manual_seed(0)
    new_autoencoder().save_pretrained(folder / "vae")
    cache.scenes(folder / "world", SETTINGS.seed, SETTINGS.scenes)
    encode_part(folder, SETTINGS, parts=1)
    return folder


def test_scenes_are_rendered_once_and_encoded_at_both_sizes(work: Path) -> None:
    images, captions = cache.scenes(work / "world", SETTINGS.seed, SETTINGS.scenes)
    assert images.shape == (4, 256, 256, 3)
    assert len(captions) == 4
    latents = load_latents(work, SETTINGS, parts=1)
    assert latents.small.shape == (4, 4, 16, 16)
    assert latents.large.shape == (2, 4, 32, 32)
    assert np.isfinite(latents.large).all()


@pytest.mark.slow
def test_a_killed_training_ends_with_the_same_base(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(name: str, die_at: int | None = None) -> dict[str, torch.Tensor]:
        run, calls = tmp_path / name, 0
        run.mkdir(exist_ok=True)
        for part in ("vae", "world", "latents"):
            if not (run / part).exists():
                (run / part).symlink_to(work / part)

        def dying_loss(*arguments: Any) -> torch.Tensor:
            nonlocal calls
            calls += 1
            if calls == die_at:
                raise KeyboardInterrupt
            return denoising_loss(*arguments)

        monkeypatch.setattr(denoiser, "denoising_loss", dying_loss)
        train_denoiser(run, Budget(steps=2), SETTINGS, 1, run / "base")
        state: dict[str, torch.Tensor] = UNet2DConditionModel.from_pretrained(
            run / "base" / "unet"
        ).state_dict()
        return state

    whole = train("whole")
    with pytest.raises(KeyboardInterrupt):
        train("killed", die_at=2)
    resumed = train("killed")
    assert all(torch.equal(resumed[name], whole[name]) for name in whole)


def test_captions_become_ids_of_one_length(tmp_path: Path) -> None:
    tokenizer = build_tokenizer(["a round lid"], tmp_path)
    tokens = tokenise(tokenizer, ["a lid", ""])
    assert tokens.shape == (2, LENGTH)
    assert tokens.dtype == torch.int64


def test_missing_latents_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run `encode`"):
        require_latents(tmp_path, SETTINGS, parts=1)


def test_times_cover_the_schedule_and_lean_to_noise() -> None:
    times = denoiser._random_times(20_000, 1000, torch.Generator().manual_seed(0))
    assert times.min() == 0
    assert times.max() == 999
    assert 0.67 < (times >= 500).float().mean() < 0.73  # 0.4 + 0.6 / 2

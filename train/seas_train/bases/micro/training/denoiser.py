"""Trains `micro`'s U-Net and text encoder together on the latents of the rendered world.

The first part of the budget goes to half-size scenes (16x16 latents, where a step costs a quarter), the rest
to full size.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from numpy.typing import NDArray
from transformers import CLIPTextModel, CLIPTokenizer

from seas_runtime.errors import UserError
from seas_train.bases.micro.assemble import assemble, new_scheduler, new_text_encoder, new_unet
from seas_train.bases.micro.tokens import LENGTH, build_tokenizer
from seas_train.bases.micro.training import cache
from seas_train.bases.micro.training.autoencoder import half_size, to_tensor
from seas_train.bases.micro.training.loop import Budget, Optimisation, Trainer
from seas_train.bases.micro.training.workers import barrier, rank

logger = logging.getLogger(__name__)

_ENCODE_BATCH = 8
_NOISY_SHARE = 0.4  # of the times are drawn from the noisier half, the others from all


@dataclass(frozen=True)
class DenoiserSettings:
    """Options of the denoiser's training. Batches are per worker."""

    scenes: int = 9000
    large_scenes: int = 9000  # so many are encoded at full size too, which costs four times as much
    round_share: float = 0.6  # of each full-size batch is round parts: its first use is a centred part
    small_batch: int = 10
    large_batch: int = 4
    small_share: float = 0.35
    caption_dropout: float = 0.1  # so that the model can also be run without a caption, for guidance
    seed: int = 0
    optimisation: Optimisation = field(
        default_factory=lambda: Optimisation(learning_rate=8e-4, warmup_steps=300, decay_share=0.35)
    )


@dataclass(frozen=True)
class Latents:
    """Scaled latents of the first scenes, float16: `small` `[N, 4, 16, 16]`, `large` `[M, 4, 32, 32]`."""

    small: NDArray[np.float16]
    large: NDArray[np.float16]


def encode_part(work: Path, settings: DenoiserSettings, parts: int) -> None:
    """Encode this worker's share of the scenes with `work/vae`, unless it is there already."""
    vae = AutoencoderKL.from_pretrained(work / "vae").to(memory_format=torch.channels_last).eval()
    images, _ = cache.scenes(work / "world", settings.seed, settings.scenes)
    for kind, count in (("small", settings.scenes), ("large", settings.large_scenes)):
        path = _latents_path(work, settings, kind, rank(), parts)
        if path.exists():
            continue
        first, last = count * rank() // parts, count * (rank() + 1) // parts
        encoded = []
        for start in range(first, last, _ENCODE_BATCH):
            batch = images[start : min(start + _ENCODE_BATCH, last)]
            encoded.append(_encode(vae, half_size(batch) if kind == "small" else batch))
            if len(encoded) % 100 == 0:
                logger.info("encoded %d of %d %s scenes", start - first, last - first, kind)
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(".new")
        with beside.open("wb") as file:
            np.save(file, np.concatenate(encoded))
        beside.replace(path)


def require_latents(work: Path, settings: DenoiserSettings, parts: int) -> None:
    """Raise a UserError unless all that `encode_part` writes is there."""
    for kind in ("small", "large"):
        for number in range(parts):
            path = _latents_path(work, settings, kind, number, parts)
            if not path.exists():
                raise UserError(
                    f"{path}: expected encoded scenes, found none; run `encode` with the same --work, --seed "
                    "and --workers first"
                )


def load_latents(work: Path, settings: DenoiserSettings, parts: int) -> Latents:
    """All that the workers of `encode_part` wrote, joined."""

    def joined(kind: str) -> NDArray[np.float16]:
        return np.concatenate([np.load(_latents_path(work, settings, kind, n, parts)) for n in range(parts)])

    return Latents(joined("small"), joined("large"))


def _latents_path(work: Path, settings: DenoiserSettings, kind: str, number: int, parts: int) -> Path:
    count = settings.scenes if kind == "small" else settings.large_scenes
    return work / "latents" / f"{kind}_{settings.seed}_{count}_{number}_of_{parts}.npy"


@torch.no_grad()
def _encode(vae: AutoencoderKL, images: NDArray[np.uint8]) -> NDArray[np.float16]:
    """Scaled posterior means `[N, 4, H/8, W/8]` of uint8 images `[N, H, W, 3]`."""
    with torch.autocast("cpu", torch.bfloat16):
        batch = to_tensor(images).contiguous(memory_format=torch.channels_last)
        mean = torch.as_tensor(vae.encode(batch).latent_dist.mean).float()
    return np.asarray((mean * float(vae.config["scaling_factor"])).numpy(), dtype=np.float16)


def tokenise(tokenizer: CLIPTokenizer, captions: list[str]) -> torch.Tensor:
    """Token ids int64 `[N, 24]`, padded and cut to length."""
    encoded = tokenizer(
        captions, padding="max_length", truncation=True, max_length=LENGTH, return_tensors="pt"
    )
    return torch.as_tensor(encoded.input_ids)


def _random_times(count: int, steps: int, generator: torch.Generator) -> torch.Tensor:
    """Times int64 `[count]` in 0..steps - 1, more of them noisy.

    At high noise a small error in the noise is a large one in the picture: layout and the tone of a plain
    background are settled there, and they are what a short training lacks.
    """
    times = torch.randint(steps, (count,), generator=generator)
    noisy = torch.rand(count, generator=generator) < _NOISY_SHARE
    return torch.where(noisy, steps // 2 + times // 2, times)


def denoising_loss(
    unet: UNet2DConditionModel,
    text_encoder: CLIPTextModel,
    schedule: DDPMScheduler,
    latents: torch.Tensor,
    tokens: torch.Tensor,
    generator: torch.Generator,
) -> torch.Tensor:
    """Mean squared error of the noise predicted at random times. Latents `[N, 4, h, w]`, tokens `[N, 24]`."""
    noise = torch.randn(latents.shape, generator=generator)
    times = _random_times(len(latents), schedule.config["num_train_timesteps"], generator)
    noisy = schedule.add_noise(latents, noise, times).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        context = text_encoder(tokens).last_hidden_state
        predicted = unet(noisy, times, context).sample
    return F.mse_loss(predicted.float(), noise)


def train_denoiser(work: Path, budget: Budget, settings: DenoiserSettings, parts: int, out: Path) -> None:
    """Train to the budget; a loadable base is written to `out` at every save and at the end."""
    torch.manual_seed(settings.seed)
    _, captions = cache.scenes(work / "world", settings.seed, settings.scenes)
    latents = load_latents(work, settings, parts)
    if rank() == 0:
        build_tokenizer(captions, work / "tokenizer")
    barrier()
    tokenizer: CLIPTokenizer = CLIPTokenizer.from_pretrained(str(work / "tokenizer"))
    tokens, empty = tokenise(tokenizer, captions), tokenise(tokenizer, [""])[0]
    unet, text_encoder = new_unet(), new_text_encoder(tokenizer)
    unet.to(memory_format=torch.channels_last)
    unet.train()
    text_encoder.train()
    schedule = DDPMScheduler.from_config(new_scheduler().config)
    is_round = np.array(["round" in caption.split() for caption in captions[: len(latents.large)]])
    round_scenes, other_scenes = np.flatnonzero(is_round), np.flatnonzero(~is_round)

    def loss(step: int, progress: float, generator: torch.Generator) -> torch.Tensor:
        small = progress < settings.small_share
        source = latents.small if small else latents.large
        size = settings.small_batch if small else settings.large_batch
        chosen = torch.randint(len(source), (size,), generator=generator)
        if not small and len(round_scenes) and len(other_scenes):
            pick_round = torch.rand(size, generator=generator) < settings.round_share
            chosen = torch.where(pick_round, _any_of(round_scenes, chosen), _any_of(other_scenes, chosen))
        batch = torch.from_numpy(source[chosen.numpy()]).float()
        captions = tokens[chosen].clone()
        captions[torch.rand(size, generator=generator) < settings.caption_dropout] = empty
        return denoising_loss(unet, text_encoder, schedule, batch, captions, generator)

    trainer = Trainer(
        {"unet": unet, "text_encoder": text_encoder}, work / "unet_run", settings.optimisation, budget
    )
    trainer.train(loss, _snapshot(work, unet, text_encoder, tokenizer, out))


def _any_of(numbers: NDArray[np.int64], chosen: torch.Tensor) -> torch.Tensor:
    """Members of `numbers` for random indices `chosen`."""
    return torch.from_numpy(numbers)[chosen % len(numbers)]


def _snapshot(
    work: Path, unet: UNet2DConditionModel, text_encoder: CLIPTextModel, tokenizer: CLIPTokenizer, out: Path
) -> Callable[[Trainer], None]:
    def write(trainer: Trainer) -> None:
        assemble(AutoencoderKL.from_pretrained(work / "vae"), unet, text_encoder, tokenizer, out)
        logger.info("wrote %s at step %d", out, trainer.step)

    return write

"""Trains `micro`'s autoencoder on the rendered world, and scales its latents as Stable Diffusion does."""

import logging
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from numpy.typing import NDArray

from seas_runtime.files import write_json
from seas_train.bases.micro.training import cache
from seas_train.bases.micro.training.loop import Budget, Optimisation, Trainer

logger = logging.getLogger(__name__)

SCALING_FACTOR = 0.18215  # Stable Diffusion 1.x
# (images, side) of the batches, in turn: crops for variety, and larger ones for a whole image's statistics.
_BATCHES = ((8, 64), (4, 96), (8, 64), (1, 192))
_NORMALISATION_IMAGES = 120


@dataclass(frozen=True)
class AutoencoderSettings:
    """Options of the autoencoder's training: its images and its loss."""

    scenes: int = 2000
    textures: int = 1000
    edge_weight: float = 0.5
    colour_weight: float = 4.0
    kl_weight: float = 1e-5  # per latent element; keeps the latents from drifting, no more
    seed: int = 0
    optimisation: Optimisation = field(
        default_factory=lambda: Optimisation(learning_rate=1e-3, warmup_steps=100, decay_share=0.3)
    )


def new_autoencoder() -> AutoencoderKL:
    """An untrained autoencoder: Stable Diffusion's, with 32 to 64 channels and one layer a block."""
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(32, 64, 64, 64),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=16,
        sample_size=256,
        scaling_factor=SCALING_FACTOR,
    )


def to_tensor(images: NDArray[np.uint8]) -> torch.Tensor:
    """uint8 `[N, H, W, 3]` -> float32 `[N, 3, H, W]` in -1..1."""
    return torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float() / 127.5 - 1


def _batch(sources: list[NDArray[np.uint8]], step: int, generator: torch.Generator) -> torch.Tensor:
    """A batch `[N, 3, side, side]` in -1..1: crops of random images, some flipped, some from half size."""
    rng = np.random.default_rng(int(torch.randint(2**31, (1,), generator=generator)))
    count, side = _BATCHES[step % len(_BATCHES)]
    total = sum(len(source) for source in sources)
    crops = []
    for _ in range(count):
        index = int(rng.integers(total))
        for source in sources:
            if index < len(source):
                image = source[index]
                break
            index -= len(source)
        if side <= image.shape[0] // 2 and rng.random() < 0.33:
            image = half_size(image)  # the denoiser's first stage learns from small scenes
        top, left = rng.integers(0, image.shape[0] - side + 1, 2)
        crop = image[top : top + side, left : left + side]
        crops.append(crop[:, ::-1] if rng.random() < 0.5 else crop)
    return to_tensor(np.stack(crops)).contiguous(memory_format=torch.channels_last)


def half_size(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8 `[..., H, W, 3]` averaged down to half its height and width."""
    *lead, height, width, channels = images.shape
    blocks = images.reshape(*lead, height // 2, 2, width // 2, 2, channels)
    return np.asarray(blocks.mean((-4, -2)).round(), dtype=np.uint8)


def reconstruction_loss(
    image: torch.Tensor, target: torch.Tensor, edge_weight: float, colour_weight: float
) -> torch.Tensor:
    """L1 on pixels and on differences between neighbours, plus the squared error of coarse colour; a scalar.

    Brightness has most of the L1 in a world that is half grey: by L1 alone, 1300 steps found no colour.
    The squared error of coarse colour is large where a colour is wrong altogether.
    """
    loss = F.l1_loss(image, target)
    loss = loss + colour_weight * F.mse_loss(_coarse_colour(image), _coarse_colour(target))
    for _ in range(2):
        for axis in (2, 3):
            loss = loss + edge_weight / 2 * F.l1_loss(image.diff(dim=axis), target.diff(dim=axis))
        image, target = F.avg_pool2d(image, 2), F.avg_pool2d(target, 2)
    return loss


def _coarse_colour(image: torch.Tensor) -> torch.Tensor:
    """Mean, red minus green, and blue minus yellow of `[N, 3, H, W]`, averaged over blocks of 4x4 pixels."""
    red, green, blue = F.avg_pool2d(image, 4).unbind(1)
    return torch.stack([(red + green + blue) / 3, red - green, blue - (red + green) / 2], 1)


def train_autoencoder(work: Path, budget: Budget, settings: AutoencoderSettings) -> Path:
    """Train to the budget and write the normalised autoencoder to `work/vae`; returns that folder."""
    torch.manual_seed(settings.seed)
    model = new_autoencoder().to(memory_format=torch.channels_last)
    model.train()
    images, _ = cache.scenes(work / "world", settings.seed, settings.scenes)
    sources = [images, cache.textures(work / "world", settings.seed, settings.textures)]

    def loss(step: int, progress: float, generator: torch.Generator) -> torch.Tensor:
        batch = _batch(sources, step, generator)
        with torch.autocast("cpu", torch.bfloat16):
            posterior = model.encode(batch).latent_dist
            noise = torch.randn(posterior.mean.shape, generator=generator)
            output = model.decode(posterior.mean + posterior.std * noise).sample
        kl = posterior.kl().mean() / posterior.mean[0].numel()
        total = (
            reconstruction_loss(output.float(), batch, settings.edge_weight, settings.colour_weight)
            + settings.kl_weight * kl
        )
        return torch.as_tensor(total)

    trainer = Trainer({"vae": model}, work / "vae_run", settings.optimisation, budget)
    out = work / "vae"

    def write(_: Trainer) -> None:
        snapshot = new_autoencoder()
        snapshot.load_state_dict(model.state_dict())
        save_normalised(snapshot, images, out)

    trainer.train(loss, write)
    return out


def save_normalised(model: AutoencoderKL, images: NDArray[np.uint8], out: Path) -> None:
    """Normalise the latents over some of `images`, uint8 `[N, 256, 256, 3]`, and write the model to `out`."""
    model.eval()
    chosen = images[:: max(1, len(images) // _NORMALISATION_IMAGES)]
    means = torch.cat([_means(model, chosen[i : i + 8]) for i in range(0, len(chosen), 8)])
    fold_normalisation(model, means.mean((0, 2, 3)), means.std((0, 2, 3)))
    model.save_pretrained(out)
    write_json(
        out / "normalisation.json",
        {"mean": means.mean((0, 2, 3)).tolist(), "std": means.std((0, 2, 3)).tolist()},
    )


@torch.no_grad()
def _means(model: AutoencoderKL, images: NDArray[np.uint8]) -> torch.Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        return torch.as_tensor(model.encode(to_tensor(images)).latent_dist.mean).float()


@torch.no_grad()
def fold_normalisation(model: AutoencoderKL, mean: torch.Tensor, std: torch.Tensor) -> None:
    """Rescale the latents to `(z - mean) / std / scaling_factor`; reconstructions stay the same.

    A latent times `scaling_factor` then has zero mean and unit variance per channel, where `mean` and `std`
    `[4]` are those of the posterior means as they come. The change is exact: it goes into the 1x1
    convolutions on either side of the latent, and into the posterior's log-variance.
    """
    factor = float(model.config["scaling_factor"])
    gain = 1 / (std * factor)  # z' = gain * (z - mean)
    channels = len(mean)
    into, out = model.quant_conv, model.post_quant_conv
    if into is None or out is None:
        raise ValueError("the autoencoder has no 1x1 convolutions around its latent to fold into")
    into.weight[:channels] *= gain[:, None, None, None]
    into.bias[:channels] = gain * (into.bias[:channels] - mean)
    into.bias[channels:] += 2 * gain.log()
    out.bias += (out.weight[:, :, 0, 0] @ mean[:, None])[:, 0]
    out.weight /= gain[None, :, None, None]

"""Measures an imported head's norms anew, on features as generation gives them.

The authors' head normalises by the batch at hand at all times, so its stored statistics are training's, of
all timesteps, and fit generation badly. Ours does without a batch: it has the means over generated batches.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from seas_runtime.methods.seas import MASK_STEPS, START_TIMESTEPS
from seas_train.bases.base import Base
from seas_train.diffusion.prompt_encoding import encode_prompts
from seas_train.diffusion.sampling import denoise
from seas_train.diffusion.solver import SolverRules, dpm_solver
from seas_train.diffusion.taps import decode_taps, unet_with_taps
from seas_train.methods.seas.mask_head.network.head import MaskHead
from seas_train.methods.seas.mask_head.network.normalization import MOMENTUM, batch_norms

PAIRS = 64
"""Generated to measure on: statistics of 16 scatter by twice as much (see docs/fidelity.md)."""
_BATCH = 8
_STEPS = 25  # the authors' inference


@torch.no_grad()
def measure_statistics(
    head: MaskHead,
    models: Base,
    prompts: Sequence[str],
    references: Tensor,
    *,
    guidance: float,
    rules: SolverRules,
    pairs: int = PAIRS,
) -> None:
    """Replace the stored statistics of all the head's norms; it and the models end on the CPU, in eval mode.

    Pairs start from the references as the authors' do, defects in turn, and their last steps' features are
    what is measured: of each norm the mean over the batches of their means, and of their variances.

    Args:
        head: whose norms are measured.
        models: the fine-tuned models with the base's VAE.
        prompts: of the defects.
        references: [n,C,h,w], unscaled.
        guidance: its scale.
        rules: of the sampler.
        pairs: how many to generate.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    for model in (models.unet, models.vae, models.text_encoder, head):
        model.to(device).eval()
    length = models.geometry.context_length
    contexts = encode_prompts(models.tokenizer, models.text_encoder, ["", *prompts], length)  # [1+P,L,D]
    generator = torch.Generator().manual_seed(0)
    norms, batches = batch_norms(head.train()), 0
    taps: list[Tensor] = []

    def predict(doubled: Tensor, timestep: Tensor, words: Tensor) -> Tensor:
        noise, *taps[:] = unet_with_taps(models.unet, doubled, timestep.to(device), words)
        return noise

    def measure(step: int, before: Tensor) -> None:
        nonlocal batches
        if step < _STEPS - MASK_STEPS:
            return
        batches += 1
        for norm in norms:
            norm.momentum = 1 / batches  # the plain mean over all batches so far
        coarse, fine = (tap.chunk(2)[1] for tap in taps)
        head(coarse, fine, decode_taps(models.vae, before / models.vae.config.scaling_factor))

    for first in range(0, pairs, _BATCH):
        numbers = range(first, min(first + _BATCH, pairs))
        chosen = torch.randint(len(references), (len(numbers),), generator=generator)
        latents = _start(models, references[chosen], generator).to(device)
        rows = [0] * len(latents) + [1 + n % len(prompts) for n in numbers]
        solver = dpm_solver(models.scheduler.config, _STEPS, rules)
        denoise(solver, predict, latents, contexts[rows], guidance, measure)
    for norm in norms:
        norm.momentum = MOMENTUM
    for model in (models.unet, models.vae, models.text_encoder, head):
        model.to("cpu").eval()


def _start(models: Base, references: Tensor, generator: torch.Generator) -> Tensor:
    """Noised references, at the end of the noise schedule stretched to the authors' number of timesteps."""
    from diffusers import DDPMScheduler

    schedule = DDPMScheduler.from_config(models.scheduler.config, num_train_timesteps=START_TIMESTEPS)
    noise = torch.randn(references.shape, generator=generator)
    started: Tensor = schedule.add_noise(references, noise, torch.tensor([START_TIMESTEPS - 1]))
    return started

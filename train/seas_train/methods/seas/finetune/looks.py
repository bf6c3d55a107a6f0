"""Where a prompt's tokens look in a picture: the attention maps that previews show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from seas_train.methods.seas.finetune.attention import REDUCTIONS
from seas_train.methods.seas.finetune.model import FinetuneModel


@torch.no_grad()
def where_tokens_look(
    model: FinetuneModel, scheduler: Any, prompt_ids: Tensor, positions: Sequence[Tensor], latents: Tensor
) -> list[Tensor]:
    """Return for each prompt the maps [tokens, h/2, w/2] of its tokens at `positions`.

    Little noise is added, the schedule's at a tenth of its length: where tokens look is settled there.

    Args:
        model: on the latents' device.
        scheduler: a diffusers scheduler with the noise schedule.
        prompt_ids: [P, L], one prompt a picture.
        positions: of each prompt's tokens.
        latents: [P, C, h, w], scaled.
    """
    count, device = len(latents), latents.device
    timesteps = torch.full((count,), scheduler.config.num_train_timesteps // 10, device=device)
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(0)).to(device)
    noisy = scheduler.add_noise(latents, noise, timesteps)
    _, maps = model(noisy, timesteps, prompt_ids, torch.arange(count, device=device))
    whole = maps[REDUCTIONS[0]].float().permute(0, 3, 1, 2)  # [P, L, h/2, w/2]
    return [whole[row, places.to(device)] for row, places in enumerate(positions)]

"""Stage 1's trained module: a U-Net, and the new rows of a text encoder's token embedding."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from seas_train.methods.seas.finetune.attention import AttentionRecorder
from seas_train.methods.seas.finetune.config import AttentionMaps
from seas_train.methods.seas.prompts import PromptEmbedding


class FinetuneModel(nn.Module):
    """Encodes the prompts, predicts the noise, and gives the attention maps on the way.

    One module, so that accelerate prepares (and synchronises) everything trained at once. Trained are the
    U-Net and `embedding.rows`; the rest of the text encoder is frozen.
    """

    def __init__(self, unet: Any, text_encoder: Any, embedding: PromptEmbedding, maps: AttentionMaps) -> None:
        super().__init__()
        has_adapters = getattr(unet, "peft_config", None) is not None
        self.unet = unet if has_adapters else unet.requires_grad_(True)
        self.text_encoder = text_encoder
        self.embedding = embedding  # also text_encoder's input embedding
        self.recorder = AttentionRecorder(unet, maps)

    def train(self, mode: bool = True) -> FinetuneModel:
        """Training mode for the U-Net; the text encoder stays as it is used later."""
        super().train(mode)
        self.text_encoder.eval()
        return self

    def forward(
        self, noisy: Tensor, timesteps: Tensor, prompt_ids: Tensor, prompt_index: Tensor
    ) -> tuple[Tensor, dict[int, Tensor]]:
        """Predict the noise.

        Args:
            noisy: [B, C, h, w], scaled noisy latents.
            timesteps: [B] int64.
            prompt_ids: [P, L] int64, the batch's distinct prompts: each is encoded once.
            prompt_index: [B] int64, which prompt each image has.

        Returns:
            eps [B, C, h, w] and, per reduction, attention maps [B, h/r, w/r, L].
        """
        context = self.text_encoder(prompt_ids)[0][prompt_index]
        self.recorder.start()
        eps = self.unet(noisy, timesteps, context).sample
        return eps, self.recorder.stop()

    def context(self, prompt_ids: Tensor) -> Tensor:
        """The U-Net's context [P, L, D] of prompts, without gradients."""
        with torch.no_grad():
            states: Tensor = self.text_encoder(prompt_ids)[0]
        return states

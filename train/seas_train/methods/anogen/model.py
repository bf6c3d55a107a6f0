"""AnoGen's trained module: an embedding a defect in front of a frozen base."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from seas_runtime.errors import UserError
from seas_runtime.manifest.types import GOOD, UNCONDITIONAL
from seas_train.bases.base import Base, frozen_unet
from seas_train.checkpoint import Checkpoint
from seas_train.methods.anogen.config import AnoGenConfig, Embedding
from seas_train.methods.inpainting.words import encode_rows, template, word_rows, word_state

EMBEDDINGS = "embeddings"
"""The artifact: a tensor [D] a defect."""


class EmbeddingModel(nn.Module):
    """Predicts noise with learned contexts. Trained are `rows` [defects, D] alone."""

    def __init__(self, base: Base, defects: int, config: AnoGenConfig) -> None:
        super().__init__()
        tokenizer, length = base.tokenizer, base.geometry.context_length
        self.unet = frozen_unet(base)
        self.text_encoder = base.text_encoder.requires_grad_(False).eval()
        self.embedding, self.length = config.embedding, length
        if config.embedding is Embedding.OUTPUT:
            first = word_state(tokenizer, base.text_encoder, config.word, length)
        else:
            first = word_rows(tokenizer, base.text_encoder, config.word)
        self.rows = nn.Parameter(first.repeat(defects, 1))
        self.ids = template(tokenizer, 1, length)

    def train(self, mode: bool = True) -> EmbeddingModel:
        """The base stays in evaluation mode."""
        super().train(mode)
        self.unet.eval()
        self.text_encoder.eval()
        return self

    def forward(self, noisy: Tensor, timesteps: Tensor, defects: Tensor) -> Tensor:
        """Predict the noise [B, C, h, w]; `defects` [B] int64 says which one each image has."""
        rows = contexts_of(self.text_encoder, self.rows, self.embedding, self.ids, self.length)
        eps: Tensor = self.unet(noisy, timesteps, rows[defects]).sample
        return eps


def contexts_of(text_encoder: Any, rows: Tensor, embedding: Embedding, ids: Tensor, length: int) -> Tensor:
    """Return the contexts [n, L, D] of learned rows [n, D].

    At the output, an embedding is all of the context: L times the same, which attention sees as one.
    """
    if embedding is Embedding.OUTPUT:
        return rows[:, None].expand(-1, length, -1)
    return encode_rows(text_encoder, ids, rows[:, None])


def contexts(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Return a checkpoint's contexts [L, D], by defect, of `good` and of guidance's other half.

    No normal is learned: `good` is the empty prompt, as what guidance leads away from.
    """
    learned = checkpoint.artifacts[EMBEDDINGS]
    embedding = Embedding(checkpoint.meta["training"]["anogen"]["embedding"])
    length = checkpoint.geometry.context_length
    rows = torch.stack([learned[name] for name in checkpoint.defects])
    with torch.inference_mode():
        ids = template(checkpoint.tokenizer, 1, length)
        made = contexts_of(checkpoint.text_encoder, rows, embedding, ids, length)
        empty = checkpoint.context("")[0]
    return {GOOD: empty, **dict(zip(checkpoint.defects, made, strict=True)), UNCONDITIONAL: empty}


def check_checkpoint(checkpoint: Checkpoint) -> None:
    """Raise UserError where the learned embeddings do not fit the base and the defects."""
    learned, width = checkpoint.artifacts[EMBEDDINGS], checkpoint.geometry.context_width
    where = f"checkpoint {checkpoint.path}: {EMBEDDINGS}"
    if set(learned) != set(checkpoint.defects):
        raise UserError(
            f"{where}: expected {sorted(checkpoint.defects)}, found {sorted(learned)}; train again"
        )
    for name, tensor in learned.items():
        if tuple(tensor.shape) != (width,):
            raise UserError(f"{where}: {name}: expected [{width}], found {list(tensor.shape)}; train again")
    trained: Any = checkpoint.meta["training"].get("anogen")
    known = [item.value for item in Embedding]
    if not isinstance(trained, dict) or trained.get("embedding") not in known:
        raise UserError(
            f"{where}: expected training.anogen.embedding, {' or '.join(known)}, found another; train again"
        )

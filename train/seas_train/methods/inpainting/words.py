"""Learned rows at a text encoder's input, and what they start as."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from seas_runtime.errors import UserError
from seas_train.diffusion.prompt_encoding import encode_prompts

PLACE = 1
"""Where learned rows begin: behind the token of the start."""
STANDIN = "*"
"""What stands in prompts for a learned row."""


def template(tokenizer: Any, rows: int, length: int) -> Tensor:
    """Return token ids [length] int64 with room for `rows` learned rows behind the start.

    What stands in their place is never read. UserError where they do not fit.
    """
    start, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    if rows + 2 > length:
        raise UserError(
            f"embeddings: expected at most {length - 2} tokens between start and end, found {rows}; use fewer"
        )
    pad = tokenizer.pad_token_id
    ids = [start, *[end] * rows, end, *[end if pad is None else pad] * (length - rows - 2)]
    return torch.tensor(ids)


def encode_rows(text_encoder: Any, ids: Tensor, rows: Tensor) -> Tensor:
    """Return the text encoder's last hidden states with learned rows in place of tokens' embeddings.

    Args:
        text_encoder: of the base; it gives CLIP's states, [B, L, D].
        ids: [L] int64, from `template`.
        rows: [B, n, W], set at `PLACE`.
    """
    batch, count = rows.shape[:2]

    def replaced(_module: Any, _given: Any, embedded: Tensor) -> Tensor:
        return torch.cat([embedded[:, :PLACE], rows.to(embedded.dtype), embedded[:, PLACE + count :]], dim=1)

    handle = text_encoder.get_input_embeddings().register_forward_hook(replaced)
    try:
        states: Tensor = text_encoder(ids.to(rows.device).expand(batch, -1))[0]
    finally:
        handle.remove()
    return states


def word_rows(tokenizer: Any, text_encoder: Any, word: str) -> Tensor:
    """Return a word's embedding at the text encoder's input, [W]: the mean of its pieces."""
    ids = _pieces(tokenizer, word)
    weight: Tensor = text_encoder.get_input_embeddings().weight.detach()
    return weight[ids].mean(dim=0).float().clone()


def word_state(tokenizer: Any, text_encoder: Any, word: str, length: int) -> Tensor:
    """Return what the text encoder makes of a word, [D]: the mean of its last states over the pieces."""
    count = len(_pieces(tokenizer, word))
    states = encode_prompts(tokenizer, text_encoder, [word], length)[0]
    return states[PLACE : PLACE + count].mean(dim=0).float().clone()


def _pieces(tokenizer: Any, word: str) -> Sequence[int]:
    ids: Sequence[int] = tokenizer(word, add_special_tokens=False).input_ids
    if not ids:
        raise UserError(f"word: expected one that the base's tokenizer knows, found {word!r}")
    return ids

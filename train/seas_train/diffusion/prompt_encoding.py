"""Prompts as the U-Net takes them: token ids, and the text encoder's hidden states."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from seas_runtime.errors import UserError


def tokenize(tokenizer: Any, prompts: Sequence[str], length: int) -> Tensor:
    """Token ids [P, length] int64 of prompts, padded as Stable Diffusion pads.

    Raises:
        UserError: a prompt does not fit into `length` tokens.
    """
    rows = [tokenizer(prompt).input_ids for prompt in prompts]
    for prompt, row in zip(prompts, rows, strict=True):
        if len(row) > length:
            raise UserError(
                f"prompt {prompt!r}: expected at most {length} tokens with start and end, found {len(row)}; "
                "use fewer anomaly tokens"
            )
    ids = tokenizer(
        list(prompts), padding="max_length", max_length=length, truncation=True, return_tensors="pt"
    )
    result: Tensor = ids.input_ids
    return result


def encode_prompts(tokenizer: Any, text_encoder: Any, prompts: Sequence[str], length: int) -> Tensor:
    """The U-Net's context of prompts: the text encoder's last hidden states [P, length, D] f32, without
    gradients."""
    device = next(text_encoder.parameters()).device
    with torch.no_grad():
        states: Tensor = text_encoder(tokenize(tokenizer, prompts, length).to(device))[0]
    return states

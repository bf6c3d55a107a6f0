"""Stage 1's result, which stage 2 and the checkpoint are made from."""

from __future__ import annotations

from dataclasses import dataclass

from seas_train.bases.base import Base
from seas_train.methods.seas.prompts import Prompts


@dataclass(frozen=True)
class FineTuned:
    """A base after stage 1: evaluation mode, frozen, with the product's tokens in tokenizer and text encoder.

    `models` is a `Base` whose tokenizer, text encoder and U-Net are the fine-tuned ones; its name, path,
    fingerprint and licence stay the base's, its geometry is that of the product's image size.
    """

    models: Base
    prompts: Prompts
    fingerprint: str
    """sha256 over what stage 1 was made from: configuration, seed, base and data. Part of stage 2's
    identity."""

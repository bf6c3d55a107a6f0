"""Prompts of one's own by a checkpoint's text encoder, for bundles without a tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from seas_runtime.bundle.reading import Bundle
from seas_runtime.errors import UserError


def encode_with_checkpoint(bundle: Bundle, checkpoint: Path, prompts: Sequence[str]) -> None:
    """Encode prompts into `bundle.contexts` with the checkpoint that it was exported from.

    Raises UserError for another checkpoint, and for a prompt that does not fit or has a token that is none.
    """
    import torch

    from seas_runtime.methods.seas import EMBEDDINGS
    from seas_runtime.methods.tokenizer import check_learned
    from seas_train import load_checkpoint

    loaded = load_checkpoint(checkpoint)
    if bundle.manifest.provenance.get("checkpoint") != loaded.fingerprint:
        raise UserError(
            f"--checkpoint {checkpoint}: expected the checkpoint that {bundle.path} was exported from, "
            f"found {loaded.fingerprint[:12]}"
        )
    like = next(iter(bundle.tables[EMBEDDINGS].values()))
    with torch.inference_mode():
        for prompt in prompts:
            check_learned(prompt, loaded.tokenizer.get_added_vocab())
            bundle.contexts[prompt] = loaded.context(prompt)[0].numpy().astype(like.dtype)

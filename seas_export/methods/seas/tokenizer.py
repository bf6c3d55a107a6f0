"""A checkpoint's tokenizer as a bundle's table, which the runtime reads without transformers."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from seas_runtime.errors import UserError
from seas_runtime.manifest.schedule import Array
from seas_runtime.methods.tokenizer import TENSOR, Tokenizer

_TRIALS = ("", "a photo of a brake-pad, 12 mm", "don't  CAFÉ №5 öl_µ")


def tokenizer_table(tokenizer: Any, length: int) -> dict[str, Array]:
    """Return the table of a CLIP tokenizer, tried on texts and on every learned token.

    Raises UserError for a tokenizer that CLIP's rules do not describe.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    values = {} if backend is None else json.loads(backend.to_str())
    model = values.get("model", {})
    if model.get("type") != "BPE":
        raise UserError(
            "--own-prompts: expected CLIP's tokenizer with a byte-pair encoding, found "
            f"{type(tokenizer).__name__}; export without it"
        )
    merges = (pair.split(" ") if isinstance(pair, str) else pair for pair in model["merges"])
    vocabulary = model["vocab"]
    unknown = model.get("unk_token")
    made = Tokenizer(
        vocabulary=vocabulary,
        merges=[(first, second) for first, second in merges],
        added={token["content"]: token["id"] for token in values["added_tokens"]},
        start=tokenizer.bos_token_id,
        end=tokenizer.eos_token_id,
        pad=tokenizer.pad_token_id,
        unknown=tokenizer.eos_token_id if unknown is None else tokenizer.convert_tokens_to_ids(unknown),
    )
    learned = " ".join(token for token in made.added if not token.startswith("<|"))
    for text in (*_TRIALS, *learned.split()):
        expected = tokenizer(text).input_ids
        if len(expected) <= length and list(made.ids(text, length)[: len(expected)]) != list(expected):
            raise UserError(
                f"--own-prompts: the runtime reads {text!r} otherwise than this tokenizer does; "
                "export without it"
            )
    return {TENSOR: np.frombuffer(made.to_json().encode(), np.uint8)}

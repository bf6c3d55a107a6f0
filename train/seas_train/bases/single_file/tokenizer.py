"""CLIP's tokenizer, which a single file does not bring: from what lies beside the file, or from the hub."""

from __future__ import annotations

import gzip
import json
import tempfile
from pathlib import Path
from typing import Any

from seas_runtime.errors import UserError
from seas_train.bases.model_folders import load_component
from seas_train.foreign_files import TABLE_LIMIT, check_file

HUB_NAME = "openai/clip-vit-large-patch14"
"""Whose tokenizer Stable Diffusion 1.x uses."""
VOCABULARY = "bpe_simple_vocab_16e6.txt.gz"
"""CLIP's merges as its authors publish them (github.com/openai/CLIP, clip/)."""
_USED = 49_152 - 256 - 2  # merges of that file that CLIP's own tokenizer takes
_START, _END = "<|startoftext|>", "<|endoftext|>"
_LENGTH = 77


def clip_tokenizer(beside: Path, what: str) -> Any:
    """`transformers.CLIPTokenizer` of Stable Diffusion 1.x: 49,408 tokens, prompts of 77.

    Looked for in the folder `beside`: as diffusers' `tokenizer/`, then as CLIP's published vocabulary file;
    then in the hub's cache and, unless it is offline, on the hub.

    Raises:
        UserError: it is in none of these places, or what is there is broken.
    """
    from transformers import CLIPTokenizer

    try:
        if (beside / "tokenizer").is_dir():
            return load_component("tokenizer", beside / "tokenizer", what)
        if (beside / VOCABULARY).is_file():
            check_file(beside / VOCABULARY, "CLIP's vocabulary", TABLE_LIMIT)
            return _from_merges(read_merges(beside / VOCABULARY))
    except UserError:
        raise
    except Exception as error:  # transformers raises anything for files that it cannot read
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{what}: the tokenizer in {beside} cannot be read: {reason}") from error
    try:
        return CLIPTokenizer.from_pretrained(HUB_NAME)
    except Exception as error:  # as above; offline, unreachable or not in the cache
        raise UserError(
            f"{what}: expected a tokenizer beside the file, which holds none: the folder `tokenizer` of any "
            f"Stable Diffusion 1.x, or CLIP's {VOCABULARY}; found neither in {beside}, and the hub does not "
            f"give {HUB_NAME}"
        ) from error


def read_merges(path: Path) -> list[str]:
    """The merges that CLIP's tokenizer takes of its published vocabulary file, such as `i n`."""
    with gzip.open(path) as packed:
        lines = packed.read(TABLE_LIMIT).decode("utf-8").split("\n")
    merges = lines[1 : 1 + _USED]  # the first line is a version
    if len(merges) < _USED or any(len(merge.split()) != 2 for merge in merges):
        raise ValueError(f"{path.name}: expected {_USED} merges of two parts each")
    return merges


def _from_merges(merges: list[str]) -> Any:
    from transformers import CLIPTokenizer

    special = {"bos_token": _START, "eos_token": _END, "unk_token": _END, "pad_token": _END}
    config = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": _LENGTH,
        "do_lower_case": True,
        "errors": "replace",
        **special,
    }
    with tempfile.TemporaryDirectory(prefix="seas-export-") as made:
        folder = Path(made)
        (folder / "vocab.json").write_text(json.dumps(_vocabulary(merges)), encoding="utf-8")
        (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n", encoding="utf-8")
        (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
        (folder / "special_tokens_map.json").write_text(json.dumps(special), encoding="utf-8")
        return CLIPTokenizer.from_pretrained(made)


def _vocabulary(merges: list[str]) -> dict[str, int]:
    """Token -> id: every byte, every byte that ends a word, every merge, start and end."""
    shown = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    characters = [chr(byte) for byte in shown]
    # Bytes that cannot be shown stand for characters from 256 on, as in GPT-2's tokenizer.
    characters += [chr(256 + number) for number in range(256 - len(shown))]
    tokens = [*characters, *(f"{character}</w>" for character in characters)]
    tokens += [merge.replace(" ", "") for merge in merges]
    return {token: index for index, token in enumerate([*tokens, _START, _END])}

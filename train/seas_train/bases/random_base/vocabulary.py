"""The tokenizer of a random base: the small vocabulary of `micro`, or CLIP's from OpenAI's own file."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import zlib
from pathlib import Path

from seas_runtime.errors import UserError
from seas_runtime.files import os_errors, write_json
from seas_train.bases.micro import MICRO_PATH
from seas_train.foreign_files import TABLE_LIMIT, check_file

START, END = "<|startoftext|>", "<|endoftext|>"
CLIP_MERGES = 49152 - 256 - 2
"""How many of the file's merges CLIP uses (OpenAI's simple_tokenizer.py)."""


def write_tokenizer(folder: Path, length: int, vocabulary: Path | None = None) -> dict[str, int]:
    """Write a CLIP tokenizer that pads to `length` tokens; return its vocabulary.

    Args:
        folder: of the tokenizer.
        length: tokens of a prompt.
        vocabulary: OpenAI's `bpe_simple_vocab_16e6.txt` or its `.gz`; None for the vocabulary of `micro`.

    Raises:
        UserError: the file cannot be read or is another.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if vocabulary is None:
        for name in ("vocab.json", "merges.txt"):
            shutil.copy(MICRO_PATH / "tokenizer" / name, folder / name)
        entries: dict[str, int] = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    else:
        merges = read_merges(vocabulary)
        entries = clip_vocabulary(merges)
        write_json(folder / "vocab.json", entries)
        (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n", encoding="utf-8")
    special = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}
    write_json(folder / "special_tokens_map.json", special)
    write_json(
        folder / "tokenizer_config.json",
        {**special, "tokenizer_class": "CLIPTokenizer", "model_max_length": length, "do_lower_case": True},
    )
    return entries


def read_merges(file: Path) -> list[str]:
    """Return CLIP's merges, `i n` and so on, from OpenAI's file.

    Raises:
        UserError: it cannot be read, or is no such file.
    """
    check_file(file, "CLIP's vocabulary", TABLE_LIMIT, "--vocabulary")
    with os_errors(file, "read"):
        data = file.read_bytes()
    try:
        if data[:2] == b"\x1f\x8b":
            with gzip.open(io.BytesIO(data)) as packed:
                data = packed.read(TABLE_LIMIT)
        text = data.decode("utf-8")
    except (EOFError, OSError, zlib.error, UnicodeDecodeError) as error:
        raise UserError(f"--vocabulary {file}: expected text, or text in gzip, found: {error}") from None
    header, *lines = text.split("\n")
    merges = lines[:CLIP_MERGES]
    if "version" not in header or len(merges) < CLIP_MERGES or any(len(m.split()) != 2 for m in merges):
        raise UserError(
            f"--vocabulary {file}: expected CLIP's bpe_simple_vocab_16e6.txt.gz ({CLIP_MERGES} merges of two "
            f"pieces after a line with the version), found {len(lines)} lines after {header[:40]!r}"
        )
    return merges


def clip_vocabulary(merges: list[str]) -> dict[str, int]:
    """Return token -> id in CLIP's order: bytes, bytes that end a word, merges, start and end."""
    from seas_train.bases.micro.tokens import byte_alphabet

    letters = list(byte_alphabet().values())
    entries = [*letters, *(f"{letter}</w>" for letter in letters)]
    entries += ["".join(merge.split()) for merge in merges]
    return {entry: number for number, entry in enumerate([*entries, START, END])}

"""The vocabulary of `micro`: a byte-level CLIP tokenizer learnt from the world's own captions."""

import json
import re
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from transformers import CLIPTokenizer

LENGTH = 24
START, END = "<|startoftext|>", "<|endoftext|>"

# Words that prompts of fine-tuning use and captions may lack; each becomes a single token.
_COMMON = """
a an object defect with good photo of surface part the on in and product image picture normal damaged broken
bent cut color contamination hole crack scratch stain spot thread fold glue poke print squeeze rough liquid
missing fabric metal glass wood leather plastic rubber ceramic tile grid carpet cable capsule pill screw nut
transistor zipper brush bottle top view close up side dark light bright red green blue brown amber grey gray
black white small large round square industrial anomaly anomalous flawless clean dirty texture background
"""
COMMON_WORDS = _COMMON.split()


def byte_alphabet() -> dict[int, str]:
    """The printable character that stands for each byte (GPT-2's and CLIP's mapping)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    alphabet = {byte: chr(byte) for byte in printable}
    others = (byte for byte in range(256) if byte not in alphabet)
    return alphabet | {byte: chr(256 + number) for number, byte in enumerate(others)}


def learn_merges(words: Counter[str]) -> list[tuple[str, str]]:
    """Byte-pair merges, most frequent pair first, until each of `words` (lower case) is one token."""
    alphabet = byte_alphabet()
    pieces: dict[str, list[str]] = {}
    for word in sorted(words):
        letters = [alphabet[byte] for byte in word.encode("utf-8")]
        pieces[word] = [*letters[:-1], letters[-1] + "</w>"]
    merges: list[tuple[str, str]] = []
    while True:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, parts in pieces.items():
            for pair in pairwise(parts):
                pairs[pair] += words[word]
        if not pairs:
            return merges
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        pieces = {word: _merge(parts, best) for word, parts in pieces.items()}


def _merge(parts: list[str], pair: tuple[str, str]) -> list[str]:
    merged: list[str] = []
    for part in parts:
        if merged and (merged[-1], part) == pair:
            merged[-1] += part
        else:
            merged.append(part)
    return merged


def build_tokenizer(captions: Iterable[str], folder: Path) -> CLIPTokenizer:
    """Learn a tokenizer from `captions`, write it to `folder` as CLIP's is, and load it from there."""
    words = Counter(word for caption in captions for word in re.findall(r"[a-z]+", caption.lower()))
    words.update(COMMON_WORDS)
    merges = learn_merges(words)
    alphabet = [byte_alphabet()[byte] for byte in range(256)]
    entries = [
        *alphabet,
        *(letter + "</w>" for letter in alphabet),
        *("".join(pair) for pair in merges),
        START,
        END,
    ]
    vocabulary = {entry: number for number, entry in enumerate(dict.fromkeys(entries))}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    special = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}
    config = special | {"tokenizer_class": "CLIPTokenizer", "model_max_length": LENGTH, "do_lower_case": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    (folder / "special_tokens_map.json").write_text(json.dumps(special, indent=1) + "\n", encoding="utf-8")
    tokenizer: CLIPTokenizer = CLIPTokenizer.from_pretrained(str(folder))
    return tokenizer

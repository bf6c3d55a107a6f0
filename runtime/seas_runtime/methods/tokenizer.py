"""CLIP's byte-pair encoding in plain Python, with the vocabulary and the learned tokens of a bundle."""

from __future__ import annotations

import itertools
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from seas_runtime.errors import UserError
from seas_runtime.files import parse_json
from seas_runtime.manifest.fields import Fields, describe
from seas_runtime.manifest.schedule import Array

TENSOR = "json"
"""The one tensor of a tokenizer's table: its JSON text as bytes."""
_MAX_TOKENS = 1_000_000
_MAX_TEXT = 4096
_END_OF_WORD = "</w>"
_CONTRACTIONS = ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d")
_LEARNED = re.compile(r"<[^<>\s]+>")


@dataclass(frozen=True, eq=False)
class Tokenizer:
    """A vocabulary, its merges in their order, and the tokens that are found in a text as they stand."""

    vocabulary: Mapping[str, int]
    merges: Sequence[tuple[str, str]]
    added: Mapping[str, int]
    """The learned tokens, and those of start and end."""
    start: int
    end: int
    pad: int
    unknown: int

    def ids(self, text: str, length: int) -> Array:
        """Return the ids [length] int64 of a prompt, padded as Stable Diffusion pads.

        Raises UserError for a text that is too long, or with a token in angle brackets that is none.
        """
        if not isinstance(text, str) or len(text) > _MAX_TEXT:
            raise UserError(
                f"prompt: expected a text of at most {_MAX_TEXT} characters, found {describe(text)}"
            )
        check_learned(text, self.added)
        found = [self.start, *self._content(text), self.end]
        if len(found) > length:
            raise UserError(
                f"prompt: expected at most {length} tokens with start and end, found {len(found)}; shorten it"
            )
        return np.array(found + [self.pad] * (length - len(found)), np.int64)

    def to_json(self) -> str:
        """Return the tokenizer as JSON text, which `read_tokenizer` reads."""
        values = {
            "vocabulary": dict(self.vocabulary),
            "merges": [list(pair) for pair in self.merges],
            "added": dict(self.added),
            **{name: getattr(self, name) for name in ("start", "end", "pad", "unknown")},
        }
        return json.dumps(values, ensure_ascii=False)

    def _content(self, text: str) -> Iterator[int]:
        """Yield the ids of a text, without start and end: added tokens first, the longest one wins."""
        tokens = sorted(self.added, key=len, reverse=True)
        pattern = "(" + "|".join(map(re.escape, tokens)) + ")"
        ranks = {pair: rank for rank, pair in enumerate(self.merges)}
        for place, part in enumerate(re.split(pattern, text) if tokens else [text]):
            if place % 2:
                yield self.added[part]
                continue
            for word in _words(_normalized(part)):
                yield from self._word(word, ranks)

    def _word(self, word: str, ranks: Mapping[tuple[str, str], int]) -> Iterator[int]:
        """Yield the ids of a word's pieces: the pair that was learnt first is joined first."""
        pieces = [_BYTES[byte] for byte in word.encode()]
        pieces[-1] += _END_OF_WORD
        while len(pieces) > 1:
            pairs = set(itertools.pairwise(pieces)) & ranks.keys()
            if not pairs:
                break
            first, second = min(pairs, key=ranks.__getitem__)
            pieces = _joined(pieces, first, second)
        for piece in pieces:
            yield self.vocabulary.get(piece, self.unknown)


def _joined(pieces: Sequence[str], first: str, second: str) -> list[str]:
    """Return the pieces with every `first` before a `second` joined to it, from the left."""
    joined: list[str] = []
    place = 0
    while place < len(pieces):
        both = list(pieces[place : place + 2]) == [first, second]
        joined.append(first + second if both else pieces[place])
        place += 2 if both else 1
    return joined


def check_learned(text: str, tokens: Iterable[str]) -> None:
    """Refuse a text with a token in angle brackets that is none of `tokens`: it would be read as letters."""
    unknown = [token for token in _LEARNED.findall(text) if token not in tokens]
    if unknown:
        learned = ", ".join(token for token in tokens if not token.startswith("<|"))
        raise UserError(f"prompt: there is no token {describe(unknown[0])}; expected one of {learned}")


def read_tokenizer(table: Mapping[str, Array], where: str) -> Tokenizer:
    """Read a tokenizer's table, whatever it holds; `where` starts every UserError."""
    array = table.get(TENSOR)
    if set(table) != {TENSOR} or array is None or array.dtype != np.uint8 or array.ndim != 1:
        raise UserError(f"{where}: expected the tensor {TENSOR!r}, uint8 [bytes]; export the bundle again")
    fields = Fields(parse_json(array.tobytes(), where), where)
    vocabulary, added = (_read_ids(fields, name) for name in ("vocabulary", "added"))
    merges = fields.items("merges")
    for pair in merges:
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(part, str) for part in pair):
            fields.fail("merges", "pairs of texts", pair)
    ids = {name: fields.integer(name, 0, _MAX_TOKENS) for name in ("start", "end", "pad", "unknown")}
    fields.close()
    return Tokenizer(vocabulary, [(first, second) for first, second in merges], added, **ids)


def _read_ids(fields: Fields, name: str) -> dict[str, int]:
    ids = fields.mapping(name)
    if not ids or "" in ids:
        fields.fail(name, "the id of every token", ids)
    for value in ids.values():
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MAX_TOKENS:
            fields.fail(name, f"ids from 0 to {_MAX_TOKENS}", value)
    return ids


def _normalized(text: str) -> str:
    """Return a text as CLIP's tokenizer normalizes it: composed, one space between words, lower case."""
    composed = "".join(" " if _is_space(letter) else letter for letter in unicodedata.normalize("NFC", text))
    return "".join(letter.lower() for letter in composed)  # one by one: no rule looks at its neighbours


def _words(text: str) -> Iterator[str]:
    """Yield contractions, runs of letters, single numerals, and runs of anything else but spaces."""
    place = 0
    while place < len(text):
        contraction = next((word for word in _CONTRACTIONS if text.startswith(word, place)), None)
        kind, end = _kind(text[place]), place + 1
        if contraction is not None:
            end = place + len(contraction)
        elif kind in "Lx":
            while end < len(text) and _kind(text[end]) == kind:
                end += 1
        if kind != " ":
            yield text[place:end]
        place = end


def _kind(letter: str) -> str:
    """Return "L" for a letter, "N" for a numeral, " " for a space, "x" for anything else."""
    if _is_space(letter):
        return " "
    category = unicodedata.category(letter)[0]
    return category if category in "LN" else "x"


def _is_space(letter: str) -> bool:
    return letter.isspace() and letter not in "\x1c\x1d\x1e\x1f"  # which Unicode does not count


def _byte_letters() -> dict[int, str]:
    """Return the visible letter that stands for each byte (GPT-2's table)."""
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in visible]
    return {**{byte: chr(byte) for byte in visible}, **{b: chr(256 + n) for n, b in enumerate(others)}}


_BYTES = _byte_letters()

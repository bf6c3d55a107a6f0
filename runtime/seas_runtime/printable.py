"""Text that comes from files, made harmless before a person sees it."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any

_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
"""Unicode categories: control, format (directions, zero widths), surrogates, private use, line breaks."""


def printable(text: str, *, keep: str = "") -> str:
    """Return `text` with every character that a terminal could obey, or that hides, written as an escape.

    `keep` names characters to leave as they are, such as a newline. A lone surrogate, which stands for a
    byte of a file name that is not UTF-8, becomes that byte: `\\xe4`.
    """
    if text.isprintable():  # which is stricter, and quick
        return text
    return "".join(
        character
        if character in keep or unicodedata.category(character) not in _UNSAFE
        else _escape(character)
        for character in text
    )


def printable_values(value: Any) -> Any:
    """Return JSON values with all their text, keys too, made `printable` in one line."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, Mapping):
        return {printable_values(key): printable_values(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [printable_values(entry) for entry in value]
    return value


def unicode_text(text: str) -> str:
    """Return `text` with the bytes of file names that are not UTF-8 as escapes, so that it can be encoded."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return "".join(_escape(c) if unicodedata.category(c) == "Cs" else c for c in text)
    return text


def _escape(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # os.fsdecode's surrogateescape
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"

"""Reads a JSON object's fields strictly: errors name the key, what was expected and what was found."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import islice
from typing import Any, NoReturn

from seas_runtime.errors import UserError
from seas_runtime.manifest.types import GOOD, UNCONDITIONAL

_FORBIDDEN_IN_NAMES = re.compile(r'[/\\:*?"<>|\x00-\x1f\x7f]')
_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}
RESERVED_NAMES = (GOOD, UNCONDITIONAL, "all")
"""No defect may be called so: each means something to the command line or in a bundle."""


def describe(value: object) -> str:
    """Return a value as it may stand in an error: short, and with its type where that is the point."""
    if isinstance(value, (str, list)):
        value = value[:100]  # a file may hold millions
    elif isinstance(value, dict):
        value = dict(islice(value.items(), 100))
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def listed(names: Iterable[object], most: int = 12) -> str:
    """Return names with commas between, as they may stand in an error: the first of many, each cut."""
    first = list(islice(iter(names), most + 1))
    words = [text if len(text) <= 80 else f"{text[:77]}..." for text in map(str, first[:most])]
    return ", ".join([*words, "..."] if len(first) > most else words)


def check_integer(option: str, value: object, low: int, high: int) -> None:
    """Raise UserError naming `option` unless `value` is a whole number in [low, high]."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise UserError(f"{option}: expected a whole number from {low} to {high}, found {describe(value)}")


def check_number(option: str, value: object, low: float, high: float) -> None:
    """Raise UserError naming `option` unless `value` is a number in [low, high]."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise UserError(f"{option}: expected a number from {low} to {high}, found {describe(value)}")


def is_safe_name(name: str) -> bool:
    """Whether a product or defect name can be a folder on every system."""
    return (
        0 < len(name) <= 64
        and not _FORBIDDEN_IN_NAMES.search(name)
        and name == name.strip()
        and not name.startswith(".")
        and not name.endswith(".")
        and not _is_device(name)
    )


def is_portable_path(path: str) -> bool:
    """Whether a path with `/` between its parts stays below its folder and is one file on every system."""
    return len(path) <= 512 and all(
        part not in ("", ".", "..")
        and len(part.encode("utf-8", "replace")) <= 255
        and not _FORBIDDEN_IN_NAMES.search(part)
        and part[-1] not in ". "
        and not _is_device(part)
        for part in path.split("/")
    )


def _is_device(name: str) -> bool:
    """Whether Windows opens a device under this name, whatever its suffix."""
    return name.split(".")[0].rstrip().casefold() in _DEVICES


class Fields:
    """The fields of one JSON object, read one by one; `close` refuses what was not read.

    `where` is how errors name the object: `manifest.json: sampler`.
    """

    def __init__(self, value: object, where: str) -> None:
        self.where = where
        if not isinstance(value, dict):
            self.fail("", "an object", value)
        self._values: dict[str, Any] = value
        self._read: set[str] = set()

    def fail(self, key: str, expected: str, found: object) -> NoReturn:
        """Raise the UserError for `key`."""
        place = f"{self.where}.{key}" if key else self.where
        raise UserError(f"{place}: expected {expected}, found {describe(found)}")

    def raw(self, key: str) -> Any:
        """Return the field as it is; UserError if it is missing."""
        if key not in self._values:
            raise UserError(f"{self.where}: the key {key!r} is missing")
        self._read.add(key)
        return self._values[key]

    def has(self, key: str) -> bool:
        """Whether the field is there and not null."""
        self._read.add(key)
        return self._values.get(key) is not None

    def text(self, key: str, *, empty: bool = False) -> str:
        """Return a text field, not empty unless `empty`."""
        value = self.raw(key)
        if not isinstance(value, str) or not (value or empty):
            self.fail(key, "text" if empty else "text that is not empty", value)
        return value

    def name(self, key: str) -> str:
        """Return a text field that can be a folder's name."""
        value = self.text(key)
        if not is_safe_name(value):
            self.fail(key, 'a name usable as a folder (at most 64 characters, no / \\ : * ? " < > |)', value)
        return value

    def choice(self, key: str, choices: tuple[str, ...]) -> str:
        """Return a text field that is one of `choices`."""
        value = self.raw(key)
        if not isinstance(value, str) or value not in choices:
            self.fail(key, f"one of {listed(choices, 40)}", value)
        return value

    def integer(self, key: str, low: int, high: int) -> int:
        """Return a whole number in [low, high]."""
        value = self.raw(key)
        check_integer(f"{self.where}.{key}", value, low, high)
        return int(value)

    def number(self, key: str, low: float, high: float) -> float:
        """Return a finite number in [low, high]."""
        value = self.raw(key)
        check_number(f"{self.where}.{key}", value, low, high)
        return float(value)

    def items(self, key: str, most: int | None = None) -> list[Any]:
        """Return a list field, of at most `most` entries."""
        value = self.raw(key)
        if not isinstance(value, list):
            self.fail(key, "a list", value)
        if most is not None and len(value) > most:
            self.fail(key, f"at most {most} entries", len(value))
        return value

    def mapping(self, key: str, most: int | None = None) -> dict[str, Any]:
        """Return an object field whose keys are data, of at most `most` entries."""
        value = self.raw(key)
        if not isinstance(value, dict):
            self.fail(key, "an object", value)
        if most is not None and len(value) > most:
            self.fail(key, f"at most {most} entries", len(value))
        return value

    def fields(self, key: str) -> Fields:
        """Return an object field whose keys are known."""
        return Fields(self.raw(key), f"{self.where}.{key}")

    def close(self) -> None:
        """Refuse keys that nobody read."""
        unknown = sorted(set(self._values) - self._read)
        if unknown:
            raise UserError(
                f"{self.where}: unknown key {describe(unknown[0])}: remove it, or update seas-export "
                "if a newer version wrote this file"
            )

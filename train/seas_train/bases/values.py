"""Kinds of values in a configuration of others: what each may be, in words and as a test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Rule:
    """What a value may be."""

    words: str
    accepts: Callable[[Any], bool]


def whole(low: int, high: int) -> Rule:
    """A whole number in [low, high]."""
    return Rule(
        f"a whole number from {low} to {high}",
        lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high,
    )


def number(low: float, high: float) -> Rule:
    """A number in [low, high]."""
    return Rule(
        f"a number from {low:g} to {high:g}",
        lambda value: (
            isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high
        ),
    )


def flag() -> Rule:
    """True or false."""
    return Rule("true or false", lambda value: isinstance(value, bool))


def one_of(*names: str) -> Rule:
    """One of these texts."""
    return Rule(" or ".join(names), lambda value: isinstance(value, str) and value in names)


def several(rule: Rule, most: int = 16) -> Rule:
    """A list of at most `most` such values."""
    return Rule(
        f"a list of {rule.words}",
        lambda value: isinstance(value, list) and len(value) <= most and all(map(rule.accepts, value)),
    )


def either(first: Rule, second: Rule) -> Rule:
    """One or the other."""
    return Rule(
        f"{first.words}, or {second.words}", lambda value: first.accepts(value) or second.accepts(value)
    )


def one_or_several(rule: Rule) -> Rule:
    """Such a value, or a list of them."""
    return either(rule, several(rule))


def mapping(rule: Rule, most: int = 100_000) -> Rule:
    """An object of at most `most` such values."""
    return Rule(
        f"an object of {rule.words}",
        lambda value: (
            isinstance(value, dict) and len(value) <= most and all(map(rule.accepts, value.values()))
        ),
    )

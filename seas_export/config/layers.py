"""Layered configuration: a YAML file and the command line over frozen dataclasses, checked key by key."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

from seas_runtime.errors import UserError

T = TypeVar("T")


def overlay(config: T, values: Mapping[str, Any], source: str, at: str = "") -> T:
    """Return `config`, a frozen dataclass, with `values` over it; nested mappings go into nested dataclasses.

    Args:
        config: what holds where `values` says nothing.
        values: keys as the dataclass names them.
        source: where the values come from, for messages: a file's name, `the command line`.
        at: dotted path of `config` within the whole, for messages.

    Raises:
        UserError: a key that the dataclass does not have (the nearest one is named), a value of the wrong
            type, or whatever the dataclass's own check refuses.
    """
    assert is_dataclass(config)
    assert not isinstance(config, type)
    hints = typing.get_type_hints(type(config))
    known = [field.name for field in fields(config) if field.init]
    changes = {}
    for key, value in values.items():
        where = f"{at}.{key}" if at else str(key)
        if key not in known:
            raise UserError(_unknown(source, where, str(key), known))
        current = getattr(config, key)
        if is_dataclass(current) and not isinstance(current, type):
            if not isinstance(value, Mapping):
                raise _wrong(source, where, "a mapping of options", value)
            changes[key] = overlay(current, value, source, where)
        else:
            changes[key] = coerce(value, hints[key], source, where)
    if not changes:
        return config
    try:
        return replace(config, **changes)
    except UserError as error:
        raise error if at else UserError(f"{source}: {error}") from None


def coerce(value: Any, hint: Any, source: str, where: str) -> Any:
    """Return `value` as the type `hint`, or raise UserError; only 1 -> 1.0 and "4e-6" -> 4e-6 are guessed."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        return coerce(value, next(a for a in arguments if a is not type(None)), source, where)
    if hint is Any:
        return value
    if origin is tuple:
        return _sequence(value, arguments, source, where)
    if origin in (dict, Mapping) or (isinstance(origin, type) and issubclass(origin, Mapping)):
        if not isinstance(value, Mapping):
            raise _wrong(source, where, "a mapping of options", value)
        return dict(value)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _choice(value, hint, source, where)
    if hint is bool and isinstance(value, bool):
        return value
    if hint is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if hint is float and not isinstance(value, bool):
        try:
            return float(value)  # YAML 1.1 reads 4e-6 as a string
        except (TypeError, ValueError):
            pass
    if hint is str and isinstance(value, str):
        return value
    if hint is Path and isinstance(value, (str, Path)):
        return Path(value)
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "text", Path: "a path"}
    raise _wrong(source, where, names.get(hint, str(hint)), value)


def choice(kind: type[T], value: str, option: str) -> T:
    """Return the member of the enum `kind` that an option's word names, or raise UserError."""
    made: T = _choice(value, kind, "the command line", option)
    return made


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return `below` with `above` over it, mapping by mapping."""
    made = dict(below)
    for key, value in above.items():
        old = made.get(key)
        made[key] = merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return made


def read_yaml(file: Path) -> dict[str, Any]:
    """Read a configuration file.

    Raises:
        UserError: the file is missing, is not YAML, or holds something else than keys and values.
    """
    import yaml

    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"--config {file}: expected a YAML file, found: {error.strerror or error}. Name one that exists."
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"--config {file}: expected YAML, found: {' '.join(str(error).split())}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise UserError(
            f"--config {file}: expected keys and values (product: bottle), found {type(values).__name__}."
        )
    return values


def parse_assignments(assignments: Sequence[str]) -> dict[str, Any]:
    """Turn `--set train.finetune.steps=100` words into nested mappings; values are read as YAML.

    Raises:
        UserError: a word without `=`, or a value that is not YAML.
    """
    import yaml

    made: dict[str, Any] = {}
    for word in assignments:
        path, equals, text = word.partition("=")
        keys = path.strip().split(".")
        if not equals or not all(keys):
            raise UserError(f"--set {word}: expected KEY=VALUE, such as train.seed=3.")
        try:
            value: Any = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise UserError(f"--set {word}: expected a YAML value after '=', found {text!r}.") from error
        for key in reversed(keys):
            value = {key: value}
        made = merge(made, value)
    return made


def _choice(value: Any, kind: Any, source: str, where: str) -> Any:
    """The enum member that `value` names."""
    try:
        return kind(value)
    except ValueError:
        words = [str(member.value) for member in kind]
        raise _wrong(source, where, " | ".join(words) + _hint(str(value), words), value) from None


def _sequence(value: Any, arguments: tuple[Any, ...], source: str, where: str) -> tuple[Any, ...]:
    """A list as the tuple that `arguments` describe."""
    if not isinstance(value, (list, tuple)):
        raise _wrong(source, where, "a list", value)
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        arguments = (arguments[0],) * len(value)
    if len(value) != len(arguments):
        raise _wrong(source, where, f"a list of {len(arguments)}", value)
    return tuple(coerce(item, hint, source, where) for item, hint in zip(value, arguments, strict=True))


def _wrong(source: str, where: str, expected: str, found: Any) -> UserError:
    """The error for a value of the wrong kind."""
    return UserError(f"{source}: {where}: expected {expected}, found {found!r}.")


def _unknown(source: str, where: str, key: str, known: Sequence[str]) -> str:
    """The message for a key that does not exist."""
    return f"{source}: unknown option {where!r}; expected one of {', '.join(known)}{_hint(key, known)}."


def _hint(word: str, known: Sequence[str]) -> str:
    """`; did you mean ...?` where a known word is near."""
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""

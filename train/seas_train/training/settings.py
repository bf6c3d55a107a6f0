"""Configuration dataclasses to and from plain JSON values, with errors that name the key."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass, replace
from enum import Enum
from typing import Any, TypeVar, cast

from seas_runtime.errors import UserError

Settings = TypeVar("Settings")


def require(condition: bool, key: str, expected: str, found: object) -> None:
    """Raise a UserError that names a configuration key unless the condition holds."""
    if not condition:
        raise UserError(f"{key}: expected {expected}, found {found}")


def to_plain(settings: Any) -> dict[str, Any]:
    """A configuration dataclass as JSON values: enums by value, tuples as lists."""
    return cast(dict[str, Any], _plain(asdict(settings)))


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def updated(settings: Settings, values: Mapping[str, Any], where: str = "configuration") -> Settings:
    """A copy of a configuration dataclass with some (nested) values replaced, as a YAML file gives them.

    Raises:
        UserError: a key is unknown, or a value has the wrong type or is out of range; the message starts with
        `where`.
    """
    hints = typing.get_type_hints(type(settings))
    known = {field.name for field in fields(cast(Any, settings))}
    changes: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{where}: {key}"
        if key not in known:
            raise UserError(f"{name}: no such option; expected one of {', '.join(sorted(known))}")
        current = getattr(settings, key)
        if is_dataclass(current):
            require(isinstance(value, Mapping), name, "a group of options", repr(value))
            changes[key] = updated(current, value, name)
        else:
            changes[key] = _converted(value, hints[key], name)
    try:
        return cast(Settings, replace(cast(Any, settings), **changes))
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def _converted(value: Any, hint: Any, name: str) -> Any:
    """Turn a JSON value into what a field is declared as."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        (hint,) = (argument for argument in arguments if argument is not type(None))
        return _converted(value, hint, name)
    if origin is tuple:
        require(isinstance(value, (list, tuple)), name, "a list", repr(value))
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return tuple(_converted(item, arguments[0], name) for item in value)
        require(len(value) == len(arguments), name, f"a list of {len(arguments)}", repr(value))
        return tuple(_converted(item, kind, name) for item, kind in zip(value, arguments, strict=True))
    if isinstance(hint, type) and issubclass(hint, Enum):
        choices = [member.value for member in hint]
        require(
            value in choices or isinstance(value, hint),
            name,
            f"one of {', '.join(map(str, choices))}",
            repr(value),
        )
        return hint(value)
    if hint is float:
        if isinstance(value, str):  # YAML reads 4e-6, without a point, as text
            try:
                return float(value)
            except ValueError:
                pass
        require(
            isinstance(value, (int, float)) and not isinstance(value, bool), name, "a number", repr(value)
        )
        return float(value)
    if hint is int:
        require(isinstance(value, int) and not isinstance(value, bool), name, "a whole number", repr(value))
    elif hint is bool:
        require(isinstance(value, bool), name, "true or false", repr(value))
    elif hint is str:
        require(isinstance(value, str), name, "text", repr(value))
    return value

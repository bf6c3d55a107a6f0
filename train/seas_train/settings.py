"""Configuration: dataclasses whose fields name their bounds, and the layers over them: YAML, command line.

Imports nothing heavy, since the command line's options go through here.
"""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, TypeVar

from seas_runtime.errors import UserError
from seas_runtime.files import expanded
from seas_train.foreign_files import TEXT_LIMIT, check_file, decode_text, is_missing

T = TypeVar("T")
SettingsT = TypeVar("SettingsT", bound="Settings")
COMMAND_LINE = "the command line"
_MOST_VALUES = 100_000
_UNIONS = (typing.Union, types.UnionType)


@dataclass(frozen=True)
class Bound:
    """The values that a field may have."""

    words: str
    """For messages: `1 or more`."""
    holds: Callable[[Any], bool]


def at_least(least: float) -> Bound:
    """Numbers from `least` on."""
    return Bound(f"{least} or more", lambda value: value >= least)


def within(least: float, most: float) -> Bound:
    """Numbers from `least` to `most`, both included."""
    return Bound(f"{least} to {most}", lambda value: least <= value <= most)


def one_of(*words: str) -> Bound:
    """Words of a list."""
    return Bound(" | ".join(words), lambda value: value in words)


Count = Annotated[int, at_least(1)]
Whole = Annotated[int, at_least(0)]
Weight = Annotated[float, at_least(0)]
FromOne = Annotated[float, at_least(1)]
Positive = Annotated[float, Bound("more than 0", lambda value: value > 0)]
Share = Annotated[float, Bound("a share in 0..1", lambda value: 0 <= value <= 1)]
Fraction = Annotated[float, Bound("between 0 and 1", lambda value: 0 < value < 1)]


def require(condition: bool, key: str, expected: str, found: object) -> None:
    """Raise a UserError that names an option unless the condition holds."""
    if not condition:
        raise UserError(f"{key}: expected {expected}, found {found!r}.")


class Settings:
    """A configuration dataclass; making it checks each field's bound, as in `Annotated[int, at_least(1)]`.

    Raises:
        UserError: a field is out of its bound; the message begins with its name.
    """

    def __post_init__(self) -> None:
        hints = typing.get_type_hints(type(self), include_extras=True)
        for field in fields(typing.cast(Any, self)):
            hint, value = hints[field.name], getattr(self, field.name)
            kinds = typing.get_args(hint) if typing.get_origin(hint) in _UNIONS else (hint,)
            more = ", or none" if type(None) in kinds else ""
            for bound in (bound for kind in kinds for bound in getattr(kind, "__metadata__", ())):
                require(value is None or bound.holds(value), field.name, f"{bound.words}{more}", value)

    def to_dict(self) -> dict[str, Any]:
        """JSON values: enums by value, paths as text, tuples as lists."""
        made: dict[str, Any] = _plain(asdict(typing.cast(Any, self)))
        return made

    def updated(self: SettingsT, values: Mapping[str, Any], source: str = "configuration") -> SettingsT:
        """A copy with (nested) values replaced; see `overlay`."""
        return overlay(self, values, source)


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def overlay(config: T, values: Mapping[str, Any], source: str, at: str = "") -> T:
    """Return the frozen dataclass `config` with `values` over it; mappings go into nested dataclasses.

    Args:
        config: holds where `values` says nothing.
        values: keys as the dataclass names them.
        source: where the values come from, for messages: a file's name, `the command line`.
        at: dotted path of `config` within the whole, for messages.

    Raises:
        UserError: a key that the dataclass does not have (the nearest one is named), a value of the wrong
            type, or one that the dataclass's own check refuses.
    """
    assert is_dataclass(config)
    assert not isinstance(config, type)
    hints = typing.get_type_hints(type(config))
    known = [field.name for field in fields(config) if field.init]
    changes = {}
    for key, value in values.items():
        where = f"{at}.{key}" if at else str(key)
        if key not in known:
            options = ", ".join(known)
            raise UserError(
                f"{source}: unknown option {where!r}; expected one of {options}{_hint(str(key), known)}."
            )
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
        raise UserError(f"{source}: {at}.{error}" if at else f"{source}: {error}") from None


def coerce(value: Any, hint: Any, source: str, where: str) -> Any:
    """Return `value` as the type `hint`, or raise UserError; only 1 -> 1.0 and "4e-6" -> 4e-6 are guessed."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in _UNIONS:
        if value is None and type(None) in arguments:
            return None
        return _first_that_fits(value, [a for a in arguments if a is not type(None)], source, where)
    if hint is Any:
        return value
    if origin is tuple:
        return _sequence(value, arguments, source, where)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise _wrong(source, where, "a mapping of options", value)
        return dict(value)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return choice(hint, value, where, source)
    if hint in (bool, int, str) and type(value) is hint:  # bool is an int to isinstance
        return value
    if hint is float and not isinstance(value, bool):
        try:
            return float(value)  # YAML 1.1 reads 4e-6 as a string
        except (TypeError, ValueError):
            pass
    if hint is Path and isinstance(value, (str, Path)):
        return expanded(Path(value), where)
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "text", Path: "a path"}
    raise _wrong(source, where, names.get(hint, str(hint)), value)


def _first_that_fits(value: Any, kinds: Sequence[Any], source: str, where: str) -> Any:
    """The value as the first of several types that takes it; where none does, each says what it expects."""
    refused = []
    for kind in kinds:
        try:
            return coerce(value, kind, source, where)
        except UserError as error:
            refused.append(error)
    if len(refused) == 1:
        raise refused[0]
    expected = [str(error).partition("expected ")[2].rpartition(", found ")[0] for error in refused]
    raise _wrong(source, where, " or ".join(expected), value)


def choice(kind: type[T], value: Any, option: str, source: str = COMMAND_LINE) -> T:
    """Return the member of the enum `kind` that an option's word names, or raise UserError."""
    members: Any = kind
    try:
        made: T = members(value)
    except ValueError:
        words = [str(member.value) for member in members]
        raise _wrong(source, option, " | ".join(words) + _hint(str(value), words), value) from None
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

    if not is_missing(file):
        check_file(file, "a YAML file", TEXT_LIMIT, "--config")
    try:
        values = yaml.safe_load(decode_text(file.read_bytes()))
        _check_extent(values, file)
    except RecursionError:
        raise UserError(f"--config {file}: expected YAML, found some nested too deeply to be read") from None
    except OSError as error:
        raise UserError(
            f"--config {file}: expected a YAML file, found: {error.strerror or error}. Name one that exists."
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"--config {file}: expected YAML, found: {' '.join(str(error).split())}") from error
    if values is not None and not isinstance(values, dict):
        raise UserError(
            f"--config {file}: expected keys and values (product: bottle), found {type(values).__name__}."
        )
    return values or {}


def _check_extent(values: Any, file: Path) -> None:
    """Refuse a few lines that stand for millions of values, by references to references."""
    pending, count = [values], 0
    while pending:
        value = pending.pop()
        count += 1
        if count > _MOST_VALUES:
            raise UserError(f"--config {file}: expected at most {_MOST_VALUES} values, found more")
        if isinstance(value, dict):
            pending += value.values()
        elif isinstance(value, list):
            pending += value


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
    return UserError(f"{source}: {where}: expected {expected}, found {found!r}.")


def _hint(word: str, known: Sequence[str]) -> str:
    """`; did you mean ...?` where a known word is near."""
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""

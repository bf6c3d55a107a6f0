"""Where a command's words go: its report to stdout, everything else to stderr."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TextIO, TypeVar

from seas_runtime.errors import CheckFailed
from seas_runtime.files import expanded
from seas_runtime.printable import printable

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

P = ParamSpec("P")
R = TypeVar("R")


class _State:
    """What the running command left for the entry point: the real stdout, and how to go on after Ctrl-C."""

    stdout: TextIO | None = None
    how_to_continue: str = ""


def how_to_continue() -> str:
    """The sentence that the running command gives after Ctrl-C; empty where no command has begun."""
    return _State.how_to_continue


def command(continue_by: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a function a command: only `report` reaches stdout, and Ctrl-C ends with `continue_by`."""

    def wrap(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            _State.how_to_continue = continue_by
            for name, value in kwargs.items():
                if isinstance(value, Path):  # a shell leaves `--out=~/x` as it is
                    kwargs[name] = expanded(value, f"--{name.replace('_', '-')}")
            with _stdout_kept_for_reports():
                return function(*args, **kwargs)

        return run

    return wrap


def say(text: str, style: str | None = None) -> None:
    """Print a line for the person who watches, to stderr."""
    console(sys.stderr).print(text, style=style, soft_wrap=True)


def report(data: Any, text: RenderableType, as_json: bool) -> None:
    """Print a command's result to stdout: `data` (mapping or dataclass) as JSON, or `text`."""
    stream = _State.stdout or sys.stdout
    try:
        if as_json:
            values = data if isinstance(data, Mapping) else asdict(data)
            stream.write(json.dumps(values, indent=2, default=str) + "\n")
        else:
            console(stream).print(text, soft_wrap=isinstance(text, str))
        stream.flush()
    except BrokenPipeError:  # its reader went away, and wants no words
        raise
    except OSError as error:
        raise CheckFailed(
            f"the command is done, but its report cannot be written to standard output: {error.strerror}"
        ) from None


def console(stream: TextIO) -> Console:
    """A rich console that prints what it is given: no markup, and 110 columns where there is no terminal.

    Text comes from files too: characters that a terminal would obey are escaped here, whatever is printed.
    """
    from rich.console import Console

    class Harmless(Console):
        """Escapes all text before it is laid out; how a command ends whose reader went away is left to us."""

        def render_str(self, text: str, **options: Any) -> Text:
            return super().render_str(printable(text, keep="\n"), **options)

        def on_broken_pipe(self) -> None:
            raise

    return Harmless(
        file=stream, markup=False, highlight=False, emoji=False, width=None if stream.isatty() else 110
    )


def table(*columns: str, rows: list[tuple[Any, ...]], title: str | None = None) -> RenderableType:
    """A plain rich table; every column but the first is right-aligned where its cells are numbers."""
    from rich.box import SIMPLE
    from rich.table import Table

    made = Table(box=SIMPLE, title=title, title_justify="left", pad_edge=False)
    for index, column in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[index], (int, float)) for row in rows)
        made.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        made.add_row(*(_cell(value) for value in row))
    return made


def group(*parts: RenderableType) -> RenderableType:
    """Several renderables, one below the other."""
    from rich.console import Group

    return Group(*parts)


def _cell(value: Any) -> str:
    """A value as a table shows it, in one line."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else printable(str(value))


@contextlib.contextmanager
def _stdout_kept_for_reports() -> Iterator[None]:
    """Send what libraries print to stdout, natively too, to stderr instead."""
    real = sys.stdout
    descriptor = _descriptor(real)
    kept = None
    if descriptor == 1:
        real.flush()
        kept = os.dup(1)
        os.dup2(2, 1)
        _State.stdout = os.fdopen(os.dup(kept), "w", encoding="utf-8", errors="backslashreplace")
    else:
        _State.stdout = real
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        if kept is not None:
            with contextlib.suppress(OSError):
                _State.stdout.close()
            os.dup2(kept, 1)
            os.close(kept)
        _State.stdout = None


def _descriptor(stream: TextIO) -> int | None:
    """The file descriptor under a stream, None where it has none."""
    try:
        return stream.fileno()
    except (OSError, ValueError, AttributeError):
        return None

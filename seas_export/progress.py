"""Progress of long work, to stderr."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from seas_runtime.printable import printable

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


@contextlib.contextmanager
def pairs_progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a function of (done, total) that moves a bar, or says nothing where nobody watches."""
    from rich.progress import TimeRemainingColumn

    bar = _bar()
    bar.columns = (*bar.columns, TimeRemainingColumn())
    with bar:
        task = bar.add_task(printable(what), total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextlib.contextmanager
def build_progress() -> Iterator[Callable[[str, str, int, int], None]]:
    """Yield a function of (graph, phase, done, total): one bar for each phase of the build at hand."""
    bar = _bar(transient=True)
    tasks: dict[tuple[str, str], TaskID] = {}

    def show(graph: str, phase: str, done: int, total: int) -> None:
        for other, task in list(tasks.items()):
            if other[0] != graph:  # the last graph is done
                bar.remove_task(task)
                del tasks[other]
        if (graph, phase) not in tasks:
            tasks[graph, phase] = bar.add_task(printable(f"{graph}: {phase}"), total=None)
        bar.update(tasks[graph, phase], completed=done, total=total or None)

    with bar:
        yield show


def _bar(transient: bool = False) -> Progress:
    """A bar on stderr: what is done, how much of it, since when."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    watched = sys.stderr.isatty()
    return Progress(*columns, console=Console(file=sys.stderr), disable=not watched, transient=transient)

"""Progress of work on pairs, to stderr."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def pairs_progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a function of (done, total) that moves a bar, or says nothing where nobody watches."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=Console(file=sys.stderr),
        disable=not sys.stderr.isatty(),
    )
    with bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextlib.contextmanager
def build_progress() -> Iterator[Callable[[str, str, int, int], None]]:
    """Yield a function of (graph, phase, done, total): one bar for each phase of the build at hand."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(file=sys.stderr),
        disable=not sys.stderr.isatty(),
        transient=True,
    )
    tasks: dict[tuple[str, str], TaskID] = {}

    def show(graph: str, phase: str, done: int, total: int) -> None:
        for other, task in list(tasks.items()):
            if other[0] != graph:  # the last graph is done
                bar.remove_task(task)
                del tasks[other]
        if (graph, phase) not in tasks:
            tasks[graph, phase] = bar.add_task(f"{graph}: {phase}", total=None)
        bar.update(tasks[graph, phase], completed=done, total=total or None)

    with bar:
        yield show

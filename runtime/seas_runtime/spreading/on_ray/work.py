"""Which tasks are given to which workers, taken back, given again, and handed on in their order."""

from __future__ import annotations

import dataclasses
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from seas_runtime.errors import CheckFailed
from seas_runtime.spreading.contract import Made, Opened, Task
from seas_runtime.spreading.processes import AHEAD, WINDOW

MOST_TRIES = 8
"""Workers that may die over the same task before the run is given up: it is the task's fault then."""
DAWDLING = 3.0
"""Times the mean time of tasks after which one is given to an idle worker too."""


@dataclasses.dataclass(eq=False)
class Hand:
    """A worker as the pool sees it."""

    actor: Any
    opening: Any
    """A reference to what it says of itself; None once it has."""
    opened: Opened | None = None
    tasks: dict[int, float] = dataclasses.field(default_factory=dict)
    """When it was given each, by number."""


class Work:
    """Which tasks are given, to whom, and done; whoever is first with one wins."""

    def __init__(self, tasks: Iterator[Task]) -> None:
        self._tasks = tasks
        self._open: dict[int, Task] = {}
        self._again: deque[int] = deque()
        self._given = 0
        self._turn = 0
        self._done: dict[int, Made] = {}
        self._tries: dict[int, int] = {}
        self._holders: dict[int, set[Hand]] = {}
        self._seconds = [0.0, 0.0]  # spent on tasks that are done, and how many
        self._ended = False

    @property
    def is_done(self) -> bool:
        """Whether every task has given its result, and that was handed on."""
        return self._ended and not self._open and not self._done

    def given(self, hands: Sequence[Hand]) -> Iterator[tuple[Hand, int, Task]]:
        """Yield what to give to whom: what came back first, then fresh tasks, then what dawdles elsewhere."""
        end = self._turn + WINDOW * max(1, len(hands))
        while hands and len((hand := min(hands, key=lambda one: len(one.tasks))).tasks) < AHEAD:
            number = self._next(hand, end)
            if number is None:
                return
            hand.tasks[number] = time.monotonic()
            self._holders.setdefault(number, set()).add(hand)
            yield hand, number, self._open[number]

    def _next(self, hand: Hand, end: int) -> int | None:
        if self._again:
            return self._again.popleft()
        if not self._ended and self._given < end:
            task = next(self._tasks, None)
            if task is not None:
                self._open[self._given] = task
                self._given += 1
                return self._given - 1
            self._ended = True
        return None if hand.tasks else self._dawdling()

    def _dawdling(self) -> int | None:
        """Return the first task that one worker alone has, and has had for far longer than tasks take."""
        spent, count = self._seconds
        if not count:
            return None
        now = time.monotonic()
        for number in sorted(self._open):
            holders = self._holders.get(number, set())
            if len(holders) == 1:
                (holder,) = holders
                if now - holder.tasks[number] > DAWDLING * AHEAD * spent / count:
                    return number
        return None

    def give_back(self, hand: Hand) -> None:
        """Take what a worker had that is gone."""
        for number in sorted(hand.tasks):
            self._holders[number].discard(hand)
            if number in self._open and not self._holders[number]:
                self._tries[number] = self._tries.get(number, 0) + 1
                if self._tries[number] >= MOST_TRIES:
                    raise CheckFailed(
                        f"--ray: {MOST_TRIES} workers died over the same pairs; is there enough memory? Run "
                        "the command again to continue, with a smaller --batch"
                    )
                self._again.append(number)
        hand.tasks.clear()

    def finish(self, hand: Hand, number: int, made: Made) -> None:
        """Take a result; that of a task that another worker was first with is dropped."""
        begun = hand.tasks.pop(number)
        self._holders[number].discard(hand)
        self._seconds[0] += time.monotonic() - begun
        self._seconds[1] += 1
        if number in self._open:
            del self._open[number]
            self._done[number] = made

    def in_order(self) -> Iterator[Made]:
        """Yield the results whose turn it is."""
        while self._turn in self._done:
            self._turn += 1
            yield self._done.pop(self._turn - 1)

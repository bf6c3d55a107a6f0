"""Workers as processes of this machine, one a device."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import multiprocessing
import os
import signal
import threading
import traceback
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from seas_runtime.backends.contract import Watch
from seas_runtime.errors import CheckFailed, UserError
from seas_runtime.spreading.contract import Job, Made, Opened, Task
from seas_runtime.spreading.devices import Device

logger = logging.getLogger(__name__)

AHEAD = 2
"""Tasks that a worker has at a time: one is made while the pictures of another are encoded."""
WINDOW = 8
"""Tasks a worker that are under way or wait for an earlier one at most: the bound on results in memory."""
MOST_DEATHS = 8
"""Workers that may die, by the system for want of memory or by hand, before the run is given up."""
_TICK = 0.1  # seconds


@dataclasses.dataclass(eq=False)
class _Hand:
    """A worker as the pool sees it."""

    device: Device
    process: BaseProcess
    wire: Connection
    tasks: dict[int, Task] = dataclasses.field(default_factory=dict)


class Processes:
    """A crew of processes. One that dies is replaced, and what it was at is made again."""

    def __init__(self, devices: Sequence[Device]) -> None:
        self._devices = devices
        self._hands: list[_Hand] = []
        self._job: Job | None = None
        self._deaths = 0
        self._given = 0

    def start(self, job: Job) -> list[Opened]:
        """Start a process a device; UserError for the first that cannot make pairs."""
        self._job = job
        self._hands = [_start(job, device) for device in self._devices]
        return [_opened(hand) for hand in self._hands]

    def run(self, tasks: Iterator[Task], watch: Watch) -> Iterator[Made]:
        """Yield what tasks gave, in their order."""
        self._given = 0
        again: deque[tuple[int, Task]] = deque()
        done: dict[int, Made] = {}
        turn = 0
        while True:
            self._feed(tasks, again, turn + WINDOW * len(self._hands))
            busy = [hand for hand in self._hands if hand.tasks]
            if not busy and not done:
                return
            for wire in wait([hand.wire for hand in busy], _TICK):
                hand = next(hand for hand in busy if hand.wire is wire)
                try:
                    number, made = _received(hand)
                except EOFError:
                    again.extend(sorted(hand.tasks.items()))
                    self._replace(hand)
                else:
                    del hand.tasks[number]
                    done[number] = made
            watch()
            while turn in done:
                self._feed(tasks, again, turn + WINDOW * len(self._hands))
                yield done.pop(turn)
                turn += 1

    def close(self) -> None:
        """End all workers."""
        for hand in self._hands:
            hand.wire.close()
            hand.process.kill()
        for hand in self._hands:
            hand.process.join()
        self._hands = []

    def _feed(self, tasks: Iterator[Task], again: deque[tuple[int, Task]], end: int) -> None:
        """Give tasks before number `end` to the workers that have fewest, what a dead one left first."""
        while len((hand := min(self._hands, key=lambda one: len(one.tasks))).tasks) < AHEAD:
            if again:
                number, task = again.popleft()
            elif self._given < end and (fresh := next(tasks, None)) is not None:
                number, task = self._given, fresh
                self._given += 1
            else:
                return
            hand.tasks[number] = task
            with contextlib.suppress(OSError):  # it is dead: reading from it tells
                hand.wire.send((number, task))

    def _replace(self, hand: _Hand) -> None:
        assert self._job is not None
        hand.process.join()
        self._deaths += 1
        words = f"the process of {hand.device.name} ended, exit code {hand.process.exitcode}"
        if self._deaths > MOST_DEATHS:
            raise CheckFailed(
                f"{words}, and {MOST_DEATHS} before it; is there enough memory? Run the command again to "
                "continue, with fewer devices or a smaller --batch"
            )
        logger.warning("%s; another one takes its place", words)
        fresh = _start(self._job, hand.device)
        self._hands[self._hands.index(hand)] = fresh
        hand.wire.close()
        _opened(fresh)


def _start(job: Job, device: Device) -> _Hand:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    threads = dataclasses.replace(job, threads=device.threads or job.threads)
    process = context.Process(target=_work, args=(theirs, threads, device), daemon=True, name=device.name)
    process.start()
    theirs.close()  # so that its end is seen here
    return _Hand(device, process, ours)


def _opened(hand: _Hand) -> Opened:
    try:
        opened: Opened = _received(hand)
    except EOFError:
        hand.process.join()
        raise CheckFailed(
            f"the process of {hand.device.name} ended as it opened the bundle, exit code "
            f"{hand.process.exitcode}; is there enough memory? Give fewer devices"
        ) from None
    return opened


def _received(hand: _Hand) -> Any:
    """Return what a worker sent; raise what it raised, and EOFError where it is dead."""
    try:
        sent = hand.wire.recv()
    except OSError as error:
        raise EOFError from error
    if isinstance(sent, BaseException):
        raise sent
    return sent


def _work(wire: Connection, job: Job, device: Device) -> None:
    """Be a worker: open the bundle, then make the pairs of tasks until the wire is cut."""
    from seas_runtime.spreading.worker import Worker

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the one who gave the command ends us
    threading.Thread(target=_end_with_parent, daemon=True).start()
    device.take()
    lock = threading.Lock()

    def send(value: Any) -> None:
        with lock, contextlib.suppress(OSError):
            wire.send(value)

    try:
        worker = Worker(job)
    except BaseException as error:
        return send(sendable(error))
    send(worker.opened)

    def make(number: int, task: Task) -> None:
        try:
            send((number, worker.make(task)))
        except BaseException as error:
            send(sendable(error))

    with ThreadPoolExecutor(AHEAD) as pool, contextlib.suppress(EOFError, OSError):
        while True:
            pool.submit(make, *wire.recv())


def sendable(error: BaseException) -> Exception:
    """Return an error as another process can take it: a UserError or CheckFailed as they are."""
    for kind in (UserError, CheckFailed):
        if isinstance(error, kind):
            return kind(str(error))
    return RuntimeError("".join(traceback.format_exception(error)).strip())


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)

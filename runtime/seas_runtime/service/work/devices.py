"""A device: its process, the jobs that it takes from the queue, and the photographs that it is asked for."""

from __future__ import annotations

import itertools
import json
import logging
import os
import queue as queues
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seas_runtime.errors import CheckFailed, UserError
from seas_runtime.packages import child_environment
from seas_runtime.service.settings import PREFIX
from seas_runtime.service.state.folder import StateFolder
from seas_runtime.service.state.queue import Job, Queue, Status

logger = logging.getLogger(__name__)

_DEATHS = 3
"""How often a process may end by itself in a job, without a pair more, before the job is given up."""
_LOOK = 0.5  # seconds between two looks at what a person wishes


@dataclass(frozen=True)
class Surroundings:
    """What a device is told of the service."""

    state: StateFolder
    queue: Queue
    find_bundle: Callable[[str], Path]
    """The folder of a fingerprint; UserError where there is none."""
    room: Callable[[], str | None]
    """Why nothing may be written now; None where it may."""
    made: Callable[[Job], None]
    """Called when a job has pairs more."""
    over: Callable[[Job], None]
    """Called when a job is over."""


class Device:
    """Runs one job at a time in a process of its own, which is made again where it ends."""

    def __init__(self, name: str, around: Surroundings, threads: int | None, key: Path | None) -> None:
        self.name = name
        self.backend, _, self._number = name.partition(":")
        self._around, self._threads, self._key = around, threads, key
        self._stopping = threading.Event()
        self._process: subprocess.Popen[str] | None = None
        self._sending = threading.Lock()
        self._events: queues.Queue[dict[str, Any]] = queues.Queue()
        self._tickets = itertools.count()
        self._waiting: dict[int, Future[dict[str, Any]]] = {}
        self._deaths: dict[str, tuple[int, int]] = {}  # by job: how often, and how many pairs there were
        self.job: str | None = None
        self._thread = threading.Thread(target=self._run, name=f"device {name}", daemon=True)

    def start(self) -> None:
        """Begin to take jobs."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether it takes jobs."""
        return self._thread.is_alive()

    def stop(self, seconds: float) -> None:
        """Stop at the next step, or after so many seconds wherever it stands; the job waits in the queue."""
        self._stopping.set()
        with self._around.queue.changed:
            self._around.queue.changed.notify_all()
        self._thread.join(seconds)
        if (process := self._process) is not None:
            process.kill()
            process.wait()
        self._thread.join(2.0)

    def place(self, **order: Any) -> Future[dict[str, Any]]:
        """Ask for one pair; the result is what the worker says of it."""
        future: Future[dict[str, Any]] = Future()
        with self._sending:
            ticket = next(self._tickets)
            self._waiting[ticket] = future
        try:
            self._send(do="place", ticket=ticket, **order)
        except OSError:
            self._waiting.pop(ticket, None)
            future.set_exception(CheckFailed("the worker is being started again; ask once more"))
        return future

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                job = None if self._around.room() else self._around.queue.take(self.name, self.backend)
                if job is not None:
                    self._do(job)
                    continue
            except Exception:
                logger.exception("device %s", self.name)
                self._stopping.wait(1.0)
            with self._around.queue.changed:
                if not self._stopping.is_set():
                    self._around.queue.changed.wait(1.0)

    def _do(self, job: Job) -> None:
        """Run a job until it is over, or stopped, or the process ends."""
        queue = self._around.queue
        try:
            bundle = self._around.find_bundle(job.request["bundle"])
        except UserError as error:
            return self._end(job, Status.FAILED, str(error))
        self._events = queues.Queue()  # nothing of an earlier process
        self.job = job.id
        try:
            folder = self._around.state.job(job.id)
            self._send(do="job", job=job.id, bundle=str(bundle), folder=str(folder), request=job.request)
            self._follow(job)
        except OSError:  # the process ended meanwhile
            queue.end(job.id, Status.QUEUED)
        finally:
            self.job = None

    def _follow(self, job: Job) -> None:
        queue, told = self._around.queue, False
        while True:
            now = queue.get(job.id) or job
            if not told and (now.wish or self._stopping.is_set()):
                self._send(do="stop")
                told = True
            try:
                event = self._events.get(timeout=_LOOK)
            except queues.Empty:
                continue
            if event.get("job") not in (None, job.id):
                continue
            if event["event"] == "progress":
                queue.progress(job.id, event["done"], event["total"])
                self._around.made(now)
            elif event["event"] == "ended":
                return self._ended(now, event)
            elif event["event"] == "gone":
                return self._died(now, event["code"])

    def _ended(self, job: Job, event: dict[str, Any]) -> None:
        self._around.made(job)
        wish = (self._around.queue.get(job.id) or job).wish
        if event["status"] == "stopped":
            status = {"pause": Status.PAUSED, "cancel": Status.CANCELLED}.get(wish or "", Status.QUEUED)
            return self._end(job, status)
        if event["status"] == "full":
            words = "the disk is full; what is made is whole. Make space, then resume the job"
            return self._end(job, Status.PAUSED, words)
        self._end(job, Status.DONE if event["status"] == "done" else Status.FAILED, event["message"])

    def _died(self, job: Job, code: int) -> None:
        if self._stopping.is_set():
            return self._around.queue.end(job.id, Status.QUEUED)
        times, done = self._deaths.get(job.id, (0, -1))
        times = 1 if job.done > done else times + 1
        self._deaths[job.id] = times, job.done
        if times < _DEATHS:
            logger.warning("device %s: its process ended (%s); job %s goes on", self.name, code, job.id)
            return self._end(job, Status.QUEUED)
        how = (
            f"signal {-code}" + (", as when memory runs out" if code == -9 else "") if code < 0 else f"{code}"
        )
        self._end(job, Status.FAILED, f"the process that generates ended {times} times by itself ({how})")

    def _end(self, job: Job, status: Status, message: str | None = None) -> None:
        if message is not None:  # for people elsewhere: without this machine's folders
            message = message.replace(f"{self._around.state.root}{os.sep}", "")
        self._around.queue.end(job.id, status, message)
        after = self._around.queue.get(job.id)
        if after is not None and after.over:
            self._deaths.pop(job.id, None)
            self._around.over(after)

    def _send(self, **order: Any) -> None:
        with self._sending:
            if self._process is None or self._process.poll() is not None:
                self._process = self._started()
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()

    def _started(self) -> subprocess.Popen[str]:
        environment = {
            name: value for name, value in child_environment().items() if not name.startswith(PREFIX)
        }
        if self._number:
            environment["CUDA_VISIBLE_DEVICES"] = self._number
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "seas_runtime.service.work.worker", self.backend),
                *(str(self._threads or ""), str(self._key or "")),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env=environment,
        )
        threading.Thread(target=self._read, args=(process,), daemon=True).start()
        return process

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            event = json.loads(line)
            if event["event"] == "placed":
                if (future := self._waiting.pop(event["ticket"], None)) is not None:
                    future.set_result(event)
            else:
                self._events.put(event)
        code = process.wait()
        self._events.put({"event": "gone", "code": code})
        for ticket in list(self._waiting):
            if (future := self._waiting.pop(ticket, None)) is not None and not future.done():
                future.set_exception(CheckFailed("the process that generates ended; ask once more"))

"""The process that generates: `python -m seas_runtime.service.work.worker BACKEND THREADS KEY`.

It reads a line of JSON for each thing to do, and writes one for each thing that happened. Where the service
is gone, its standard input ends, and so does it, at once: what it wrote is whole at every moment.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import queue
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TextIO

from seas_runtime.errors import CheckFailed, UserError
from seas_runtime.files import locked
from seas_runtime.generation.generator import Generator
from seas_runtime.generation.loop import unwatched
from seas_runtime.generation.records import GeneratedPair
from seas_runtime.methods.request import PairRequest
from seas_runtime.service.state.pairs import DATASET
from seas_runtime.service.work.asked import ONTO_FOLDER, Asked

_EVERY = 0.2
"""Seconds between two notes of progress."""
_PATIENCE = 20.0
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Stopped(Exception):
    """A job is paused or cancelled."""


class Worker:
    """Does one thing after another, but for photographs that are asked for at once: between two batches."""

    def __init__(self, backend: str, threads: int | None, key: Path | None, say: TextIO) -> None:
        self._backend, self._threads, self._key, self._say = backend, threads, key, say
        self._orders: queue.Queue[dict[str, Any]] = queue.Queue()
        self._urgent: queue.Queue[dict[str, Any]] = queue.Queue()
        self._stop = threading.Event()
        self._open: tuple[tuple[str, str | None], StoppableGenerator] | None = None

    def listen(self, lines: Iterable[str]) -> None:
        """Take orders until there are no more; then end the process."""
        for line in lines:
            order = json.loads(line)
            if order["do"] == "stop":
                self._stop.set()
            elif order["do"] == "place":
                self._urgent.put(order)
                self._orders.put({"do": "urgent"})
            else:
                self._orders.put(order)
        os._exit(0)

    def run(self) -> None:
        """Carry out orders, for ever."""
        self.tell(event="ready")
        while True:
            order = self._orders.get()
            if order["do"] == "job":
                self._job(order)
            self._place_all()

    def tell(self, **event: Any) -> None:
        """Say what happened."""
        self._say.write(json.dumps(event) + "\n")
        self._say.flush()

    def heed(self) -> None:
        """Raise Stopped where the job in the making is to stop."""
        if self._stop.is_set():
            raise Stopped

    def _job(self, order: dict[str, Any]) -> None:
        self._stop.clear()
        status, message = "failed", None
        try:
            self._generate(order)
            status = "done"
        except Stopped:
            status = "stopped"
        except Exception as error:
            message = _words(error)
            cause = error if isinstance(error, OSError) else error.__cause__
            if isinstance(cause, OSError) and cause.errno in _FULL:
                status = "full"
        self.tell(event="ended", job=order["job"], status=status, message=message)

    def _generate(self, order: dict[str, Any]) -> None:
        from seas_runtime.dataset.writing import write_dataset

        folder, asked = Path(order["folder"]), Asked.from_dict(order["request"])
        generator = self._generator(order["bundle"], str(folder / ONTO_FOLDER) if asked.of_a_set else None)
        said = 0.0

        def progress(done: int, total: int) -> None:
            nonlocal said
            if done == total or time.monotonic() - said > _EVERY:
                self.tell(event="progress", job=order["job"], done=done, total=total)
                said = time.monotonic()
            self.heed()
            self._place_all()

        _wait_for(folder / DATASET)
        write_dataset(generator, asked.request(generator.bundle, folder), folder / DATASET, progress)

    def _place_all(self) -> None:
        """Answer those who wait for a pair in their own photograph."""
        while True:
            try:
                order = self._urgent.get_nowait()
            except queue.Empty:
                return
            try:
                self.tell(event="placed", ticket=order["ticket"], **self._place(order))
            except Exception as error:
                wrong = isinstance(error, UserError)
                self.tell(event="placed", ticket=order["ticket"], error=_words(error), mistake=wrong)

    def _place(self, order: dict[str, Any]) -> dict[str, Any]:
        from seas_runtime.photographs.png import encode_picture
        from seas_runtime.photographs.reading import read_photograph

        photograph, out = Path(order["photograph"]), Path(order["out"])
        generator = self._generator(order["bundle"], None, any_photographs=True)
        pair = generator.place(read_photograph(photograph).pixels, order["defect"], seed=order["seed"])
        (out / "image.png").write_bytes(encode_picture(pair.image))
        (out / "mask.png").write_bytes(encode_picture(pair.mask))
        return {"record": pair.record.to_dict()}

    def _generator(self, bundle: str, onto: str | None, any_photographs: bool = False) -> StoppableGenerator:
        """Return a generator on a bundle, the one that is loaded where it is the same."""
        if self._open is not None:
            (held, held_onto), generator = self._open
            if held == bundle and (any_photographs or held_onto == onto):
                return generator
        self._open = None  # frees its memory before the next one is loaded
        opened = StoppableGenerator.open(
            Path(bundle), self._backend, self._threads, require_signature=self._key
        )
        assert isinstance(opened, StoppableGenerator)
        opened.worker = self
        if onto is not None:
            opened.draw_onto(Path(onto))
        self._open = (bundle, onto), opened
        return opened


class StoppableGenerator(Generator):
    """A generator whose batches can be stopped between two graphs."""

    worker: Worker | None = None

    def generate_batches(
        self, batches: Iterable[Sequence[PairRequest]], watch: Any = unwatched
    ) -> Iterator[list[GeneratedPair]]:
        """As a generator's; `watch` heeds what the worker is told too."""

        def both() -> None:
            if self.worker is not None:
                self.worker.heed()
            watch()

        return super().generate_batches(batches, both)


def _wait_for(dataset: Path) -> None:
    """Wait for the process of a service that was killed: it ends by itself, and lets go of the folder."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            with locked(dataset, f"{dataset}: another process is writing it"):
                return
        except UserError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _words(error: Exception) -> str:
    """What went wrong: a mistake as it is said, a fault with its kind."""
    if isinstance(error, (UserError, CheckFailed)):
        return str(error)
    logging.getLogger(__name__).error("fault", exc_info=error)
    return f"unexpected {type(error).__name__}: {' '.join(str(error).split())[:300] or 'no message'}"


def main() -> None:
    """Work until the service is gone."""
    backend, threads, key = sys.argv[1:4]
    say = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is for the log
    lines = os.fdopen(os.dup(0), encoding="utf-8")
    worker = Worker(backend, int(threads) if threads else None, Path(key) if key else None, say)
    threading.Thread(target=worker.listen, args=(lines,), daemon=True).start()
    worker.run()


if __name__ == "__main__":
    main()

"""Keeps the disk from filling: old jobs go, and nothing is begun where there is no room."""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time
from pathlib import Path

from seas_runtime.service.settings import ServiceSettings
from seas_runtime.service.state.folder import StateFolder
from seas_runtime.service.state.queue import Job, Queue
from seas_runtime.service.work.measures import Measures

logger = logging.getLogger(__name__)

_EVERY = 600.0  # seconds
_GB = 1e9


class Upkeep:
    """Looks at the state folder's size every ten minutes."""

    def __init__(
        self, settings: ServiceSettings, state: StateFolder, queue: Queue, measures: Measures
    ) -> None:
        self._settings, self._state, self._queue, self._measures = settings, state, queue, measures
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="upkeep", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stop.set()

    def room(self) -> str | None:
        """Return why nothing may be written now; None where there is room."""
        free = self._state.free_bytes() / _GB
        if free >= self._settings.min_free_gb:
            return None
        return (
            f"disk: {free:.1f} GB are free, and min_free_gb asks for {self._settings.min_free_gb:g}; remove "
            "jobs that were downloaded, or make space"
        )

    def remove(self, job: Job) -> None:
        """Remove a job that is over, with its pairs."""
        folder = self._state.job(job.id)
        self._queue.remove(job.id)
        self._measures.forget(job.id)
        shutil.rmtree(folder, ignore_errors=True)

    def sweep(self) -> list[str]:
        """Remove jobs that the limits of age and size do not keep; return their names."""
        ended = [job for job in reversed(self._queue.newest(limit=1_000_000)) if job.over]
        gone = []
        if (days := self._settings.keep_days) is not None:
            before = time.time() - days * 86400
            gone += [job for job in ended if job.ended is not None and job.ended < before]
        if (most := self._settings.keep_gb) is not None:
            sizes = {job.id: _size(self._state.job(job.id)) for job in ended}
            total = sum(sizes.values()) - sum(sizes[job.id] for job in gone)
            for job in ended:  # the oldest first
                if total <= most * _GB:
                    break
                if job not in gone:
                    gone.append(job)
                    total -= sizes[job.id]
        for job in gone:
            logger.info("job %s is removed: keep_days and keep_gb", job.id)
            self.remove(job)
        return [job.id for job in gone]

    def _run(self) -> None:
        while not self._stop.wait(_EVERY):
            try:
                self.sweep()
            except Exception:
                logger.exception("upkeep")


def _size(folder: Path) -> int:
    """Return the bytes of a folder's files; of linked photographs none that others hold too."""
    total = 0
    for place, _, files in os.walk(folder):
        for name in files:
            try:
                found = Path(place, name).lstat()
            except OSError:
                continue
            total += found.st_size if found.st_nlink == 1 else 0
    return total

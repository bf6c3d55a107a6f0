"""The service without its API: what it knows, and what runs while it is on."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

from seas_runtime.bundle.reading import Bundle
from seas_runtime.errors import UserError
from seas_runtime.files import atomic_write_bytes, os_errors
from seas_runtime.service.assets.library import Bundles, Photographs
from seas_runtime.service.assets.pictures import size_of
from seas_runtime.service.refusals import NoRoom, NotThere
from seas_runtime.service.settings import ServiceSettings
from seas_runtime.service.state.audit import Audit
from seas_runtime.service.state.folder import StateFolder
from seas_runtime.service.state.pairs import JobPairs, PairsOfJobs
from seas_runtime.service.state.queue import Job, Queue, Status
from seas_runtime.service.state.tokens import Tokens
from seas_runtime.service.work.asked import LEGAL_NAME, ONTO_FOLDER, Asked, check_asked
from seas_runtime.service.work.devices import Device, Surroundings
from seas_runtime.service.work.measures import Measures, machine_gauges
from seas_runtime.service.work.upkeep import Upkeep
from seas_runtime.service.work.webhook import send_later

logger = logging.getLogger(__name__)

STOP_SECONDS = 6.0
"""For the running batch to come to its next step; the system asks for an end within ten."""


class Box:
    """Everything of one service. `running` opens the state folder and starts the workers."""

    def __init__(self, settings: ServiceSettings) -> None:
        settings = replace(settings, state=settings.state.absolute(), bundles=settings.bundles.absolute())
        self.settings = settings
        self.state = StateFolder(settings.state)
        self.tokens = Tokens(self.state.tokens)
        self.audit = Audit(self.state.audit)
        self.bundles = Bundles(settings, self.state)
        self.photographs = Photographs(settings, self.state)
        self.pairs = PairsOfJobs()
        self.measures = Measures()
        self.began = time.time()
        self.stopping = threading.Event()
        self.queue: Queue
        self.upkeep: Upkeep
        self.devices: Sequence[Device] = ()

    @contextlib.contextmanager
    def running(self) -> Iterator[Box]:
        """Keep the service's parts going while the block runs."""
        if not self.settings.bundles.is_dir():
            raise UserError(
                f"--bundles {self.settings.bundles}: expected a folder of bundles, such as out, found "
                f"{'a file' if self.settings.bundles.exists() else 'nothing'}"
            )
        with self.state.opened():
            self.queue = Queue(self.state)
            self.upkeep = Upkeep(self.settings, self.state, self.queue, self.measures)
            for job in self.queue.newest(limit=1_000_000):
                self.measures.skip(job.id, self.state.job(job.id))
            around = Surroundings(
                self.state,
                self.queue,
                lambda id: self.bundles.get(id).path,
                self.upkeep.room,
                self._made,
                self._over,
            )
            self.devices = [
                Device(name, around, self.settings.threads, self.settings.require_signature)
                for name in self.settings.backends
            ]
            for device in self.devices:
                device.start()
            self.upkeep.start()
            try:
                yield self
            finally:
                self._stop()

    def add(self, asked: Asked, owner: str, priority: int, legal: bytes | None) -> Job:
        """Check and queue a job. Raises UserError for what cannot be made, NoRoom where the disk is full."""
        if (full := self.upkeep.room()) is not None:
            raise NoRoom(full)
        bundle = self.bundles.read(asked.bundle)
        if asked.of_a_set:
            self.photographs.names(asked.onto)  # says so where there is none
        if legal is not None:
            self._require_size(asked, bundle, legal)
        name = self.queue.new_name()
        folder = self.state.job(name)
        asked = replace(asked, legal=legal is not None)
        total = check_asked(asked, bundle, folder)
        if total > self.settings.max_pairs:
            raise UserError(f"count: a job has {self.settings.max_pairs} pairs at most, this one {total}")
        with os_errors(folder):
            folder.mkdir()
        try:
            if asked.of_a_set:
                self.photographs.link(asked.onto, folder / ONTO_FOLDER)
            if legal is not None:
                atomic_write_bytes(folder / LEGAL_NAME, legal)
            return self.queue.add(asked.to_dict(), owner, priority, name, total)
        except BaseException:
            import shutil

            shutil.rmtree(folder, ignore_errors=True)
            raise

    def _require_size(self, asked: Asked, bundle: Bundle, legal: bytes) -> None:
        """Refuse a legal area of another size than a photograph that the job draws into."""
        area = size_of(legal)
        sizes = (
            self.photographs.sizes(asked.onto)
            if asked.of_a_set
            else {one.name: (one.width, one.height) for one in bundle.backgrounds}
        )
        for name, size in sizes.items():
            if size != area:
                raise UserError(
                    f"legal: expected the size of the photographs, {size[0]} x {size[1]} of {name}, found "
                    f"{area[0]} x {area[1]}; draw it on one of them, and keep other sizes in other sets"
                )

    def ask(self, name: str, wish: str) -> Job:
        """Pause, resume or cancel a job; UserError where there is none, or `wish` does not fit."""
        job = self.queue.ask(self.job(name).id, wish)
        if job.status is Status.CANCELLED:  # it did not run: no device says so
            self._over(job)
        return job

    def job(self, name: str) -> Job:
        """Return a job; UserError where there is none."""
        self.state.job(name)
        job = self.queue.get(name)
        if job is None:
            raise NotThere("job: there is none of that name")
        return job

    def pairs_of(self, name: str) -> JobPairs:
        """Return the pairs of a job; UserError where there is none."""
        return self.pairs.of(self.state.job(self.job(name).id))

    def place(
        self, photograph: Path, out: Path, bundle: str, defect: str, seed: int
    ) -> Future[dict[str, Any]]:
        """Draw a defect into one photograph, on the device that is free, or on the first."""
        found = self.bundles.get(bundle)
        device = next((one for one in self.devices if one.job is None), self.devices[0])
        return device.place(
            photograph=str(photograph.resolve()),
            out=str(out.resolve()),
            bundle=str(found.path),
            defect=defect,
            seed=seed,
        )

    def gauges(self) -> Iterator[tuple[str, str, dict[str, str], float]]:
        """Yield what is measured when it is asked for."""
        for status, count in self.queue.counts().items():
            yield "seas_jobs", "Jobs by status.", {"status": status}, count
        yield "seas_disk_free_bytes", "Free where the state is.", {}, self.state.free_bytes()
        for device in self.devices:
            yield (
                "seas_device_busy",
                "Whether a device runs a job.",
                {"device": device.name},
                device.job is not None,
            )
        yield "seas_up_seconds", "Since the service began.", {}, time.time() - self.began
        yield from machine_gauges()

    def _made(self, job: Job) -> None:
        self.measures.look(job.id, self.state.job(job.id))

    def _over(self, job: Job) -> None:
        self.audit.note("service", f"job {job.status.value}", job=job.id)
        if self.settings.webhook_url and self.settings.webhook_secret:
            message = {"job": job.id, "status": job.status.value, "done": job.done, "total": job.total}
            send_later(self.settings.webhook_url, self.settings.webhook_secret, message)

    def _stop(self) -> None:
        self.stopping.set()
        self.upkeep.stop()
        threads = [threading.Thread(target=device.stop, args=(STOP_SECONDS,)) for device in self.devices]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.queue.close()

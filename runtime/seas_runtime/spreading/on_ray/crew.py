"""Workers as actors of a Ray cluster: machines may join, leave, die or dawdle while pairs are made."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from seas_runtime.backends.contract import Watch
from seas_runtime.errors import CheckFailed, UserError
from seas_runtime.photographs.reading import find_photographs
from seas_runtime.spreading.contract import Job, Made, Opened, Task
from seas_runtime.spreading.devices import ON_PROCESSOR
from seas_runtime.spreading.on_ray.actor import BUNDLE, PHOTOGRAPHS, Missing, RemoteWorker
from seas_runtime.spreading.on_ray.connection import connect
from seas_runtime.spreading.on_ray.sending import pack, pack_bundle
from seas_runtime.spreading.on_ray.work import Hand, Work
from seas_runtime.spreading.pool import check_alike
from seas_runtime.spreading.processes import AHEAD

logger = logging.getLogger(__name__)

OPENING_SECONDS = 900.0
"""A bundle of some gigabytes is fetched, hashed and loaded meanwhile."""
ALONE_SECONDS = 120.0
"""How long a cluster may have no worker before the run is given up."""
JOIN_EVERY = 5.0
_TICK = 0.5  # seconds


class RayCrew:
    """A crew of a Ray cluster: a worker for each GPU, or on the processor for each `threads` cores.

    Args:
        address: as `connect` takes it.
        most: workers at most; None for as many as the cluster has room for.
        options: of a cluster that is started here; see `connect`.
    """

    def __init__(self, address: str, most: int | None = None, **options: Any) -> None:
        self._ray = connect(address, **options)
        self._most = most
        self._hands: list[Hand] = []
        self._job: Job | None = None
        self._sent: dict[str, Any] = {}
        self._looked = 0.0
        self._refused = 0

    def start(self, job: Job) -> list[Opened]:
        """Start a worker in every free place; UserError for the first that cannot make pairs."""
        self._job = job
        if self._places() < 1:
            gpu = "" if self._on_processor else " with a GPU that Ray knows of"
            raise UserError(
                f"--ray: expected a cluster with a machine{gpu} for backend {job.backend}, found none"
            )
        self._hire()
        end = time.monotonic() + OPENING_SECONDS
        while any(hand.opening is not None for hand in self._hands):
            self._look_at_opening(_TICK, strict=True)
            if time.monotonic() > end:
                raise CheckFailed(
                    "--ray: the cluster's workers did not open the bundle in time; see ray status"
                )
        if not self._hands:
            raise CheckFailed("--ray: every worker died as it opened the bundle; see the cluster's logs")
        return self.opened

    @property
    def opened(self) -> list[Opened]:
        """What the workers that can make pairs say of themselves."""
        return [hand.opened for hand in self._hands if hand.opened is not None]

    def run(self, tasks: Iterator[Task], watch: Watch) -> Iterator[Made]:
        """Yield what tasks gave, in their order."""
        work = Work(tasks)
        refs: dict[Any, tuple[Hand, int]] = {}
        alone = time.monotonic()
        while True:
            self._join()
            ready = [hand for hand in self._hands if hand.opened is not None]
            alone = time.monotonic() if ready else alone
            if time.monotonic() - alone > ALONE_SECONDS:
                raise CheckFailed(
                    "--ray: no worker is left in the cluster; run the command again to continue"
                )
            for hand, number, task in work.given(ready):
                refs[hand.actor.make.remote(task)] = (hand, number)
            if work.is_done:  # what dawdles still was made by others
                for hand in self._hands:
                    hand.tasks.clear()
                return
            if not refs:
                time.sleep(_TICK)
            for ref in self._ray.wait(list(refs), timeout=_TICK)[0] if refs else ():
                if ref not in refs:
                    continue  # of a worker that was lost with the one before
                hand, number = refs.pop(ref)
                try:
                    made = self._ray.get(ref)
                except self._ray.exceptions.RayError as error:
                    self._lost(hand, error)
                    refs = {other: held for other, held in refs.items() if held[0] is not hand}
                    work.give_back(hand)
                    continue
                if isinstance(made, Exception):
                    raise made
                work.finish(hand, number, made)
            watch()
            yield from work.in_order()

    def close(self) -> None:
        """End the workers and leave the cluster."""
        for hand in self._hands:
            self._ray.kill(hand.actor)
        self._hands = []
        self._ray.shutdown()

    @property
    def _on_processor(self) -> bool:
        assert self._job is not None
        return self._job.backend.partition(":")[0] in ON_PROCESSOR

    def _needs(self) -> tuple[str, float]:
        """Return what a worker takes of a machine, in Ray's words."""
        assert self._job is not None
        return ("CPU", float(self._job.threads or 1)) if self._on_processor else ("GPU", 1.0)

    def _places(self) -> int:
        """Return how many workers the machines that are up have room for."""
        what, each = self._needs()
        up = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        places = sum(int(resources.get(what, 0) // each) for resources in up) - self._refused
        return places if self._most is None else min(places, self._most)

    def _hire(self) -> None:
        assert self._job is not None
        what, each = self._needs()
        actor = self._ray.remote(RemoteWorker).options(
            num_cpus=each if what == "CPU" else 0,
            num_gpus=each if what == "GPU" else 0,
            max_concurrency=AHEAD + 1,
            max_restarts=0,
            scheduling_strategy="SPREAD",
        )
        job = dataclasses.replace(self._job, threads=int(each)) if what == "CPU" else self._job
        for _ in range(self._places() - len(self._hands)):
            made = actor.remote()
            self._hands.append(Hand(made, made.open.remote(job, self._sent)))

    def _join(self) -> None:
        """Hire where machines have joined, or workers have died; every few seconds."""
        if time.monotonic() - self._looked >= JOIN_EVERY:
            self._looked = time.monotonic()
            self._hire()
        if any(hand.opening is not None for hand in self._hands):
            self._look_at_opening(0.0, strict=False)

    def _look_at_opening(self, timeout: float, strict: bool) -> None:
        """Take what workers say that were opening. Where not `strict`, one that cannot is let go."""
        opening = {hand.opening: hand for hand in self._hands if hand.opening is not None}
        done, _ = self._ray.wait(list(opening), timeout=timeout)
        for ref in done:
            hand = opening[ref]
            try:
                said = self._ray.get(ref)
                if isinstance(said, Missing):
                    hand.opening = self._send(hand, said)
                    continue
                if isinstance(said, Exception):
                    raise said
                check_alike([*self.opened[:1], said], self._job is not None and self._job.mixed)
            except (UserError, CheckFailed) as error:
                if strict:
                    raise
                logger.warning("a machine that joined makes no pairs: %s", error)
                self._refused += 1
                self._let_go(hand)
            except self._ray.exceptions.RayError as error:
                if strict and "No module named" in str(error):
                    raise UserError(
                        "--ray: a machine of the cluster has no seas-export; install the same version on "
                        f"every one ({_last_line(error)})"
                    ) from None
                self._lost(hand, error)
            else:
                hand.opening, hand.opened = None, said

    def _send(self, hand: Hand, missing: Missing) -> Any:
        """Put what a machine lacks into the object store, once, and have its worker open again."""
        assert self._job is not None
        for what in missing.what:
            if what in self._sent:
                continue
            if what == BUNDLE:
                self._sent[what] = self._ray.put(pack_bundle(Path(self._job.bundle)))
            elif what == PHOTOGRAPHS and self._job.onto is not None:
                folder = Path(self._job.onto)
                self._sent[what] = self._ray.put(pack(folder, find_photographs(folder)))
        return hand.actor.open.remote(self._job, self._sent)

    def _lost(self, hand: Hand, error: Exception) -> None:
        where = hand.opened.host if hand.opened is not None else "the cluster"
        logger.warning("a worker on %s is gone (%s); its pairs are made again", where, _last_line(error))
        self._let_go(hand)

    def _let_go(self, hand: Hand) -> None:
        self._hands = [other for other in self._hands if other is not hand]
        self._ray.kill(hand.actor)


def _last_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1][:200] if lines else type(error).__name__

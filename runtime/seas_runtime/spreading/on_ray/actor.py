"""What runs on a cluster's machines: a worker as an actor."""

from __future__ import annotations

import dataclasses
import platform
from pathlib import Path
from typing import Any

from seas_runtime.errors import CheckFailed, UserError
from seas_runtime.spreading.contract import Job, Task
from seas_runtime.spreading.on_ray.sending import unpack
from seas_runtime.spreading.processes import sendable

BUNDLE, PHOTOGRAPHS = "bundle", "photographs"


@dataclasses.dataclass(frozen=True)
class Missing:
    """What a machine has not, and is to be sent."""

    what: tuple[str, ...]


class RemoteWorker:
    """A worker that answers with errors rather than raising them: Ray would wrap them."""

    def __init__(self) -> None:
        self._worker: Any = None

    def open(self, job: Job, sent: dict[str, Any]) -> Any:
        """Open the bundle; say what of it this machine lacks, or what it can do, or why it cannot.

        sent: by what was missing, a reference to the packed files.
        """
        from seas_runtime.spreading.worker import Worker

        try:
            job = _with_sent(job, sent)
            if missing := _missing(job):
                return Missing(missing)
            self._worker = Worker(job)
        except (UserError, CheckFailed) as error:
            kind = UserError if isinstance(error, UserError) else CheckFailed
            return kind(f"node {platform.node()}: {error}")
        except BaseException as error:
            return sendable(error)
        return self._worker.opened

    def make(self, task: Task) -> Any:
        """Make the pairs of a task."""
        try:
            return self._worker.make(task)
        except BaseException as error:
            return sendable(error)


def _missing(job: Job) -> tuple[str, ...]:
    found = []
    if not Path(job.bundle).exists():
        found.append(BUNDLE)
    if job.onto is not None and not Path(job.onto).exists():
        found.append(PHOTOGRAPHS)
    return tuple(found)


def _with_sent(job: Job, sent: dict[str, Any]) -> Job:
    if not sent:
        return job
    import ray

    if BUNDLE in sent:
        job = dataclasses.replace(job, bundle=str(unpack(ray.get(sent[BUNDLE]), job.fingerprint)))
    if PHOTOGRAPHS in sent and job.photographs is not None:
        job = dataclasses.replace(job, onto=str(unpack(ray.get(sent[PHOTOGRAPHS]), job.photographs)))
    return job

"""The queue: a table of jobs in SQLite, and a copy of each request beside its pairs.

The order is that of priority, then of a counter: the clock decides nothing. Every change is on the disk when
a method returns (write-ahead log, synchronous=FULL). A file that SQLite finds damaged is put aside, and the
jobs are read again from their folders.
"""

from __future__ import annotations

import contextlib
import json
import logging
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from enum import Enum
from typing import Any

from seas_runtime.errors import UserError
from seas_runtime.files import read_json, write_json
from seas_runtime.service.refusals import Conflict, NotThere
from seas_runtime.service.state.folder import StateFolder

logger = logging.getLogger(__name__)

SCHEMA = 1
JOB_NAME = "job.json"
PRIORITIES = (-10, 10)
_COLUMNS = """
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE NOT NULL, request TEXT NOT NULL,
    owner TEXT NOT NULL, priority INTEGER NOT NULL, status TEXT NOT NULL,
    wish TEXT, device TEXT, backend TEXT, message TEXT,
    done INTEGER NOT NULL DEFAULT 0, total INTEGER NOT NULL DEFAULT 0,
    created REAL NOT NULL, started REAL, ended REAL
"""


class Status(str, Enum):
    """Where a job stands."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDED = (Status.DONE, Status.FAILED, Status.CANCELLED)


@dataclass(frozen=True)
class Job:
    """A job as the table has it."""

    seq: int
    id: str
    request: dict[str, Any]
    owner: str
    priority: int
    status: Status
    wish: str | None
    """`pause` or `cancel`, which a running job heeds at its next step."""
    device: str | None
    backend: str | None
    """What it was begun on, and therefore goes on with: the same bytes."""
    message: str | None
    done: int
    total: int
    created: float
    started: float | None
    ended: float | None

    @property
    def over(self) -> bool:
        """Whether nothing will happen to it any more."""
        return self.status in ENDED


class Queue:
    """Jobs, safe for several threads of one process."""

    def __init__(self, state: StateFolder) -> None:
        """Open the table; raises UserError for one of a newer version."""
        self._state = state
        self._lock = threading.RLock()
        self.changed = threading.Condition(self._lock)
        self.notice: str | None = None
        """What had to be repaired."""
        try:
            self._table = self._open()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
                raise UserError(f"{state.database}: another program is using it; end that first") from error
            self._table = self._repaired(str(error))
        self._reading = threading.Lock()
        self._reader = self._connection()  # reads do not wait for a commit that reaches the disk
        with self._writing():  # a service that was killed: its jobs go on first, in their old order
            self._table.execute("UPDATE jobs SET status='queued', device=NULL WHERE status='running'")

    def close(self) -> None:
        """Close the file."""
        with self._lock, self._reading:
            self._reader.close()
            self._table.close()

    def add(self, request: dict[str, Any], owner: str, priority: int, folder: str, total: int) -> Job:
        """Queue a job whose folder has been made."""
        with self._writing():
            self._table.execute(
                "INSERT INTO jobs (id, request, owner, priority, status, total, created) "
                "VALUES (?, ?, ?, ?, 'queued', ?, ?)",
                (folder, json.dumps(request), owner, priority, total, time.time()),
            )
        job = self.get(folder)
        assert job is not None
        self._copy(job)
        return job

    def get(self, id: str) -> Job | None:
        """Return a job, None where there is none of that name."""
        found = self._jobs("WHERE id=?", (id,))
        return found[0] if found else None

    def newest(self, limit: int = 100, offset: int = 0, status: str | None = None) -> list[Job]:
        """Return jobs, the newest first."""
        where, values = ("WHERE status=?", (status,)) if status else ("", ())
        return self._jobs(f"{where} ORDER BY seq DESC LIMIT ? OFFSET ?", (*values, limit, offset))

    def counts(self) -> dict[str, int]:
        """Return how many jobs there are, by status."""
        with self._reading:
            rows = self._reader.execute("SELECT status, COUNT(*) FROM jobs GROUP BY status").fetchall()
        return {status.value: 0 for status in Status} | dict(rows)

    def take(self, device: str, backend: str) -> Job | None:
        """Give a device its next job, None where there is none for it."""
        with self._writing():
            row = self._table.execute(
                "SELECT id FROM jobs WHERE status='queued' AND (backend IS NULL OR backend=?) "
                "ORDER BY priority DESC, seq LIMIT 1",
                (backend,),
            ).fetchone()
            if row is None:
                return None
            self._table.execute(
                "UPDATE jobs SET status='running', wish=NULL, device=?, backend=?, message=NULL, "
                "started=COALESCE(started, ?) WHERE id=?",
                (device, backend, time.time(), row[0]),
            )
        return self.get(row[0])

    def progress(self, id: str, done: int, total: int) -> None:
        """Note how far a job is."""
        with self._writing():
            self._table.execute("UPDATE jobs SET done=?, total=? WHERE id=?", (done, total, id))

    def end(self, id: str, status: Status, message: str | None = None) -> None:
        """Note how a running job came out, or that it waits again."""
        ended = time.time() if status in ENDED else None
        with self._writing():
            self._table.execute(
                "UPDATE jobs SET status=?, wish=NULL, device=NULL, message=?, ended=? WHERE id=?",
                (status.value, message, ended, id),
            )
        if (job := self.get(id)) is not None:
            self._copy(job)

    def ask(self, id: str, wish: str) -> Job:
        """Pause, resume or cancel a job; UserError where it is over or `wish` does not fit.

        One that runs is returned as running: its device heeds the wish at its next step.
        """
        job = self.get(id)
        if job is None:
            raise NotThere("job: there is none of that name")
        allowed = {
            "pause": (Status.QUEUED, Status.RUNNING),
            "resume": (Status.PAUSED,),
            "cancel": (Status.QUEUED, Status.RUNNING, Status.PAUSED),
        }[wish]
        with self._writing():
            job = self.get(id) or job
            if job.status not in allowed:
                raise Conflict(
                    f"{wish}: expected a job that is {' or '.join(allowed)}, it is {job.status.value}"
                )
            if job.status is Status.RUNNING:
                self._table.execute("UPDATE jobs SET wish=? WHERE id=?", (wish, id))
        if job.status is Status.RUNNING:
            return replace(job, wish=wish)
        self.end(id, {"pause": Status.PAUSED, "resume": Status.QUEUED, "cancel": Status.CANCELLED}[wish])
        return self.get(id) or job

    def prefer(self, id: str, priority: int) -> None:
        """Change a job's priority."""
        with self._writing():
            self._table.execute("UPDATE jobs SET priority=? WHERE id=?", (priority, id))

    def remove(self, id: str) -> None:
        """Forget a job."""
        with self._writing():
            self._table.execute("DELETE FROM jobs WHERE id=?", (id,))

    def new_name(self) -> str:
        """Return a name for a job that no other has: a date for people, and chance."""
        return f"{time.strftime('%Y%m%d')}-{secrets.token_hex(4)}"

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        with self.changed:
            self._table.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._table.execute("ROLLBACK")
                raise
            self._table.execute("COMMIT")
            self.changed.notify_all()

    def _jobs(self, rest: str, values: Sequence[Any]) -> list[Job]:
        with self._reading:
            rows = self._reader.execute(f"SELECT * FROM jobs {rest}", values).fetchall()
        return [
            Job(**{**row, "request": json.loads(row["request"]), "status": Status(row["status"])})
            for row in map(dict, rows)
        ]

    def _copy(self, job: Job) -> None:
        """Keep what a lost table is made from again beside the job's pairs."""
        try:
            write_json(self._state.job(job.id) / JOB_NAME, {**asdict(job), "schema": SCHEMA})
        except UserError as error:  # the table has it; a full disk must not end the job differently
            logger.error("%s", error)

    def _connection(self) -> sqlite3.Connection:
        table = sqlite3.connect(
            self._state.database, isolation_level=None, check_same_thread=False, timeout=5.0
        )
        table.row_factory = sqlite3.Row
        return table

    def _open(self) -> sqlite3.Connection:
        table = self._connection()
        try:
            table.execute("PRAGMA journal_mode=WAL")
            table.execute("PRAGMA synchronous=FULL")
            (found,) = table.execute("PRAGMA quick_check(1)").fetchone()
            if found != "ok":
                raise sqlite3.DatabaseError(found)
            (version,) = table.execute("PRAGMA user_version").fetchone()
            if version not in (0, SCHEMA):
                raise UserError(
                    f"{self._state.database}: expected version {SCHEMA}, found {version}: a newer "
                    "seas-export wrote it; use that one, or another --state"
                )
            table.execute(f"CREATE TABLE IF NOT EXISTS jobs ({_COLUMNS})")
            table.execute(f"PRAGMA user_version={SCHEMA}")
            table.execute("SELECT seq, id, request, status FROM jobs LIMIT 1").fetchall()
        except BaseException:
            table.close()
            raise
        return table

    def _repaired(self, why: str) -> sqlite3.Connection:
        """Put a damaged file aside and make the table from the jobs' folders again."""
        database = self._state.database
        aside = database.with_name(f"{database.name}.damaged-{secrets.token_hex(3)}")
        database.replace(aside)
        for suffix in ("-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                database.with_name(database.name + suffix).replace(aside.with_name(aside.name + suffix))
        table = self._open()
        jobs, lost = [], 0
        for folder in sorted(self._state.jobs.iterdir()):
            try:
                value = read_json(folder / JOB_NAME, "job")
                jobs.append(Job(**{key: item for key, item in value.items() if key != "schema"}))
            except (UserError, TypeError, AttributeError):
                lost += 1
        names = [name for name in Job.__dataclass_fields__ if name != "seq"]
        table.execute("BEGIN")
        for job in sorted(jobs, key=lambda job: job.seq):
            values = {**asdict(job), "request": json.dumps(job.request)}
            table.execute(
                f"INSERT INTO jobs ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})",
                [values[name] for name in names],
            )
        table.execute("COMMIT")
        self.notice = (
            f"{database.name} was damaged ({why[:200]}) and lies at {aside.name}; {len(jobs)} jobs were read "
            f"again from their folders" + (f", {lost} folders hold none that can be read" if lost else "")
        )
        logger.error("%s", self.notice)
        return table

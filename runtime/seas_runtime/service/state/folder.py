"""The state folder: where everything lies that the service writes, and names that may be parts of it."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from seas_runtime.errors import UserError
from seas_runtime.files import locked, os_errors
from seas_runtime.service.refusals import NotThere

_JOB = re.compile(r"[0-9]{8}-[0-9a-f]{8}")
_SET = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


class StateFolder:
    """Paths in the state folder. Names of clients become parts of them only by `job` and `photographs`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.database = root / "jobs.sqlite"
        self.jobs = root / "jobs"
        self.bundles = root / "bundles"
        self.sets = root / "photographs"
        self.tokens = root / "tokens"
        self.audit = root / "audit.jsonl"
        self.incoming = root / "incoming"

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Make the folder, for this user alone, and keep other services out of it while the block runs."""
        with os_errors(self.root):
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        with locked(self.root, f"--state {self.root}: another service is using it; stop that one first"):
            with os_errors(self.root):
                shutil.rmtree(self.incoming, ignore_errors=True)  # of a service that was killed
                for folder in (self.jobs, self.bundles, self.sets, self.incoming):
                    folder.mkdir(exist_ok=True)
            yield

    def job(self, name: str) -> Path:
        """Return a job's folder; UserError for what is no job's name."""
        if not _JOB.fullmatch(name):
            raise NotThere("job: expected the name of a job, found another text")
        return self.jobs / name

    def photographs(self, name: str) -> Path:
        """Return the folder of a set of photographs; UserError for what cannot be its name."""
        if not _SET.fullmatch(name):
            raise UserError(
                "photographs: expected a name of small letters, digits, - and _, found another text"
            )
        return self.sets / name

    @contextlib.contextmanager
    def scratch(self, name: str) -> Iterator[Path]:
        """A new folder that is removed after the block."""
        import tempfile

        with os_errors(self.incoming):
            folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.incoming))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def free_bytes(self) -> int:
        """Return how much space the disk has."""
        return shutil.disk_usage(self.root).free

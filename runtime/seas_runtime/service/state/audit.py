"""Who did what: a line of JSON for everything that changed something, and for every refusal of access."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import deque
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

_MOST_BYTES = 32 << 20
"""Of a file; the one before it is kept beside it."""


class Audit:
    """Appends to a file; safe for several threads. A full disk loses lines, and the log says so."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._first = b"\n"  # a power loss may have cut the last line

    def note(self, who: str, action: str, **what: Any) -> None:
        """Write that `who` did `action`. Secrets are the caller's to keep out."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        line = json.dumps({"time": moment, "who": who, "action": action, **what}, ensure_ascii=True)
        with self._lock:
            try:
                if self._file.exists() and self._file.stat().st_size > _MOST_BYTES:
                    self._file.replace(self._file.with_suffix(".1.jsonl"))
                with self._file.open("ab", buffering=0) as file:
                    file.write(self._first + line.encode() + b"\n")
                self._first = b""
            except OSError as error:
                logger.error("%s: cannot write who did what: %s", self._file, error.strerror)

    def last(self, count: int) -> list[dict[str, Any]]:
        """Return the last entries, the newest first."""
        if not self._file.exists():
            return []
        found: deque[dict[str, Any]] = deque(maxlen=count)
        with self._lock, self._file.open("rb") as file:
            for line in file:
                try:
                    found.append(json.loads(line))
                except ValueError:  # cut by a power loss
                    continue
        return list(reversed(found))

"""What people say of pairs: accepted or rejected, why, and masks that they drew again."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from seas_runtime.dataset.record_file import Key
from seas_runtime.errors import UserError
from seas_runtime.files import append_bytes, atomic_write_bytes, lines_from, os_errors

ACCEPTED, REJECTED = "accepted", "rejected"
VERDICTS = (ACCEPTED, REJECTED)
MOST_TEXT = 2000
REVIEWS_NAME = "reviews.jsonl"
_MASKS = "masks"


@dataclass(frozen=True)
class Review:
    """What holds of a pair now."""

    verdict: str | None = None
    reason: str = ""
    comment: str = ""
    mask: str | None = None
    """Path of the corrected mask in the job's folder; the generated one stays where it is."""
    who: str = ""
    time: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)


class Reviews:
    """The reviews of one job's pairs; the last line of a pair holds. Safe for several threads."""

    def __init__(self, job: Path) -> None:
        self._job = job
        self._file = job / REVIEWS_NAME
        self._lock = threading.Lock()
        self._read_to = 0
        self._held: dict[Key, Review] = {}

    def all(self) -> dict[Key, Review]:
        """Return the reviews by pair."""
        with self._lock:
            return dict(self._read())

    def say(self, key: Key, who: str, **changes: Any) -> Review:
        """Change what is said of a pair; what is not in `changes` stays. On the disk on return."""
        with self._lock:
            before = self._read().get(key, Review())
            after = replace(before, **changes, who=who, time=round(time.time(), 3))
            if after.verdict not in (None, *VERDICTS):
                raise UserError(f"verdict: expected {', '.join(VERDICTS)} or null, found {after.verdict!r}")
            if max(len(after.reason), len(after.comment)) > MOST_TEXT:
                raise UserError(f"reason and comment: expected at most {MOST_TEXT} characters each")
            line = json.dumps({"defect": key[0], "index": key[1], **after.to_dict()}, ensure_ascii=False)
            self._read_to = append_bytes(self._file, line.encode("utf-8") + b"\n", whole=self._read_to)
            self._held[key] = after
            return after

    def correct(self, key: Key, who: str, png: bytes) -> Review:
        """Keep a mask that a person drew, beside earlier ones."""
        folder = self._job / _MASKS / key[0]
        number = len(list(folder.glob(f"{key[1]:06d}.*.png"))) + 1 if folder.is_dir() else 1
        path = folder / f"{key[1]:06d}.{number}.png"
        atomic_write_bytes(path, png)
        return self.say(key, who, mask=path.relative_to(self._job).as_posix())

    def restore(self, key: Key, who: str) -> Review:
        """Let the generated mask hold again; the corrections stay as files."""
        return self.say(key, who, mask=None)

    def _read(self) -> dict[Key, Review]:
        if not self._file.exists():
            return self._held
        with os_errors(self._file, "read"), self._file.open("rb") as file:
            lines, self._read_to = lines_from(file, self._read_to)
        for line in lines:
            try:
                value = json.loads(line)
                key = (str(value.pop("defect")), int(value.pop("index")))
                self._held[key] = Review(**value)
            except (ValueError, KeyError, TypeError, AttributeError):
                continue
        return self._held

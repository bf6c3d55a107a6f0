"""What is counted: pairs, their latency by graph, rejections; and this machine's heat and power."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from seas_runtime.dataset.layout import RECORDS_NAME
from seas_runtime.files import lines_from, parse_json
from seas_runtime.service.state.pairs import DATASET

_RECENT = 200
_NVPMODEL = Path("/var/lib/nvpmodel/status")
_ZONES = Path("/sys/class/thermal")


class Measures:
    """Counts since the service began; safe for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._read_to: dict[str, int] = {}
        self._recent: dict[str, deque[float]] = {}
        self.pairs: Counter[tuple[str, str]] = Counter()
        """By defect, and `accepted` or `rejected`."""
        self.rejections: Counter[str] = Counter()
        """Attempts, by what the gate said before its figures."""
        self.seconds: Counter[str] = Counter()
        """By graph, and `total`."""
        self.measured = 0
        self.requests: Counter[tuple[str, int]] = Counter()
        """By method and status."""

    def skip(self, job: str, folder: Path) -> None:
        """Count no pairs that an earlier service made."""
        with self._lock:
            self._read_to.setdefault(job, _size(folder))

    def look(self, job: str, folder: Path) -> None:
        """Count the pairs that a job has more than before."""
        with self._lock:
            start = self._read_to.get(job, 0)
            try:
                with (folder / DATASET / RECORDS_NAME).open("rb") as file:
                    lines, self._read_to[job] = lines_from(file, start)
            except OSError:
                return
            for line in lines:
                try:
                    self._count(job, parse_json(line, "record"))
                except (KeyError, TypeError, ValueError, AttributeError):
                    continue

    def recent(self, job: str) -> list[float]:
        """Return the seconds of a job's last pairs, the newest last."""
        with self._lock:
            return list(self._recent.get(job, ()))

    def forget(self, job: str) -> None:
        """A job was removed."""
        with self._lock:
            self._read_to.pop(job, None)
            self._recent.pop(job, None)

    def _count(self, job: str, record: dict[str, Any]) -> None:
        times = record["times"]
        self.pairs[record["defect"], "accepted" if record["accepted"] else "rejected"] += 1
        for attempt in record["attempts"]:
            if attempt.get("rejected"):
                self.rejections[str(attempt["rejected"]).partition(":")[0][:60]] += 1
        for graph, seconds in times.items():
            self.seconds[graph] += seconds
        self.measured += 1
        self._recent.setdefault(job, deque(maxlen=_RECENT)).append(times["total"])

    def text(self, more: Iterable[tuple[str, str, dict[str, str], float]]) -> str:
        """Return Prometheus' text format (version 0.0.4); `more` are gauges: name, help, labels, value."""
        with self._lock:
            lines: list[str] = []
            _family(lines, "seas_pairs_total", "counter", "Pairs made.")
            for (defect, outcome), count in sorted(self.pairs.items()):
                lines.append(f"seas_pairs_total{_labels(defect=defect, outcome=outcome)} {count}")
            _family(lines, "seas_rejected_attempts_total", "counter", "Attempts that a gate rejected.")
            for reason, count in sorted(self.rejections.items()):
                lines.append(f"seas_rejected_attempts_total{_labels(reason=reason)} {count}")
            _family(lines, "seas_pair_seconds", "summary", "Seconds a pair, by what was run.")
            for graph, seconds in sorted(self.seconds.items()):
                lines.append(f"seas_pair_seconds_sum{_labels(graph=graph)} {seconds:.6f}")
                lines.append(f"seas_pair_seconds_count{_labels(graph=graph)} {self.measured}")
            _family(lines, "seas_requests_total", "counter", "Answers of the API.")
            for (method, status), count in sorted(self.requests.items()):
                lines.append(f"seas_requests_total{_labels(method=method, status=str(status))} {count}")
        said = set()
        for name, words, labels, value in more:
            if name not in said:
                _family(lines, name, "gauge", words)
                said.add(name)
            lines.append(f"{name}{_labels(**labels)} {value:.10g}")
        return "\n".join(lines) + "\n"


def machine_gauges() -> Iterable[tuple[str, str, dict[str, str], float]]:
    """Yield this machine's temperatures and power mode, where the system tells them."""
    for zone in sorted(_ZONES.glob("thermal_zone*")):
        try:
            degrees = int((zone / "temp").read_text()) / 1000
            kind = (zone / "type").read_text().strip()
        except (OSError, ValueError):
            continue
        yield "seas_temperature_celsius", "Temperatures of the machine.", {"zone": kind}, degrees
    try:
        mode = int(_NVPMODEL.read_text().strip().rpartition(":")[2])
    except (OSError, ValueError):
        return
    yield "seas_power_mode", "The Jetson's power mode (nvpmodel).", {}, float(mode)


def _size(folder: Path) -> int:
    try:
        return (folder / DATASET / RECORDS_NAME).stat().st_size
    except OSError:
        return 0


def _family(lines: list[str], name: str, kind: str, words: str) -> None:
    lines += [f"# HELP {name} {words}", f"# TYPE {name} {kind}"]


def _labels(**labels: str) -> str:
    if not labels:
        return ""
    escaped = (
        (name, value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n"))
        for name, value in labels.items()
    )
    return "{" + ",".join(f'{name}="{value}"' for name, value in escaped) + "}"

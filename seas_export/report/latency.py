"""Figures from the times in pairs' records."""

from __future__ import annotations

from collections.abc import Sequence

REST = "rest"


def parts_of(times: Sequence[dict[str, float]]) -> dict[str, float]:
    """Mean seconds per pair in each graph, and in none of them (`rest`), from records' `times`."""
    count = max(len(times), 1)
    names = [name for name in (times[0] if times else ()) if name != "total"]
    parts = {name: sum(entry[name] for entry in times) / count for name in names}
    parts[REST] = max(0.0, sum(entry["total"] for entry in times) / count - sum(parts.values()))
    return parts

"""Figures from the times in pairs' records."""

from __future__ import annotations

from collections.abc import Sequence

PARTS = ("step", "decode_mask", "decode_image", "rest")


def parts_of(times: Sequence[dict[str, float]]) -> dict[str, float]:
    """Mean seconds per pair in each part, and in none of them (`rest`), from records' `times`."""
    count = max(len(times), 1)
    parts = {name: sum(entry[name] for entry in times) / count for name in PARTS[:-1]}
    parts["rest"] = max(0.0, sum(entry["total"] for entry in times) / count - sum(parts.values()))
    return parts

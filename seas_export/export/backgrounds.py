"""Puts photographs of normals into a bundle, for placed pairs to be drawn into."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from seas_runtime.bundle.placement.backgrounds import FOLDER, LIMIT, background_name
from seas_runtime.files import os_errors, read_bytes
from seas_runtime.photographs.reading import decode_photograph

MOST_BYTES = 200_000_000
"""Of all together: what a bundle of a few hundred megabytes may grow by."""


def copy_backgrounds(photographs: Sequence[Path], folder: Path, most: int, say: Callable[[str], None]) -> int:
    """Copy at most `most` PNG files, evenly chosen, into a bundle's folder; return how many.

    Fewer where they would be more than MOST_BYTES together. Raises UserError for one that cannot be read.
    """
    wanted = min(most, len(photographs))
    chosen = [photographs[index * len(photographs) // wanted] for index in range(wanted)]
    size = count = 0
    for path in chosen:
        data = read_bytes(path, "background", LIMIT)
        decode_photograph(data, path, ("PNG",))
        if size + len(data) > MOST_BYTES:
            continue
        with os_errors(folder):
            (folder / FOLDER).mkdir(exist_ok=True)
            (folder / background_name(count)).write_bytes(data)
        size, count = size + len(data), count + 1
    if wanted:
        fewer = f" of {wanted}, as all would be over {MOST_BYTES / 1e6:.0f} MB" if count < wanted else ""
        say(f"photographs to draw into: {count}{fewer}; {size / 1e6:.1f} MB")
    return count

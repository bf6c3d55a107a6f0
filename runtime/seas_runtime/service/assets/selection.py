"""A job's pairs as a data set to take away: those that a person left, with the masks that a person drew.

It is a view of hard links; the formats are those of `convert`.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

from seas_runtime.dataset.formats.convert import Format, convert_dataset
from seas_runtime.dataset.layout import DATASET_NAME, RECORDS_NAME, is_pair, pair_paths
from seas_runtime.errors import UserError
from seas_runtime.service.state.pairs import DATASET, JobPairs, Pair
from seas_runtime.service.state.reviews import ACCEPTED, REJECTED

_BLOCK = 1 << 16
_OLDEST = (1980, 1, 1, 0, 0, 0)  # zip's first moment: the same pairs give the same bytes


def write_selection(pairs: JobPairs, to: Format, out: Path, *, accepted: bool, val: float) -> Path:
    """Write a job's pairs in a format into the new folder `out`; return the folder to take away.

    Without `accepted` all pairs are taken that no person rejected. Raises UserError where nothing is left.
    """
    view = out / "view"
    view.mkdir(parents=True)
    source = pairs.folder / DATASET
    chosen = [pair for pair in pairs.all() if is_pair(pair.record) and _is_taken(pair, accepted)]
    if not chosen:
        raise UserError(
            "download: expected pairs, found none that "
            + (
                "a person accepted; accept some, or ask for all"
                if accepted
                else "passed and was not rejected"
            )
        )
    if not (source / DATASET_NAME).is_file():
        raise UserError("download: the job has not begun; ask again when it has made pairs")
    shutil.copyfile(source / DATASET_NAME, view / DATASET_NAME)
    lines = []
    for pair in chosen:
        paths = pair_paths(*pair.key)
        files = {"image": pairs.image(pair), **({"mask": pairs.mask(pair)} if "mask" in paths else {})}
        for name, file in files.items():
            _link(file, view / paths[name])
        lines.append(json.dumps({**pair.record, "files": paths, "review": pair.review.to_dict()}) + "\n")
    (view / RECORDS_NAME).write_text("".join(lines), encoding="utf-8")
    converted = out / "converted"
    try:
        convert_dataset(view, to, converted, val=val)
    except UserError as error:
        raise UserError(f"download: {str(error).removeprefix(f'{view}: ')}") from None
    shutil.copyfile(view / RECORDS_NAME, converted / RECORDS_NAME)
    return converted


def _is_taken(pair: Pair, accepted: bool) -> bool:
    return pair.review.verdict == ACCEPTED if accepted else pair.review.verdict != REJECTED


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


class _Chunks(io.RawIOBase):
    """Takes what a zip file writes, to be handed on."""

    def __init__(self) -> None:
        self._held = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        block = bytes(data)  # type: ignore[call-overload]
        self._held += block
        return len(block)

    def taken(self) -> bytes:
        """Return what was written since the last time."""
        block = bytes(self._held)
        self._held.clear()
        return block


def stream_zip(folder: Path) -> Iterator[bytes]:
    """Yield a zip file of all files in `folder`, stored, a block at a time: pictures do not shrink."""
    chunks = _Chunks()
    with zipfile.ZipFile(chunks, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(file.relative_to(folder).as_posix(), _OLDEST)
            entry.external_attr = 0o100644 << 16
            entry.file_size = file.stat().st_size
            with file.open("rb") as source, archive.open(entry, "w") as target:
                while block := source.read(_BLOCK):
                    target.write(block)
                    yield chunks.taken()
    yield chunks.taken()

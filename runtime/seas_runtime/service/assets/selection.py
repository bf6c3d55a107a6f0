"""A job's pairs as a data set to take away: those that a person left, with the masks that a person drew.

It is made of hard links; the formats are those of `convert`, whose checks are for folders that people edit.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

from seas_runtime.dataset.folder import read_description
from seas_runtime.dataset.formats.convert import Format, write_as
from seas_runtime.dataset.formats.finished import FinishedDataset, picture_of
from seas_runtime.dataset.formats.target import Target
from seas_runtime.dataset.layout import DATASET_NAME, RECORDS_NAME, is_pair, pair_paths
from seas_runtime.errors import UserError
from seas_runtime.service.state.pairs import DATASET, JobPairs, Pair
from seas_runtime.service.state.reviews import ACCEPTED, REJECTED

_BLOCK = 1 << 18
_OLDEST = (1980, 1, 1, 0, 0, 0)  # zip's first moment: the same pairs give the same bytes


def write_selection(pairs: JobPairs, to: Format, out: Path, *, accepted: bool, val: float) -> Path:
    """Write a job's pairs in a format into the new folder `out`; return the folder to take away.

    Without `accepted` all pairs are taken that no person rejected. Raises UserError where nothing is left.
    """
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
    description = read_description(source / DATASET_NAME)
    order = {name: place for place, name in enumerate(description["defects"])}
    masks = {pair.key: _mask(pairs, pair) for pair in chosen if pair.key[0] in order}
    shown = [pair for pair in chosen if pair.key in masks and not _is_empty(pair, masks[pair.key])]
    if not shown:
        raise UserError("download: expected pairs, found masks alone that are empty")
    shown.sort(key=lambda pair: (order[pair.key[0]], pair.key[1]))
    pictures = tuple(picture_of(pair.record, pairs.image(pair), masks[pair.key]) for pair in shown)
    target = Target(out / "taken", copy=False)
    try:
        write_as(to, FinishedDataset(source, description, pictures), val, target)
    except UserError as error:
        raise UserError(f"download: {str(error).removeprefix(f'{source}: ')}") from None
    records = (
        {**pair.record, "files": pair_paths(*pair.key), "review": pair.review.to_dict()} for pair in chosen
    )
    target.json_lines(RECORDS_NAME, records)
    return target.root


def _mask(pairs: JobPairs, pair: Pair) -> Path | None:
    return pairs.mask(pair) if "mask" in pair_paths(*pair.key) else None


def _is_empty(pair: Pair, mask: Path | None) -> bool:
    """Whether a defect's mask marks nothing, as its record says; a person's mask marks something."""
    if pair.review.mask is not None or mask is None:
        return False
    return bool(pair.record["attempts"]) and pair.record["attempts"][-1].get("mask_area") == 0


def _is_taken(pair: Pair, accepted: bool) -> bool:
    return pair.review.verdict == ACCEPTED if accepted else pair.review.verdict != REJECTED


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

    @property
    def held(self) -> int:
        """Bytes that are to be taken."""
        return len(self._held)

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
                    if chunks.held >= _BLOCK:  # small files together: each block costs the server a switch
                        yield chunks.taken()
    yield chunks.taken()

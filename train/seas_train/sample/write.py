"""The sample product as a folder in MVTec AD layout."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from seas_runtime.errors import UserError
from seas_runtime.outputs.checking import check_out
from seas_runtime.outputs.kinds import Kind
from seas_runtime.outputs.replacing import replace_directory
from seas_train.data.facts.decode import THREADS
from seas_train.sample.photograph import DEFECTS, render_bottle

PRODUCT = "bottle"
# Raised whenever the same request would give other pictures.
VERSION = 4
RECORD = "sample.json"
_MOST = 100_000
"""Of each sort, in a record that is believed."""

_README = """\
Sample product "{product}"

These pictures are not photographs: seas-export's own code (seas_train.sample) rendered every one of them,
masks included, from the seed in sample.json. No other data set's images went into them. They stand in for a
product of yours while you try the toolkit; they say nothing about how well anything works on real glass.

Layout: train/good, test/good, test/<defect> and ground_truth/<defect>/NNN_mask.png (255 on the defect).

Licence: Apache License 2.0, as the code that rendered them (https://www.apache.org/licenses/LICENSE-2.0).
"""


@dataclass(frozen=True)
class _Record:
    """The inputs of a written sample; two folders with the same record hold the same pictures."""

    product: str
    version: int
    seed: int
    size: int
    train_good: int
    test_good: int
    defective: int


@dataclass(frozen=True)
class _Item:
    """One picture to write: its file, which bottle it shows, its defect, and its mask's file if any."""

    image: Path
    index: int
    defect: str | None = None
    mask: Path | None = None


def write_sample(
    out: Path,
    seed: int = 0,
    size: int = 256,
    *,
    train_good: int = 72,
    test_good: int = 24,
    defective: int = 30,
    overwrite: bool = False,
    keep: bool = False,
) -> Path:
    """Write the sample product into `out/bottle` and return that folder.

    The folder appears whole or not at all. If it already holds this very sample, nothing is written.

    Args:
        out: folder of products; made if missing.
        seed: which line of bottles, 0 or more.
        size: height and width in pixels, 64 or more.
        train_good: normal bottles in train/good.
        test_good: normal bottles in test/good.
        defective: pairs of each defect in test/<defect> and ground_truth/<defect>.
        overwrite: replace the sample that `out/bottle` holds; nothing else is ever replaced.
        keep: leave other files in it where they are, instead of refusing it for them.

    Raises:
        UserError: an argument is out of range, the folder holds something else, or it cannot be written.
    """
    record = _Record(PRODUCT, VERSION, seed, size, train_good, test_good, defective)
    _check(record)
    folder = out / PRODUCT
    if not overwrite and (folder.exists() or folder.is_symlink()):
        _check_same(folder, record)
        return folder
    if not keep:
        check_out(folder, SAMPLE, "--out", force=True)
    with replace_directory(folder, SAMPLE) as fresh:
        _write(fresh, record)
    return folder


def _listed(folder: Path) -> set[str] | None:
    """What a sample's own record says that it holds."""
    try:
        record = _Record(**json.loads((folder / RECORD).read_text(encoding="utf-8")))
        if max(record.train_good, record.test_good, record.defective) > _MOST:
            return None
        items = list(_items(record))
    except (OSError, ValueError, TypeError):
        return None
    files = {file for item in items for file in (item.image, item.mask) if file is not None}
    return {RECORD, "README.txt", *(file.as_posix() for file in files)}


SAMPLE = Kind("a sample product", RECORD, listed=_listed)


def _check(record: _Record) -> None:
    """Refuse numbers that cannot be rendered."""
    for name, least in (("seed", 0), ("size", 64), ("train_good", 1), ("test_good", 0), ("defective", 0)):
        found = getattr(record, name)
        if found < least:
            raise UserError(f"sample product: expected {name} of {least} or more, found {found}. Raise it.")


def _check_same(folder: Path, record: _Record) -> None:
    """Refuse an existing folder unless it is the complete sample that `record` describes."""
    try:
        found = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        what = f"no readable {RECORD}, so something else (a product of yours?)"
    else:
        if found != asdict(record):
            what = f"another sample: {json.dumps(found)}"
        else:
            files = [file for item in _items(record) for file in (item.image, item.mask) if file is not None]
            missing = [file for file in files if not (folder / file).is_file()]
            if not missing:
                return
            what = f"this sample with {len(missing)} files missing, {missing[0].as_posix()} the first"
    raise UserError(
        f"{folder} already exists: expected nothing there, or the sample {json.dumps(asdict(record))}; "
        f"found {what}. Choose another output folder, move this one away, or ask to overwrite it."
    )


def _write(folder: Path, record: _Record) -> None:
    """Render every picture of the sample into `folder`."""

    def write(item: _Item) -> None:
        rendered = render_bottle(record.seed, item.index, item.defect, record.size)
        _save(rendered.image, folder / item.image)
        if item.mask is not None:
            _save(rendered.mask, folder / item.mask)

    items = list(_items(record))
    # Ahead, not by the threads: one that outlives an interrupted run would bring the folder back.
    for file in {file.parent for item in items for file in (item.image, item.mask) if file is not None}:
        (folder / file).mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(write, items))
    (folder / "README.txt").write_text(_README.format(product=PRODUCT), encoding="utf-8")
    (folder / RECORD).write_text(json.dumps(asdict(record), indent=2) + "\n", encoding="utf-8")


def _items(record: _Record) -> Iterator[_Item]:
    """Every picture of the sample; no bottle is photographed twice, whatever the counts."""
    groups = 2 + len(DEFECTS)  # indices are dealt out in turn, so that longer lists only add pictures
    for number in range(record.train_good):
        yield _Item(Path("train/good") / f"{number:03}.png", groups * number)
    for number in range(record.test_good):
        yield _Item(Path("test/good") / f"{number:03}.png", groups * number + 1)
    for group, defect in enumerate(DEFECTS, start=2):
        for number in range(record.defective):
            image, mask = f"{number:03}.png", f"{number:03}_mask.png"
            yield _Item(
                Path("test") / defect / image,
                groups * number + group,
                defect,
                Path("ground_truth") / defect / mask,
            )


def _save(pixels: NDArray[np.uint8], file: Path) -> None:
    """Write uint8 pixels as a PNG."""
    Image.fromarray(pixels).save(file)

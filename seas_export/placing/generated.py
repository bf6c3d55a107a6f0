"""Writes masks that a bundle's mask model generates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from seas_runtime.backends.contract import open_backend
from seas_runtime.bundle.reading import Bundle, read_manifest_file
from seas_runtime.errors import CheckFailed, UserError
from seas_runtime.files import os_errors, read_json, write_json
from seas_runtime.generation.placing.generated_masks import MaskGenerator
from seas_runtime.manifest.fields import check_integer
from seas_runtime.manifest.types import GOOD
from seas_runtime.outputs.checking import check_out, holds_ours
from seas_runtime.outputs.kinds import Kind
from seas_runtime.outputs.replacing import replace_directory
from seas_runtime.photographs.png import encode_png

RECORD = "masks.json"
MASKS = Kind("a folder of generated masks", RECORD)
SCHEMA = 1
MOST = 100_000
ALL = "all"


@dataclass(frozen=True)
class MasksMade:
    """How many masks of a defect came out."""

    defect: str
    asked: int
    accepted: int
    first_try: int


@dataclass(frozen=True)
class MasksResult:
    """Masks that were written."""

    out: Path
    defects: tuple[MasksMade, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {"out": str(self.out), "defects": [asdict(made) for made in self.defects]}


def write_masks(
    bundle: Path,
    out: Path,
    defects: Sequence[str],
    count: int,
    seed: int = 0,
    *,
    batch: int = 4,
    backend: str = "cpu",
    threads: int | None = None,
    force: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> MasksResult:
    """Generate `count` masks of each defect into `out/DEFECT`, in pixels of the product's photographs.

    Raises UserError for a bundle without a mask model, and where something is in the way; CheckFailed where
    none of a defect's masks passes. Nothing is then written.
    """
    check_integer("--count", count, 1, MOST)
    check_out(out, MASKS, "--out", force=force, inputs={"BUNDLE": bundle})
    opened = Bundle.read(bundle)
    generator = MaskGenerator(opened, open_backend(backend, threads))
    scale = generator.scale
    known = generator.model.defects(opened)
    names = known if ALL in defects else tuple(dict.fromkeys(map(opened.manifest.find_defect, defects)))
    made, records = [], []
    with replace_directory(out, MASKS) as folder, os_errors(out):
        for name in names:
            say(f"masks of {name}")
            found = list(generator.generate(name, count, seed, batch=batch))
            kept = [item for item in found if item.rejected is None]
            if not kept:
                raise CheckFailed(
                    f"masks of {name}: none of {count} passed; most often: {found[0].rejected}. Train the "
                    "mask model longer (masks.steps)"
                )
            (folder / name).mkdir()
            for item in kept:
                side = max(1, round(item.mask.shape[0] * scale))
                picture = Image.fromarray(item.mask.astype(np.uint8) * np.uint8(255))
                resized = picture.resize((side, side), Image.Resampling.NEAREST)
                file = f"{name}/{item.index:06d}.png"
                (folder / file).write_bytes(encode_png(np.asarray(resized)))
                records.append({"defect": name, "index": item.index, "mask": file, "attempts": item.attempts})
            first = sum(item.attempts == 1 for item in kept)
            made.append(MasksMade(name, count, len(kept), first))
        values = {"schema": SCHEMA, "bundle": opened.fingerprint, "seed": seed, "count": count}
        write_json(folder / RECORD, {**values, "scale": scale, "masks": records})
    return MasksResult(out, tuple(made))


def masks_beside(
    asked: str,
    source: str,
    bundle: Path,
    out: Path,
    defects: Sequence[str] | None,
    count: int,
    backend: str,
    say: Callable[[str], None],
) -> str:
    """Generate masks beside the data set `out`, where they are not there already; return their folder.

    Raises UserError for what is `asked` beyond `generated`, for a `source` of masks beside it, and for masks
    of another bundle or without a wanted defect's; else as `write_masks`.
    """
    if asked != "generated":
        raise UserError(f"--masks: expected generated, found {asked!r}; give masks with --placement-source")
    if source != "auto":
        raise UserError("--masks generated: is a --placement-source of its own; give one of them")
    folder = out.with_name(out.name + "-masks")
    wanted = [name for name in defects or [ALL] if name != GOOD]
    if folder.is_dir() and holds_ours(folder, MASKS):
        _check_kept(folder, bundle, wanted)
    else:
        write_masks(bundle, folder, wanted, count, backend=backend, say=say)
    return str(folder)


def _check_kept(folder: Path, bundle: Path, wanted: Sequence[str]) -> None:
    """Refuse masks of an earlier run that are not of this bundle, or lack a defect's."""
    manifest, fingerprint = read_manifest_file(bundle)
    advice = f"remove {folder}, or give another --out"
    if read_json(folder / RECORD, "generated masks").get("bundle") != fingerprint:
        raise UserError(f"--masks generated: {folder}: expected masks of this bundle, found others; {advice}")
    names = [] if ALL in wanted else [manifest.find_defect(name) for name in wanted]
    if missing := [name for name in names if not (folder / name).is_dir()]:
        raise UserError(f"--masks generated: {folder}: no masks of {', '.join(missing)}; {advice}")

"""Mutated pictures of every format through `data inspect`: no unexpected error, every skipped file named.

    python benchmarks/decoders.py --count 2000

Writes a product whose normals, photographs and masks are damaged files: bytes flipped, cut, doubled, spliced,
headers overwritten. Then runs the command as a person would, in a process of its own, and checks that it ends
with a report, writes nothing beside it, and names every file that it left out; what it did not leave out must
be readable as training reads it.
"""

from __future__ import annotations

import io
import json
import os
import random
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from machine import result_parser, write_result
from PIL import Image

from seas_runtime.errors import UserError
from seas_train.data import Preprocessing, load_product, read_image, read_mask

SIZE = (64, 48)
LEFT_OUT = {"unreadable image", "image too large", "not a mask", "empty mask", "mask vanishes"} | {
    "sizes of image and mask differ",
    "defect outside the centre crop",
}


@dataclass
class Outcome:
    """What `data inspect` made of the files."""

    code: int
    seconds: float
    files: int = 0
    left_out: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


def seeds() -> dict[str, bytes]:
    """Whole pictures of every format and mode that is read, by name with ending."""
    across, down = np.meshgrid(np.arange(SIZE[0]), np.arange(SIZE[1]))
    rgb = np.stack([across * 4, down * 5, (across * down) % 256], -1).astype(np.uint8)
    colour, grey = Image.fromarray(rgb), Image.fromarray(rgb[..., 0])
    rgba = Image.fromarray(np.dstack([rgb, rgb[..., 0]]))
    exif = Image.Exif()
    exif[0x0112] = 6
    wide = Image.fromarray(rgb[..., 0].astype(np.uint16) * 200)
    real = Image.fromarray(rgb[..., 0].astype(np.float32) / 255)
    pictures: dict[str, tuple[Image.Image, str, dict[str, Any]]] = {
        "rgb.png": (colour, "PNG", {}),
        "rgba.png": (rgba, "PNG", {}),
        "palette.png": (colour.quantize(32), "PNG", {"transparency": 3}),
        "grey16.png": (wide, "PNG", {"exif": exif}),
        "bits.png": (grey.convert("1"), "PNG", {}),
        "rgb.jpg": (colour, "JPEG", {"exif": exif}),
        "progressive.jpg": (colour, "JPEG", {"progressive": True}),
        "cmyk.jpg": (colour.convert("CMYK"), "JPEG", {}),
        "rgb.bmp": (colour, "BMP", {}),
        "rgb.webp": (colour, "WEBP", {}),
        "rgba.webp": (rgba, "WEBP", {"lossless": True}),
        "rgb.gif": (colour.quantize(64), "GIF", {}),
        "rgb.tif": (colour, "TIFF", {}),
        "lzw.tif": (colour, "TIFF", {"compression": "tiff_lzw"}),
        "deflate.tif": (wide, "TIFF", {"compression": "tiff_adobe_deflate"}),
        "jpeg.tif": (colour, "TIFF", {"compression": "jpeg"}),
        "fax.tif": (grey.convert("1"), "TIFF", {"compression": "group4"}),
        "float.tif": (real, "TIFF", {}),
        "pages.tif": (grey, "TIFF", {"save_all": True, "append_images": [grey, grey]}),
    }
    made = {}
    for name, (picture, form, options) in pictures.items():
        buffer = io.BytesIO()
        picture.save(buffer, form, **options)
        made[name] = buffer.getvalue()
    rows = b"".join(b"\0" + row.tobytes() for row in rgb.astype(">u2") * 16)
    header = struct.pack(">IIBBBBB", *SIZE, 16, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    data = b"".join(struct.pack(">I", len(data)) + name + data + bytes(4) for name, data in chunks)
    made["rgb16.png"] = mend_png(b"\x89PNG\r\n\x1a\n" + data)
    return made


def mend_png(data: bytes) -> bytes:
    """Write the checksums that a PNG's chunks should have, as far as its lengths lead."""
    made, at = bytearray(data), 8
    while at + 12 <= len(made):
        length = int.from_bytes(made[at : at + 4], "big")
        end = at + 8 + length
        if end + 4 > len(made):
            break
        made[end : end + 4] = zlib.crc32(made[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return bytes(made)


def mutate(data: bytes, other: bytes, chance: random.Random) -> bytes:
    """Damage a file in one to three ways."""
    made = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        at, length = chance.randrange(len(made)), chance.randint(1, 64)
        early = chance.randrange(min(len(made), 80))
        way = chance.choice((0, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7))
        if way == 0:
            made[at] ^= 1 << chance.randrange(8)
        elif way == 1:
            made[early] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
        elif way == 2:
            made = made[: at + 1]
        elif way == 3:
            made[at : at + length] = bytes(length)
        elif way == 4:
            made[at:at] = made[at : at + length]
        elif way == 5:
            del made[at : at + length]
        elif way == 6:
            made[at:] = other[at:]
        else:
            made[early : early + 4] = chance.choice((b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff"))
        made = made or bytearray(b"\0")
    return mend_png(bytes(made)) if made[:4] == b"\x89PNG" and chance.random() < 0.7 else bytes(made)


def write_product(folder: Path, count: int, seed: int) -> None:
    """Write a product of `count` mutated files, with a whole normal and a whole pair beside them."""
    chance, whole = random.Random(seed), seeds()
    names = sorted(whole)
    mask = Image.new("L", SIZE)
    mask.paste(255, (20, 12, 44, 36))
    for part in ("train/good", "test/hole", "ground_truth/hole"):
        (folder / part).mkdir(parents=True)
    for part, name in (("train/good", "whole.png"), ("test/hole", "whole.png")):
        (folder / part / name).write_bytes(whole["rgb.png"])
    mask.save(folder / "ground_truth/hole/whole.png")
    for index in range(count):
        name = names[index % len(names)]
        data, suffix = mutate(whole[name], whole[chance.choice(names)], chance), Path(name).suffix
        suffix = ".png" if suffix in (".gif", ".webp") else suffix  # content counts
        if index % 2:
            (folder / "train/good" / f"{index:05}{suffix}").write_bytes(data)
        elif index % 4:
            (folder / "test/hole" / f"{index:05}{suffix}").write_bytes(data)
            mask.save(folder / "ground_truth/hole" / f"{index:05}.png")
        else:
            (folder / "test/hole" / f"{index:05}.png").write_bytes(whole["rgb.png"])
            (folder / "ground_truth/hole" / f"{index:05}{suffix}").write_bytes(data)


def inspect(folder: Path) -> Outcome:
    """Run `data inspect` on the product, and hold its report against the files."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "seas_export", "data", "inspect", str(folder), "--json", "--size", "64"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False, env=environment)
    outcome = Outcome(done.returncode, round(time.perf_counter() - started, 1))
    if done.returncode != 0:
        outcome.faults.append(f"exit code {done.returncode}: {done.stderr[-400:]}")
    if done.returncode not in (0, 1):
        return outcome
    if done.stderr.strip():
        outcome.faults.append(f"on stderr: {done.stderr[:400]}")
    report = json.loads(done.stdout)
    named = {p["path"] for p in report["problems"] if p["kind"] in LEFT_OUT}
    outcome.kinds = dict(Counter(p["kind"] for p in report["problems"]))
    counts = [report["normals"], *report["defects"]]
    outcome.left_out, outcome.files = sum(c["left_out"] for c in counts), sum(c["found"] for c in counts)
    preprocessing = load_product(folder, size=64).preprocessing
    for group, read in (("train/good", read_image), ("test/hole", read_image)):
        for path in sorted((folder / group).iterdir()):
            _hold(outcome, folder, path, named, lambda p=path, r=read: r(p, preprocessing))
    for path in sorted((folder / "ground_truth/hole").iterdir()):
        _hold(outcome, folder, path, named, lambda p=path: _marked(p, preprocessing))
    if outcome.left_out != len(named):
        outcome.faults.append(f"{outcome.left_out} left out, {len(named)} named")
    return outcome


def _marked(path: Path, preprocessing: Preprocessing) -> None:
    if not read_mask(path, preprocessing).any():
        raise UserError(f"{path}: nothing is marked")


def _hold(outcome: Outcome, folder: Path, path: Path, named: set[str], read: Any) -> None:
    """A file that is not named must be readable as training reads it."""
    name = path.relative_to(folder).as_posix()
    try:
        read()
    except UserError as error:
        if name not in named:
            outcome.faults.append(f"{name} is not named: {error}")
    except Exception as error:
        outcome.faults.append(f"{name}: unexpected {type(error).__name__}: {error}")


def main() -> int:
    """Write the files, run the command, write the figures."""
    parser = result_parser("decoders", __doc__)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        write_product(Path(scratch) / "part", arguments.count, arguments.seed)
        outcome = inspect(Path(scratch) / "part")
    print(json.dumps(vars(outcome), indent=2))
    write_result(arguments.out, {"count": arguments.count, "seed": arguments.seed, **vars(outcome)})
    return 1 if outcome.faults else 0


if __name__ == "__main__":
    sys.exit(main())

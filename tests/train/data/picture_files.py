"""Picture files that Pillow cannot write, for the tests of reading them."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np


def write_png(path: Path, values: np.ndarray) -> Path:
    """A PNG of 16 bits a channel: uint16 [height, width, channels], 1 to 4 of them."""
    height, width, channels = values.shape
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return _write(path, b"\x89PNG\r\n\x1a\n" + data)


def write_tiff(
    path: Path,
    values: np.ndarray,
    *,
    big: bool = False,
    deflate: bool = False,
    planes: bool = False,
    alpha: int | None = None,
    photometric: int | None = None,
) -> Path:
    """A TIFF of one strip a plane: [height, width] or [height, width, channels] of any number type.

    `alpha` is the meaning of a fourth channel: 1 for associated, 2 for plain alpha.
    """
    order = ">" if big else "<"
    pixels = values[..., None] if values.ndim == 2 else values
    height, width, channels = pixels.shape
    bits, kind = pixels.dtype.itemsize * 8, {"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]
    parts = [pixels[..., c] for c in range(channels)] if planes else [pixels]
    strips = [part.astype(part.dtype.newbyteorder(order)).tobytes() for part in parts]
    strips = [zlib.compress(strip) for strip in strips] if deflate else strips
    photometric = photometric if photometric is not None else (1 if channels == 1 else 2)
    offsets, at = [], 8
    for strip in strips:
        offsets.append(at)
        at += len(strip)
    tags = {
        256: ("I", [width]),
        257: ("I", [height]),
        258: ("H", [bits] * channels),
        259: ("H", [8 if deflate else 1]),
        262: ("H", [photometric]),
        273: ("I", offsets),
        277: ("H", [channels]),
        278: ("I", [height]),
        279: ("I", [len(strip) for strip in strips]),
        284: ("H", [2 if planes else 1]),
        339: ("H", [kind] * channels),
    }
    if alpha is not None:
        tags[338] = ("H", [alpha])
    extra_at = at + 2 + 12 * len(tags) + 4
    entries, extra = b"", b""
    for tag, (form, numbers) in sorted(tags.items()):
        data = struct.pack(f"{order}{len(numbers)}{form}", *numbers)
        entries += struct.pack(f"{order}HHI", tag, {"H": 3, "I": 4}[form], len(numbers))
        if len(data) > 4:
            entries += struct.pack(f"{order}I", extra_at + len(extra))
            extra += data
        else:
            entries += data.ljust(4, b"\0")
    header = (b"MM\0*" if big else b"II*\0") + struct.pack(f"{order}I", at)
    directory = struct.pack(f"{order}H", len(tags)) + entries + bytes(4)
    return _write(path, header + b"".join(strips) + directory + extra)


def write_bmp_with_alpha(path: Path, rgba: np.ndarray) -> Path:
    """A BMP with a V4 header and a mask for alpha: uint8 [height, width, 4]."""
    height, width, _ = rgba.shape
    masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    header = struct.pack("<IiiHHIIiiII", 108, width, height, 1, 32, 3, rgba.size, 2835, 2835, 0, 0)
    header += masks + b"BGRs" + bytes(48)
    pixels = rgba[::-1][..., [2, 1, 0, 3]].tobytes()
    start = 14 + len(header)
    return _write(path, struct.pack("<2sIHHI", b"BM", start + len(pixels), 0, 0, start) + header + pixels)


def _write(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path

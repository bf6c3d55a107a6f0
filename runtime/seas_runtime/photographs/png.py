"""Writes PNG of 8 and 16 bits a channel: Pillow cannot write colour of 16 bits."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image

from seas_runtime.photographs.values import Pixels

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # channels -> colour type (PNG 1.2, table 11.1)
_UP = 2  # filter: a byte less the one above (PNG 1.2, section 9)
_LEVEL = 6  # of zlib, its default: level 9 takes five times as long for a percent
_BLOCK = 1 << 24  # bytes that are filtered and compressed at a time


def encode_png(pixels: Pixels) -> bytes:
    """Return `pixels`, uint8 or uint16 [H, W] or [H, W, 2, 3 or 4], as a PNG without loss.

    The same pixels give the same bytes with one version of zlib. Raises ValueError for another shape or type.
    """
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    if pixels.ndim not in (2, 3) or channels not in _COLOUR_TYPES or 0 in pixels.shape:
        raise ValueError(f"expected [H, W] or [H, W, 2, 3 or 4], found {list(pixels.shape)}")
    if pixels.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"expected uint8 or uint16, found {pixels.dtype}")
    height, width = pixels.shape[:2]
    depth = 8 * pixels.dtype.itemsize
    header = struct.pack(">IIBBBBB", width, height, depth, _COLOUR_TYPES[channels], 0, 0, 0)
    return b"".join(
        [
            _SIGNATURE,
            _chunk(b"IHDR", header),
            _chunk(b"IDAT", _compressed(pixels)),
            _chunk(b"IEND", b""),
        ]
    )


def encode_picture(pixels: Pixels) -> bytes:
    """Return `pixels`, as `encode_png` takes them, as a PNG; Pillow makes smaller ones of 8 bits."""
    if pixels.dtype != np.uint8:
        return encode_png(pixels)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def _compressed(pixels: Pixels) -> bytes:
    """Return the rows, each less the one above it and with its filter's number before it, compressed."""
    height = pixels.shape[0]
    row = pixels[0].nbytes
    many = max(1, _BLOCK // row)
    compressor = zlib.compressobj(_LEVEL)
    parts, above = [], np.zeros((1, row), np.uint8)
    for start in range(0, height, many):
        block = np.ascontiguousarray(pixels[start : start + many], pixels.dtype.newbyteorder(">"))
        rows = block.reshape(len(block), -1).view(np.uint8)
        filtered = np.empty((len(rows), row + 1), np.uint8)
        filtered[:, 0] = _UP
        filtered[:, 1:] = rows - np.concatenate([above, rows[:-1]])
        parts.append(compressor.compress(filtered.tobytes()))
        above = rows[-1:]
    return b"".join([*parts, compressor.flush()])


def _chunk(kind: bytes, data: bytes) -> bytes:
    check = zlib.crc32(data, zlib.crc32(kind))
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

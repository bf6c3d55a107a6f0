"""Small products written to disk for the tests of seas_train.data, every picture of them different."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (48, 40)  # width, height


def photograph(seed: int, size: tuple[int, int] = SIZE) -> Image.Image:
    values = np.random.default_rng(seed).integers(60, 200, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(values)


def square_mask(size: tuple[int, int] = SIZE, value: int = 255) -> Image.Image:
    """A mask of a square in the middle, a third of the short side wide."""
    side, middle = min(size) // 3, (size[0] // 2, size[1] // 2)
    values = np.zeros((size[1], size[0]), np.uint8)
    values[middle[1] - side // 2 : middle[1] + side // 2, middle[0] - side // 2 : middle[0] + side // 2] = (
        value
    )
    return Image.fromarray(values)


def save(image: Image.Image, path: Path, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)  # type: ignore[arg-type]
    return path


def write_mvtec(
    root: Path,
    defects: dict[str, int] | None = None,
    normals: int = 4,
    test_normals: int = 2,
    value: int = 255,
    suffix: str = ".png",
) -> Path:
    """A product in MVTec AD layout with `defects` (name: pairs); seeds follow from the order of files."""
    seed = 1000
    for part, count in (("train", normals), ("test", test_normals)):
        for index in range(count):
            seed += 1
            save(photograph(seed), root / part / "good" / f"{index:03}{suffix}")
    for name, count in ({"crack": 3} if defects is None else defects).items():
        for index in range(count):
            seed += 1
            save(photograph(seed), root / "test" / name / f"{index:03}{suffix}")
            save(square_mask(value=value), root / "ground_truth" / name / f"{index:03}_mask.png")
    return root


def write_visa(
    root: Path, labels: list[str], normals: int = 4, product: str = "candle", split: bool = True
) -> Path:
    """A product in VisA's layout: an anomaly for each label, every other normal for training."""
    folder = root / product
    split_rows, rows = ["object,split,label,image,mask"], ["image,label,mask"]
    for index in range(normals):
        save(photograph(index), folder / "Data/Images/Normal" / f"{index:04}.JPG")
        image = f"{product}/Data/Images/Normal/{index:04}.JPG"
        rows.append(f"{image},normal,")
        split_rows.append(f"{product},{'train' if index % 2 else 'test'},normal,{image},")
    for index, label in enumerate(labels):
        save(photograph(100 + index), folder / "Data/Images/Anomaly" / f"{index:03}.JPG")
        save(square_mask(value=1 + index % 3), folder / "Data/Masks/Anomaly" / f"{index:03}.png")
        image, mask = (
            f"{product}/Data/Images/Anomaly/{index:03}.JPG",
            f"{product}/Data/Masks/Anomaly/{index:03}.png",
        )
        rows.append(f'{image},"{label}",{mask}' if "," in label else f"{image},{label},{mask}")
        split_rows.append(f"{product},test,anomaly,{image},{mask}")
    (folder / "image_anno.csv").write_text("\r\n".join(rows) + "\r\n")
    if split:
        (root / "split_csv").mkdir()
        (root / "split_csv" / "1cls.csv").write_text("\n".join(split_rows) + "\n")
    return folder


def write_mvtec3d(root: Path, defects: dict[str, int], normals: int = 4) -> Path:
    """A product in MVTec 3D AD's layout, with point clouds that nothing should open."""
    seed = 0
    folders = {"train/good": normals, "validation/good": 2, "test/good": 1}
    folders |= {f"test/{name}": count for name, count in defects.items()}
    for folder, count in folders.items():
        for index in range(count):
            seed += 1
            save(photograph(seed), root / folder / "rgb" / f"{index:03}.png")
            (root / folder / "xyz").mkdir(parents=True, exist_ok=True)
            (root / folder / "xyz" / f"{index:03}.tiff").write_bytes(b"a point cloud")
            if folder.startswith("test/"):
                mask = square_mask(value=0 if folder == "test/good" else 255)
                save(mask, root / folder / "gt" / f"{index:03}.png")
    return root


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size without holding its pixels: what a decompression bomb looks like."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 1000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")

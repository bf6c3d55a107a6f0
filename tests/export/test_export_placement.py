"""A bundle carries the shapes of its checkpoint, and as many of its photographs as were asked for."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from seas_export.export import ExportResult
from seas_export.export import backgrounds as module
from seas_export.export.backgrounds import copy_backgrounds
from seas_export.extras import Extras
from seas_runtime.bundle.reading import Bundle
from seas_runtime.errors import UserError
from seas_runtime.photographs.png import encode_png
from tests.export.checkpoints import DEFECTS, write_placement
from tests.export.commands import Run


def photographs(count: int) -> list[np.ndarray]:
    random = np.random.default_rng(1)
    return [random.integers(0, 65536, (40, 60)).astype(np.uint16) for _ in range(count)]


@pytest.fixture
def placed(checkpoint_folder: Path, tmp_path: Path) -> Path:
    """The tiny checkpoint with shapes and five photographs."""
    folder = Path(shutil.copytree(checkpoint_folder, tmp_path / "checkpoint"))
    write_placement(folder, photographs(5))
    return folder


def test_shapes_and_photographs_of_a_checkpoint(
    traced: Callable[..., ExportResult], placed: Path, tmp_path: Path
) -> None:
    said: list[str] = []
    made = traced(placed, tmp_path / "bundle", steps=10, parity=False, progress=said.append)
    bundle = Bundle.read(made.bundle)
    assert sorted(bundle.shapes) == sorted(DEFECTS)
    assert bundle.shapes["chip"][0].spot == (0.5, 0.25)
    assert bundle.manifest.generation["regions"] is True
    assert len(bundle.backgrounds) == 5
    assert all(map(np.array_equal, (one.pixels for one in bundle.backgrounds), photographs(5)))
    assert [line for line in said if line.startswith("photographs to draw into: 5; 0.0 MB")]


@pytest.mark.parametrize(("wanted", "kept"), [(0, []), (1, [0]), (2, [0, 2]), (100, [0, 1, 2, 3, 4])])
def test_as_many_photographs_as_were_asked_for(
    traced: Callable[..., ExportResult], placed: Path, tmp_path: Path, wanted: int, kept: list[int]
) -> None:
    extras = Extras(backgrounds=wanted)
    made = traced(placed, tmp_path / "bundle", steps=10, parity=False, extras=extras)
    bundle = Bundle.read(made.bundle)
    assert (made.bundle / "backgrounds").exists() == bool(kept)
    expected = photographs(5)
    assert len(bundle.backgrounds) == len(kept)
    for photograph, index in zip(bundle.backgrounds, kept, strict=True):
        assert np.array_equal(photograph.pixels, expected[index])


def test_half_precision_keeps_them(traced: Callable[..., ExportResult], placed: Path, tmp_path: Path) -> None:
    made = traced(placed, tmp_path / "bundle", steps=10, parity=False, precision="fp16")
    bundle = Bundle.read(made.bundle)
    assert len(bundle.backgrounds) == 5
    assert bundle.shapes["chip"][0].mask.all()
    assert not (made.bundle / ".float32").exists()


def test_checkpoints_of_earlier_versions_have_neither(exported: ExportResult) -> None:
    bundle = Bundle.read(exported.bundle, verify=False)
    assert bundle.shapes == {}
    assert len(bundle.backgrounds) == 0
    assert "regions" not in bundle.manifest.generation
    assert "placement" not in bundle.manifest.tables


def test_fewer_where_they_are_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = []
    for index, pixels in enumerate(photographs(4)):
        paths.append(tmp_path / f"{index}.png")
        paths[-1].write_bytes(encode_png(pixels if index != 1 else np.tile(pixels, (3, 3))))
    sizes = [path.stat().st_size for path in paths]
    monkeypatch.setattr(module, "MOST_BYTES", sizes[0] + sizes[2] + 10)
    said: list[str] = []
    assert copy_backgrounds(paths, tmp_path, 16, said.append) == 2
    assert (tmp_path / "backgrounds/001.png").read_bytes() == paths[2].read_bytes()
    assert "photographs to draw into: 2 of 4, as all would be over" in said[0]
    paths[0].write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"0\.png: is not a PNG"):
        copy_backgrounds(paths, tmp_path / "other", 16, said.append)


def test_the_option(run: Run, tmp_path: Path) -> None:
    ended = run("export", tmp_path, "--out", tmp_path / "out", "--backgrounds", 101)
    assert ended.code == 2
    assert "backgrounds" in ended.err
    optimum = run("export", tmp_path, "--layout", "optimum", "--out", tmp_path / "out", "--backgrounds", 3)
    assert optimum.code == 2
    assert "--backgrounds: are a bundle's" in optimum.err

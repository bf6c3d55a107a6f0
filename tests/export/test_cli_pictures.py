"""How photographs and masks are read: the same by every command, from the command line and from YAML."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seas_export.cli import options
from seas_export.config.build import load_config
from seas_train.data import Masks, Window, load_product
from seas_train.settings import parse_assignments
from tests.export.commands import Run


@pytest.fixture
def flat_product(toy_product: Path, tmp_path: Path) -> Path:
    """The tiny product, of photographs of 16 levels."""
    folder = tmp_path / "photos" / "plate"
    shutil.copytree(toy_product, folder)
    for file in [*folder.glob("train/good/*"), *folder.glob("test/*/*")]:
        with Image.open(file) as picture:
            values = np.asarray(picture) // 16 + 100
        Image.fromarray(values.astype(np.uint8)).save(file)
    return folder


def test_data_inspect_warns_of_flat_pictures_and_takes_a_window(run: Run, flat_product: Path) -> None:
    flat = run("data", "inspect", flat_product, "--size", "64", "--json")
    assert (flat.code, flat.err) == (0, "")
    assert [p["message"] for p in flat.json["problems"] if p["kind"] == "few levels used"]
    stretched = run("data", "inspect", flat_product, "--size", "64", "--window", "100,116", "--json")
    assert stretched.json["pictures"]["window"] == [100, 116]
    assert not [p for p in stretched.json["problems"] if p["kind"] == "few levels used"]
    text = run("data", "inspect", flat_product, "--size", "64", "--window", "[100, 116]").out
    assert "window: values of 100 to 116 become black to white (as asked for)" in text


def test_the_command_line_and_yaml_say_the_same(tmp_path: Path, flat_product: Path) -> None:
    file = tmp_path / "part.yaml"
    file.write_text("product: plate\nphotographs:\n  window: [100, 116]\n  masks: labels\n")
    read = load_config(file, {}).photographs
    assert (read.window, read.masks) == ((100.0, 116.0), Masks.LABELS)
    assert load_config(file, {"photographs": {"window": "full"}}).photographs.window is Window.FULL
    assigned = load_config(file, parse_assignments(["photographs.window=[1, 2]"])).photographs
    assert assigned.window == (1.0, 2.0)
    given = options.photographs(None, window="100,116", masks="labels")
    assert (given.window, given.masks) == (read.window, read.masks)
    assert (
        load_product(flat_product, given, size=64).fingerprint
        == load_product(flat_product, read, size=64).fingerprint
    )
    assert load_config(None, {"product": "x", "photographs": read.to_dict()}).photographs == read

"""What this user may not read is skipped with a warning, wherever it lies."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Callable
from pathlib import Path

import pytest

from seas_runtime.errors import UserError
from seas_train.data import inspect_product, load_product, products_in
from seas_train.data.layouts import choose_layout
from tests.train.data.product_folders import write_mvtec, write_visa

Forbid = Callable[[Path], None]


@pytest.fixture
def forbid(monkeypatch: pytest.MonkeyPatch) -> Forbid:
    """Make folders unreadable, for the superuser too: nothing of them can be listed or looked at."""
    forbidden: list[str] = []
    kept = {"scandir": os.scandir, "listdir": os.listdir, "stat": os.stat}

    def guard(name: str, inside_only: bool) -> Callable[..., object]:
        def guarded(path: object = ".", *args: object, **kwargs: object) -> object:
            text = os.fspath(path) if isinstance(path, (str, os.PathLike)) else ""
            for folder in forbidden:
                if text.startswith(folder + os.sep) or (text == folder and not inside_only):
                    raise PermissionError(13, "Permission denied", text)
            return kept[name](path, *args, **kwargs)

        return guarded

    for name, inside_only in (("scandir", False), ("listdir", False), ("stat", True)):
        monkeypatch.setattr(os, name, guard(name, inside_only))
    monkeypatch.setattr(pathlib.os, "scandir", os.scandir)
    return lambda folder: forbidden.append(str(folder))


@pytest.mark.parametrize(
    "place",
    ["", "train", "test", "ground_truth", "test/crack", "ground_truth/crack", "train/good"],
)
def test_an_unreadable_folder_in_a_product_is_a_warning(tmp_path: Path, forbid: Forbid, place: str) -> None:
    folder = write_mvtec(tmp_path / "bottle", {"crack": 3})
    (folder / place / "private").mkdir()
    forbid(folder / place / "private")
    report = inspect_product(folder, size=32)
    assert report.usable
    assert any("cannot be read" in problem.message for problem in report.warnings)


@pytest.mark.parametrize("place", ["train/good", "test/crack", "ground_truth/crack", "ground_truth", "test"])
def test_an_unreadable_folder_of_pictures_is_named(tmp_path: Path, forbid: Forbid, place: str) -> None:
    folder = write_mvtec(tmp_path / "bottle", {"crack": 3, "dent": 3})
    forbid(folder / place)
    report = inspect_product(folder, size=32)
    assert any(p.path == folder / place and "cannot be read" in p.message for p in report.problems)


def test_unreadable_folders_beside_products_are_skipped_and_told(tmp_path: Path, forbid: Forbid) -> None:
    write_mvtec(tmp_path / "bottle")
    for name in ("lost+found", "private", "split_csv"):
        (tmp_path / name).mkdir()
        forbid(tmp_path / name)
    said: list[str] = []
    assert products_in(tmp_path, said.append) == ["bottle"]
    assert [line.split(":")[1].strip() for line in said] == [
        str(tmp_path / "private"),
        str(tmp_path / "split_csv"),
    ]
    with pytest.raises(UserError, match="folder of products: bottle"):
        choose_layout(tmp_path, None)


def test_visas_split_that_cannot_be_read_is_as_none(tmp_path: Path, forbid: Forbid) -> None:
    folder = write_visa(tmp_path, ["melt"] * 3)
    forbid(tmp_path / "split_csv")
    assert load_product(folder, size=32).normals


def test_a_product_that_cannot_be_read_is_told_in_one_sentence(tmp_path: Path, forbid: Forbid) -> None:
    folder = write_mvtec(tmp_path / "bottle")
    forbid(folder)
    with pytest.raises(UserError, match=r"bottle: the folder cannot be read: Permission denied"):
        inspect_product(folder, size=32)

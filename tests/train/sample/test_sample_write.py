import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seas_runtime.errors import UserError
from seas_runtime.outputs.kinds import MARKER
from seas_train.sample import DEFECTS, PRODUCT, render_bottle, write_sample

SMALL = {"size": 64, "train_good": 3, "test_good": 2, "defective": 2}


def contents(folder: Path) -> dict[str, bytes]:
    """Every file under `folder`, by relative name."""
    files = (file for file in sorted(folder.rglob("*")) if file.is_file())
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


def test_layout(tmp_path: Path) -> None:
    folder = write_sample(tmp_path / "new" / "products", **SMALL)
    assert folder == tmp_path / "new" / "products" / PRODUCT
    expected = {"README.txt", "sample.json", "train/good/000.png", "train/good/001.png", "train/good/002.png"}
    expected |= {"test/good/000.png", "test/good/001.png", MARKER}
    for defect in DEFECTS:
        for number in ("000", "001"):
            expected |= {f"test/{defect}/{number}.png", f"ground_truth/{defect}/{number}_mask.png"}
    assert set(contents(folder)) == expected
    assert "Apache" in (folder / "README.txt").read_text()
    assert [entry.name for entry in folder.parent.iterdir()] == [PRODUCT]  # nothing left beside it


def test_pictures_and_masks_belong_together(tmp_path: Path) -> None:
    folder = write_sample(tmp_path, seed=4, **SMALL)
    pictures = contents(folder)
    images = [name for name in pictures if name.startswith(("train/", "test/"))]
    assert len({pictures[name] for name in images}) == len(images)  # no bottle twice
    for group, defect in enumerate(DEFECTS, start=2):
        image = Image.open(folder / "test" / defect / "001.png")
        mask = Image.open(folder / "ground_truth" / defect / "001_mask.png")
        assert (image.mode, mask.mode) == ("RGB", "L")
        rendered = render_bottle(4, (2 + len(DEFECTS)) + group, defect, 64)
        assert np.array_equal(np.asarray(image), rendered.image)
        assert np.array_equal(np.asarray(mask), rendered.mask)


def test_the_default_is_the_promised_sample(tmp_path: Path) -> None:
    folder = write_sample(tmp_path, size=64)
    counts = {sub.relative_to(folder).as_posix(): len(list(sub.glob("*.png"))) for sub in folder.glob("*/*")}
    assert counts == {
        "train/good": 72,
        "test/good": 24,
        **{f"{part}/{defect}": 30 for part in ("test", "ground_truth") for defect in DEFECTS},
    }


def test_the_same_sample_is_left_as_it_is(tmp_path: Path) -> None:
    folder = write_sample(tmp_path, **SMALL)
    before = folder.stat().st_ino, contents(folder)
    assert write_sample(tmp_path, **SMALL) == folder
    assert (folder.stat().st_ino, contents(folder)) == before


def test_a_folder_of_something_else_is_refused_and_kept(tmp_path: Path) -> None:
    photograph = tmp_path / PRODUCT / "train" / "good" / "mine.png"
    photograph.parent.mkdir(parents=True)
    photograph.write_bytes(b"precious")
    with pytest.raises(UserError, match=r"bottle already exists: expected .* found no readable sample.json"):
        write_sample(tmp_path, **SMALL)
    assert contents(tmp_path / PRODUCT) == {"train/good/mine.png": b"precious"}


def test_another_sample_is_refused(tmp_path: Path) -> None:
    folder = write_sample(tmp_path, seed=1, **SMALL)
    before = contents(folder)
    with pytest.raises(UserError, match=r'another sample: .*"seed": 1'):
        write_sample(tmp_path, seed=2, **SMALL)
    assert contents(folder) == before


def test_an_incomplete_sample_is_refused(tmp_path: Path) -> None:
    folder = write_sample(tmp_path, **SMALL)
    (folder / "test" / "good" / "001.png").unlink()
    with pytest.raises(UserError, match=r"1 files missing, test/good/001\.png"):
        write_sample(tmp_path, **SMALL)


def test_overwrite_replaces_the_whole_folder(tmp_path: Path) -> None:
    write_sample(tmp_path / "expected", seed=2, **SMALL)
    folder = write_sample(tmp_path, seed=1, **SMALL)
    note = folder / "notes.txt"
    note.write_text("mine")
    with pytest.raises(UserError, match=r"no command of ours wrote.*notes\.txt"):
        write_sample(tmp_path, seed=2, overwrite=True, **SMALL)
    assert note.read_text() == "mine"
    note.unlink()
    assert write_sample(tmp_path, seed=2, overwrite=True, **SMALL) == folder
    assert contents(folder) == contents(tmp_path / "expected" / PRODUCT)


def test_a_failure_half_way_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = write_sample(tmp_path, seed=1, **SMALL)
    before = contents(old)
    save, saved = Image.Image.save, []

    def full_disk(self: Image.Image, file: Path) -> None:
        if len(saved) == 4:
            raise OSError(28, "No space left on device")
        saved.append(file)
        save(self, file)

    monkeypatch.setattr(Image.Image, "save", full_disk)
    with pytest.raises(UserError, match="the disk is full"):
        write_sample(tmp_path, seed=2, overwrite=True, **SMALL)
    assert contents(old) == before
    assert [entry.name for entry in tmp_path.iterdir()] == [PRODUCT]


@pytest.mark.parametrize("record", [True, False])
def test_ones_own_product_called_bottle_is_never_overwritten(tmp_path: Path, record: bool) -> None:
    folder = tmp_path / PRODUCT
    if record:  # photographs among, or in the place of, the sample's
        write_sample(tmp_path, **SMALL)
    photograph = folder / "train/good/000.png"
    photograph.parent.mkdir(parents=True, exist_ok=True)
    photograph.write_bytes(b"precious")
    with pytest.raises(UserError, match=r"train/good/000\.png"):
        write_sample(tmp_path, overwrite=True, **SMALL)
    assert photograph.read_bytes() == b"precious"


def test_a_file_in_the_way_is_a_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "products").write_text("a file, not a folder")
    with pytest.raises(UserError, match=r"products.*expected a folder"):
        write_sample(tmp_path / "products", **SMALL)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_a_users_mistake(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(UserError, match="could not be written"):
            write_sample(tmp_path, **SMALL)
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize("wrong", [{"seed": -1}, {"size": 8}, {"train_good": 0}, {"defective": -1}])
def test_numbers_out_of_range_are_named(tmp_path: Path, wrong: dict[str, int]) -> None:
    (name,) = wrong
    with pytest.raises(UserError, match=f"expected {name} of"):
        write_sample(tmp_path, **{**SMALL, **wrong})

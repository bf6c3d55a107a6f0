"""A defect goes from one dataset to another with its pairs, and with what a person did to them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seas_runtime.dataset import moving
from seas_runtime.dataset.moving import clear_dataset, move_defects
from seas_runtime.dataset.writing import write_dataset
from seas_runtime.errors import UserError
from seas_runtime.generation.generator import Generator
from seas_runtime.photographs.png import encode_picture
from tests.runtime.datasets import dataset_request, read_records, snapshot


def write(generator: Generator, out: Path, *defects: str, count: int = 4) -> dict[str, bytes]:
    write_dataset(generator, dataset_request(defects, count, seed=3), out)
    return snapshot(out)


@pytest.fixture
def place(generator: Generator, tmp_path: Path) -> Path:
    """`all` and `rest`, with a retouched mask, a pair that is deleted and a note in `all`."""
    image = generator.manifest.image
    write(generator, tmp_path / "all", "stain", "broken_large", "good")
    files = [record["files"] for record in read_records(tmp_path / "all") if record["defect"] == "stain"]
    files = [one for one in files if one]
    retouched = encode_picture(np.full((image.height, image.width), 255, np.uint8))
    (tmp_path / "all" / files[0]["mask"]).write_bytes(retouched)
    (tmp_path / "all" / files[1]["image"]).unlink()
    write(generator, tmp_path / "all", "stain", "broken_large", "good")
    (tmp_path / "all/test/stain/NOTES.txt").write_text("mine")
    return tmp_path


def settled(generator: Generator, place: Path) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Both datasets, once they are written again without and with `stain`."""
    return (
        write(generator, place / "all", "broken_large", "good"),
        write(generator, place / "rest", "stain"),
    )


def test_a_defect_is_moved_there_and_back_with_what_a_person_did(generator: Generator, place: Path) -> None:
    before = snapshot(place / "all")
    move_defects(place / "all", place / "rest", ("stain",))
    left, moved = settled(generator, place)
    stain = {path for path in before if "/stain/" in path and not path.endswith(".txt")}
    assert {path: moved[path] for path in stain} == {path: before[path] for path in stain}
    assert {path for path in left if "/stain/" in path} == {"test/stain/NOTES.txt"}
    assert [record["deleted"] for record in read_records(place / "rest") if "deleted" in record] == [True]
    write(generator, place / "whole", "broken_large", "good")
    whole = snapshot(place / "whole")
    assert {path: left[path] for path in whole} == whole

    move_defects(place / "rest", place / "all", ("stain", "good"))
    assert not (place / "rest").exists()
    assert write(generator, place / "all", "stain", "broken_large", "good") == before


@pytest.mark.parametrize("step", range(14))
def test_a_move_that_was_stopped_at_any_step_continues(
    generator: Generator, place: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    shutil.copytree(place / "all", place / "straight/all")
    move_defects(place / "straight/all", place / "straight/rest", ("stain",))
    steps = 0

    def stopping(call: Any) -> Any:
        def stop(*given: Any) -> Any:
            nonlocal steps
            steps += 1
            if steps > step:
                raise KeyboardInterrupt
            return call(*given)

        return stop

    with monkeypatch.context() as patch:
        for name in ("write_json", "note_pending", "remove", "remove_dataset"):
            patch.setattr(moving, name, stopping(getattr(moving, name)))
        patch.setattr(moving.shutil, "move", stopping(shutil.move))
        for name in ("append", "keep"):
            patch.setattr(moving.RecordFile, name, stopping(getattr(moving.RecordFile, name)))
        try:
            move_defects(place / "all", place / "rest", ("stain",))
        except KeyboardInterrupt:
            pass
        else:
            assert step >= 8  # as many as there are
    move_defects(place / "all", place / "rest", ("stain",))
    assert settled(generator, place) == settled(generator, place / "straight")


def test_a_persons_file_where_a_pair_would_go_is_refused_before_anything_moves(place: Path) -> None:
    mask = next((place / "all/ground_truth/stain").iterdir()).relative_to(place / "all")
    (place / "rest" / mask).parent.mkdir(parents=True)
    (place / "rest" / mask).write_bytes(b"mine")
    before = snapshot(place / "all")
    with pytest.raises(UserError, match="no command of ours wrote"):
        move_defects(place / "all", place / "rest", ("stain",))
    assert snapshot(place / "all") == before
    assert (place / "rest" / mask).read_bytes() == b"mine"


def test_a_cleared_dataset_leaves_other_files(place: Path) -> None:
    clear_dataset(place / "all")
    files = [path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file()]
    assert files == ["all/test/stain/NOTES.txt"]
    clear_dataset(place / "none")


def test_more_defects_continue_and_fewer_are_refused(generator: Generator, place: Path) -> None:
    before = write(generator, place / "out", "stain")
    with pytest.raises(UserError, match="another defects"):
        write(generator, place / "out", "good")
    after = write(generator, place / "out", "stain", "good")
    kept = {path for path in before if "/" in path}
    assert {path: after[path] for path in kept} == {path: before[path] for path in kept}
    assert after == write(generator, place / "whole", "stain", "good")

"""Parts that were photographed several times, on one side of the split."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from parts_apart import choose, main, parts_of, turns
from PIL import Image


@pytest.fixture
def photographs(tmp_path: Path) -> list[Path]:
    """Four surfaces, each in three lights, moved by a few pixels and a little scaled by its file's size."""
    made = []
    random = np.random.default_rng(0)
    surfaces = [random.normal(0, 30, (60, 80)).repeat(4, 0).repeat(4, 1) for _ in range(4)]
    for number in range(12):
        surface = np.roll(surfaces[number % 4], number // 4 * 5, axis=1)
        slope = np.linspace(0, 40, 320)[None]
        lit = (0.5 + 0.4 * (number // 4)) * (80 + surface + slope)
        made.append(tmp_path / f"{number:03d}.png")
        Image.fromarray(np.clip(lit, 0, 255).astype(np.uint8)).save(made[-1])
    return made


def test_a_part_is_known_in_another_light_and_place(photographs: list[Path]) -> None:
    assert sorted(parts_of(photographs)) == [[0, 4, 8], [1, 5, 9], [2, 6, 10], [3, 7, 11]]


def test_another_shape_is_another_part(photographs: list[Path]) -> None:
    with Image.open(photographs[0]) as image:
        image.resize((640, 240)).save(photographs[0])
    assert [0] in parts_of(photographs)


def test_as_many_parts_as_can_be_are_chosen() -> None:
    parts = [[0, 1, 2, 3], [4, 5], [6, 7], [8]]
    chosen = choose(parts, 5)
    assert chosen is not None
    assert sorted(chosen) == [1, 2, 3]
    assert choose([[0, 1], [2, 3]], 3) is None
    assert turns(parts) == [0, 4, 6, 8, 1, 5, 7, 2, 3]


def test_with_few_shots_the_same_is_held_out(
    photographs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    product = tmp_path / "product"
    kept = [file for number, file in enumerate(photographs) if number % 4]
    for folder in ("test/spot", "test/good", "train/good", "ground_truth/spot"):
        (product / folder).mkdir(parents=True)
    for number, file in enumerate(kept):
        file.rename(product / "test/spot" / file.name)
        Image.new("L", (320, 240), 255).save(product / "ground_truth/spot" / file.name)
        side = "test/good" if number < 3 else "train/good"
        noise = np.random.default_rng(number).integers(0, 255, (240, 320))
        Image.fromarray(noise.astype(np.uint8)).save(product / side / file.name)
    found = []
    for shots in ([], ["--shots", "2"]):
        out = tmp_path / f"apart{len(found)}"
        monkeypatch.setattr("sys.argv", ["parts_apart.py", str(product), "--out", str(out), *shots])
        main()
        found.append([file.read_bytes() for file in sorted((out / "test/spot").iterdir())])
        assert len(list((out / "ground_truth/spot").iterdir())) == len(found[-1])
    whole, few = found
    assert (len(whole), len(few)) == (9, 8)
    assert few == whole[:2] + whole[3:]
    monkeypatch.setattr("sys.argv", ["", str(product), "--out", str(tmp_path / "no"), "--shots", "0"])
    with pytest.raises(SystemExit, match="expected 1 or more, found 0"):
        main()


def test_masks_go_with_their_photographs(
    photographs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    product, out = tmp_path / "product", tmp_path / "apart"
    for folder in ("test/spot", "train/good", "ground_truth/spot"):
        (product / folder).mkdir(parents=True)
    photographs[0].rename(product / "train/good" / photographs[0].name)
    masks = {}
    for number, file in enumerate(photographs[1:]):
        moved = file.rename(product / "test/spot" / file.name)
        mask = Image.new("L", (320, 240))
        mask.paste(255, (0, 0, 100 + number, 100))
        if number != 2:  # one that nobody has marked
            mask.save(product / "ground_truth/spot" / file.name)
            masks[moved.read_bytes()] = mask.tobytes()
    monkeypatch.setattr("sys.argv", ["parts_apart.py", str(product), "--out", str(out)])
    main()
    written = sorted((out / "test/spot").iterdir())
    assert len(written) == len(masks) == 10
    for file in written:
        with Image.open(out / "ground_truth/spot" / f"{file.stem}_mask.png") as mask:
            assert mask.tobytes() == masks[file.read_bytes()]


def test_what_is_no_product_is_refused_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "apart"
    monkeypatch.setattr("sys.argv", ["parts_apart.py", str(tmp_path), "--out", str(out)])
    with pytest.raises(SystemExit, match="Cannot be used"):
        main()
    assert not out.exists()

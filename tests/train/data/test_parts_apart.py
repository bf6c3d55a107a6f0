"""Parts that were photographed several times, on one side of the split."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from parts_apart import choose, has_defect, parts_of, turns
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


def test_an_empty_mask_is_no_pair(tmp_path: Path) -> None:
    for name, level in (("empty", 0), ("marked", 1)):
        Image.fromarray(np.full((4, 4), level, np.uint8)).save(tmp_path / f"{name}.png")
    assert not has_defect(tmp_path / "empty.png")
    assert has_defect(tmp_path / "marked.png")

"""Rooms: small modules, few side by side, and the arrows that CONTRIBUTING.md draws. Circles are lint's."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import structure
from tests.structure import PACKAGES, ROOT

FOLDERS = {
    "seas_runtime": ROOT / "runtime/seas_runtime",
    "seas_engines": ROOT / "engines/seas_engines",
    "seas_train": ROOT / "train/seas_train",
    "seas_export": ROOT / "seas_export",
}
MODULES = [file for folder in FOLDERS.values() for file in sorted(folder.rglob("*.py"))]
LINES, LOOSE = 300, 8
LONGER = "# Longer than 300 lines: "


def test_every_package_is_looked_at() -> None:
    assert set(FOLDERS) == set(PACKAGES)
    assert len(MODULES) > 200


def test_the_figure_is_what_is_imported() -> None:
    assert structure.drawn() == structure.figure(structure.arrows()), (
        "python -m tests.structure draws it anew"
    )


def test_modules_fit_on_a_few_screens() -> None:
    """A longer one says in itself why."""
    long = {}
    for file in MODULES:
        text = file.read_text(encoding="utf-8")
        if text.count("\n") > LINES and LONGER not in text:
            long[str(file.relative_to(ROOT))] = text.count("\n")
    assert not long


@pytest.mark.parametrize("folder", sorted({file.parent for file in MODULES}), ids=lambda path: path.name)
def test_few_modules_lie_side_by_side(folder: Path) -> None:
    loose = [file.name for file in folder.glob("*.py") if not file.name.startswith("__")]
    assert len(loose) <= LOOSE, sorted(loose)
    assert (folder / "__init__.py").is_file()

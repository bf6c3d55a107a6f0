"""Photographs that are unlike the training normals are told, with figures."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seas_runtime.backends.contract import open_backend
from seas_runtime.bundle.reading import Bundle
from seas_runtime.errors import UserError
from seas_runtime.generation.generator import Generator
from seas_runtime.manifest.fields import Fields
from seas_runtime.methods.placed.normals import NORMALS, Normals, check_normals
from seas_runtime.photographs.reading import Photograph
from seas_runtime.photographs.values import Values
from tests.runtime.bundles import Toy, write_tiny_bundle

KNOWN = {"width": [100, 140], "height": [80, 100], "brightness": [90, 130], "modes": ["8-bit RGB"]}


def photograph(*size: int, value: int = 110, depth: type = np.uint8) -> Photograph:
    return Photograph(np.full(size, value, depth), "0" * 64, "a.png")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (photograph(90, 120, 3), None),
        (photograph(70, 170, 3), None),  # a little beyond
        (photograph(90, 240, 3), "240 pixels wide, 100 to 140 in training"),
        (photograph(40, 120, 3), "40 pixels high, 80 to 100 in training"),
        (photograph(90, 120, 3, value=30), "a mean brightness of 30, 90 to 130 in training"),
        (photograph(90, 120, 3, value=200), "a mean brightness of 200"),
        (photograph(90, 120), "8-bit grey, 8-bit RGB in training"),
        (photograph(90, 120, value=110 * 257, depth=np.uint16), "16-bit grey, 8-bit RGB in training"),
    ],
)
def test_what_is_unlike_is_said(given: Photograph, said: str | None) -> None:
    known = Normals.of({NORMALS: KNOWN})
    assert known is not None
    found = known.objection(given, Values())
    assert (found is None) if said is None else (found is not None and said in found)
    assert Normals.of({}) is None


def test_brightness_is_that_of_the_products_values() -> None:
    known = Normals.of({NORMALS: {**KNOWN, "modes": ["16-bit grey"]}})
    assert known is not None
    twelve_bits = photograph(90, 120, value=110 * 16, depth=np.uint16)
    assert known.objection(twelve_bits, Values(12)) is None
    assert "brightness of 7" in str(known.objection(twelve_bits, Values(16)))


@pytest.mark.parametrize(
    "changed",
    [{"width": [140, 100]}, {"width": [1]}, {"height": [-1, 5]}, {"brightness": [0, 400]}, {"modes": [3]},
     {"width": ["a", "b"]}, {"more": 1}, {"height": None}],
)  # fmt: skip
def test_figures_that_are_none_are_refused(changed: dict[str, Any]) -> None:
    check_normals(Fields({NORMALS: KNOWN}, "m"))
    with pytest.raises(UserError, match=r"m\.normals"):
        check_normals(Fields({NORMALS: {**KNOWN, **changed}}, "m"))


def test_each_photograph_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bundle = Bundle.read(write_tiny_bundle(tmp_path / "b", Toy(blend="fixed", placement=True)))
    section = {**bundle.manifest.generation, NORMALS: KNOWN}
    known = replace(bundle, manifest=replace(bundle.manifest, generation=section))
    generator = Generator(known, open_backend("cpu", 1))
    mask = np.zeros((90, 120), bool)
    mask[40:56, 50:66] = True
    with caplog.at_level(logging.WARNING):
        for value in (110, 20, 20, 110):
            generator.place(np.full((90, 120, 3), value, np.uint8), "stain", mask, seed=1, gate=False)
    told = [record.getMessage() for record in caplog.records if "unlike" in record.getMessage()]
    assert len(told) == 1
    assert "a mean brightness of 20, 90 to 130 in training" in told[0]

"""The page and the picture of placed pairs: photograph, result, region and mask."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from seas_export.report import write_overview, write_page
from seas_export.report.content import Content, DefectPictures
from seas_export.report.gather import gate_counts, how_made
from seas_export.report.overview import CELL, overview
from seas_export.report.pictures import PLACED_COLOUR, SHOWN, SIDE, GeneratedPictures, RealPictures
from seas_runtime.bundle.reading import read_manifest_file
from seas_runtime.dataset.contact_sheet import OUTLINE
from seas_runtime.dataset.folder import read_description
from seas_runtime.dataset.writing import DatasetRequest, write_dataset
from seas_runtime.generation.generator import Generator
from seas_runtime.methods.request import Placing, Sampling
from seas_runtime.photographs.values import Values
from seas_runtime.placement.regions import Region
from tests.runtime.datasets import read_records
from tests.runtime.placing.photographs import write_placing_bundle

VALUES = Values()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a bundle, and a data set of its placed pairs, drawn into its own photographs."""
    out = tmp_path_factory.mktemp("placed_report")
    generator = Generator.open(write_placing_bundle(out / "bundle"), threads=1)
    sampling, placing = Sampling(gate=False), Placing(mask="placed")
    request = DatasetRequest(("stain", "good"), 9, 2, sampling=sampling, placing=placing)
    write_dataset(generator, request, out / "dataset")
    return out


def test_a_placed_pair_is_shown_in_its_photograph_and_close_up(folder: Path) -> None:
    records = read_records(folder / "dataset")
    pictures = GeneratedPictures(VALUES, [folder / "nowhere", folder / "bundle/backgrounds"])
    made = pictures.of_defect(folder / "dataset", records, "stain")
    assert len(made) == SHOWN
    for shown, record in zip(made, records, strict=False):
        left, top, side = record["region"]
        with Image.open(folder / "dataset" / record["files"]["mask"]) as file:
            mask = np.asarray(file)
        assert shown.mask is not None
        assert np.array_equal(shown.mask, mask[top : top + side, left : left + side])
        assert shown.image.shape == (side, side, 3)
        assert shown.whole is not None
        assert shown.before is not None
        assert shown.whole.shape == shown.before.shape == (90, 120, 3)
        assert (shown.whole == OUTLINE).all(axis=2).any()
        place = record["placement"]
        edge = (shown.before == PLACED_COLOUR).all(axis=2)
        inside = edge[place["top"] :, place["left"] :][: place["height"], : place["width"]]
        assert edge.sum() >= 2 * (place["height"] + place["width"])
        assert not inside.any()  # what lies there is seen
        clean = ~edge & ~(shown.whole == OUTLINE).all(axis=2)
        clean[top : top + side, left : left + side] = False
        assert np.array_equal(shown.before[clean], shown.whole[clean])  # the same photograph


def test_without_the_photograph_the_rest_is_shown(folder: Path, tmp_path: Path) -> None:
    records = read_records(folder / "dataset")
    for name in ("000.png", "001.png"):
        Image.new("L", (120, 90)).save(tmp_path / name)  # of the same names, others
    made = GeneratedPictures(VALUES, [tmp_path]).of_defect(folder / "dataset", records, "good")
    assert len(made) == SHOWN
    for shown in made:
        assert shown.before is None
        assert shown.mask is None
        assert shown.whole is not None


def test_the_page_and_the_picture(folder: Path, tmp_path: Path) -> None:
    records = read_records(folder / "dataset")
    pictures = GeneratedPictures(VALUES, [folder / "bundle/backgrounds"])
    made = pictures.of_defect(folder / "dataset", records, "stain")
    normals = pictures.of_defect(folder / "dataset", records, "good")
    words = "Placed pairs: and so on."
    content = Content("plate", "", (DefectPictures("stain", made[:1], made),), normals, normals, words)
    write_overview(content, tmp_path / "overview.png")
    plain = Content("plate", "", (), (), ())
    assert overview(content).height > overview(plain).height + 7 * CELL  # four rows, and three of normals
    write_page(content, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    # A pair is five pictures, a normal three: photograph, result, region, mask, both.
    assert text.count("<img ") == 5 * (1 + len(made)) + 3 * 2 * len(normals)
    assert words in text


def test_how_pairs_were_made_is_said(folder: Path) -> None:
    manifest, _ = read_manifest_file(folder / "bundle")
    described = read_description(folder / "dataset/dataset.json")
    said = how_made([described], manifest)
    assert said.startswith("Placed pairs: defects drawn into 2 photographs")
    assert said.endswith("masks are the placement itself.")
    described["placing"]["mask"] = None
    assert how_made([described], manifest).endswith("what the mask head finds of the placement.")
    del described["placing"]
    assert how_made([described], manifest).startswith("Whole pictures")
    assert how_made([], manifest) == ""


def test_real_pairs_are_shown_as_regions_too() -> None:
    """Where the product was trained on regions; the photograph is wider than the page shows."""
    photograph = np.random.default_rng(0).integers(0, 256, (500, 800, 3), dtype=np.uint8)
    marking = np.zeros((500, 800), np.uint8)
    marking[100:130, 600:640] = 255
    region = Region(560, 60, 120)
    product: Any = SimpleNamespace(
        judged_pair=lambda pair, seed: SimpleNamespace(region=region),
        judged_normal=lambda file, seed: SimpleNamespace(region=region),
        photograph=lambda file: Image.fromarray(photograph),
        marking=lambda pair: Image.fromarray(marking),
    )
    pictures = RealPictures(product)
    shown = pictures.pair(SimpleNamespace(image=Path("a/000.png")))  # type: ignore[arg-type]
    assert np.array_equal(shown.image, photograph[60:180, 560:680])
    assert shown.mask is not None
    assert np.array_equal(shown.mask, marking[60:180, 560:680])
    assert shown.whole is not None
    assert shown.whole.shape == (200, SIDE, 3)
    rows, columns = np.nonzero((shown.whole == OUTLINE).all(axis=2))
    assert (rows.min(), columns.min()) == (60 * 0.4 - 2, 560 * 0.4 - 2)
    assert (rows.max(), columns.max()) == (180 * 0.4 + 1, 680 * 0.4 + 1)
    assert pictures.normal(Path("a/001.png")).mask is None


def test_scores_reasons_and_what_was_left_out() -> None:
    def record(accepted: bool, *rejected: str, **more: Any) -> dict[str, Any]:
        attempts: list[dict[str, Any]] = [{"rejected": reason} for reason in rejected]
        attempts += [{"rejected": None}] if accepted else []
        return {"defect": "crack", "accepted": accepted, "attempts": attempts, **more}

    (counted,) = gate_counts(
        [
            record(True, "nothing drawn: change 1.2, under 3.0", score=0.5),
            record(True, "nothing drawn: change 2.2, under 3.0", score=0.9),
            record(True, score=0.6, kept=False),
            record(False, "visible seam: 9 levels, over 6", score=0.1),
            record(True),
        ]
    )
    assert counted.reasons == {"nothing drawn": 2, "visible seam": 1}
    assert counted.score == pytest.approx(0.6)
    assert (counted.pairs, counted.left_out, counted.given_up, counted.kept) == (5, 1, 1, 3)
    assert json.dumps(counted.score)

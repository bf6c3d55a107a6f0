"""Bundles tell what people call their product and defects; names of files stay safe ones."""

from __future__ import annotations

import json
import os
import unicodedata
from pathlib import Path

import pytest

from seas_runtime.bundle.reading import Bundle
from seas_runtime.dataset.writing import DatasetRequest, write_dataset
from seas_runtime.errors import UserError
from seas_runtime.files import read_json, write_json
from seas_runtime.generation.generator import Generator
from tests.runtime.bundles import write_tiny_bundle

LABELS = {"broken_large": "Bruch (groß)", "stain": "Öl-Fleck"}


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Generator:
    folder = tmp_path_factory.mktemp("bundles") / "labelled"
    write_tiny_bundle(folder, product="gehäuse_links", product_label="Gehäuse (links)", labels=LABELS)
    return Generator.open(folder, threads=1)


def test_labels_survive_the_manifest(labelled: Generator, tiny_bundle: Path) -> None:
    manifest = labelled.manifest
    assert (manifest.shown_product, dict(manifest.labels)) == ("Gehäuse (links)", LABELS)
    old = Bundle.read(tiny_bundle).manifest  # says nothing of labels, as those of earlier versions
    assert (old.shown_product, old.label("stain")) == ("bottle", "stain")
    assert not {"labels", "product_label"} & set(old.to_dict())


@pytest.mark.parametrize(
    "wanted", ["stain", "Öl-Fleck", unicodedata.normalize("NFD", "Öl-Fleck"), "öl-fleck", "STAIN"]
)
def test_pairs_are_asked_for_by_name_or_label(labelled: Generator, wanted: str) -> None:
    assert labelled.request(wanted).defect == "stain"
    assert DatasetRequest((wanted,), 1).resolve(labelled).defects == ("stain",)


def test_what_the_bundle_has_not_is_told_with_its_labels(labelled: Generator) -> None:
    with pytest.raises(UserError, match=r"stain \(Öl-Fleck\), good"):
        labelled.request("dent")
    with pytest.raises(UserError, match=r"stain \(Öl-Fleck\), good, all"):
        DatasetRequest(("dent",), 1).resolve(labelled)


def test_a_data_sets_folders_have_safe_names_and_its_words_labels(
    labelled: Generator, tmp_path: Path
) -> None:
    request = DatasetRequest(("Bruch (groß)", "good"), 1)
    summary = write_dataset(labelled, request, tmp_path / "out")
    assert summary.labels["broken_large"] == "Bruch (groß)"
    assert (tmp_path / "out/test/broken_large").is_dir() or not summary.defects["broken_large"].accepted
    described = json.loads((tmp_path / "out/dataset.json").read_text(encoding="utf-8"))
    assert described["product_label"] == "Gehäuse (links)"
    assert described["labels"] == {"broken_large": "Bruch (groß)"}
    assert write_dataset(labelled, request, tmp_path / "out").continued == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"labels": {"stain": "\x1b[2J"}},
        {"labels": {"stain": "a\u202eb"}},
        {"labels": {"stain": ""}},
        {"labels": {"stain": "x" * 2000}},
        {"labels": {"other": "Other"}},
        {"labels": {"stain": 7}},
        {"labels": ["stain"]},
        {"product_label": "a\nb"},
    ],
)
def test_labels_that_could_mislead_are_refused(own_bundle: Path, changes: dict[str, object]) -> None:
    file = own_bundle / "manifest.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
    with pytest.raises(UserError, match="label"):
        Bundle.read(own_bundle)


def test_names_that_are_not_unicode_are_written_with_escapes(tmp_path: Path) -> None:
    name = os.fsdecode(b"Geh\xe4use")
    write_json(tmp_path / "a.json", {name: [name, "ä\\"]})
    shown = name.encode("utf-8", "surrogateescape").decode("latin-1").replace("ä", "\\xe4")
    assert read_json(tmp_path / "a.json", "test") == {shown: [shown, "ä\\"]}

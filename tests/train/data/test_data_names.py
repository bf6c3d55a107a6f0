"""One rule for names, applied first: whatever a product or defect is called, nothing fails late."""

from __future__ import annotations

import os
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seas_runtime.errors import UserError
from seas_runtime.manifest.fields import RESERVED_NAMES, is_portable_path, is_safe_name
from seas_runtime.printable import printable
from seas_train.data import PhotographsConfig, load_product
from seas_train.data.layouts import find_product
from seas_train.data.names import find_by_name, product_name, safe_name, unique_names
from tests.train.data.product_folders import write_mvtec

LABELS = (
    "con",
    "AUX",
    "nul.png",
    "COM¹",
    "x" * 70,
    "dent.",
    ".hidden",
    "-rf",
    "傷" * 80,
    "!!!",
    "Geh\udce4use",
)


@pytest.mark.parametrize("label", LABELS)
def test_a_product_or_defect_of_any_name_has_a_safe_one(label: str) -> None:
    for name in (safe_name(label), product_name(label)):
        assert is_safe_name(name)
        assert is_portable_path(f".{name}.0123456789abcdef.seas-tmp")
        assert name not in RESERVED_NAMES
        assert not name.startswith(("-", "."))


@given(st.lists(st.text(max_size=80), unique=True, max_size=8))
def test_names_are_safe_and_differ_in_more_than_their_case(labels: list[str]) -> None:
    for make in (safe_name, product_name):
        names = unique_names(labels, make)
        assert set(names) == set(labels)
        assert all(map(is_safe_name, names.values()))
        assert len({name.casefold() for name in names.values()}) == len(labels)
        assert all(find_by_name(label, labels, make) == [label] for label in labels)


def test_names_that_a_file_system_may_take_for_one_are_told_apart() -> None:
    twins = [unicodedata.normalize(form, "Überlauf") for form in ("NFC", "NFD")]
    assert sorted(unique_names(twins).values()) == ["überlauf", "überlauf_2"]
    assert sorted(unique_names(["straße", "strasse"]).values()) == ["strasse", "straße_2"]
    assert unique_names(["brake pad", "brake_pad"], product_name) == {
        "brake_pad": "brake_pad",
        "brake pad": "brake_pad_2",
    }


def test_a_products_name_that_is_safe_stays_as_it_is() -> None:
    for name in ("metal_nut", "PCB-7", "v1.2", "Gehäuse"):
        assert product_name(name) == name
    assert product_name("brake pad") == "brake_pad"
    assert product_name("Gehäuse (links)") == "gehäuse_links"
    assert product_name("con") == "con_product"


@pytest.mark.parametrize("folder", ["con", "x" * 70, "brake pad", "Gehäuse (links)", "ends.", "#1", "-a"])
def test_a_product_of_any_name_is_read_and_keeps_its_label(tmp_path: Path, folder: str) -> None:
    write_mvtec(tmp_path / folder, {"aux": 3, "y" * 70: 3, "Kratzer (groß).": 3})
    product = load_product(tmp_path / folder, size=32)
    assert is_safe_name(product.name)
    assert product.label == folder
    assert product.labels == {
        "aux_defect": "aux",
        "y" * 60: "y" * 70,
        "kratzer_groß": "Kratzer (groß).",
    }
    assert folder in product.report.to_text()
    assert "Kratzer (groß)." in product.report.to_text()


@pytest.mark.skipif(sys.platform != "linux", reason="file names that are not Unicode exist on Linux alone")
def test_a_latin_1_name_is_shown_with_escapes(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/Geh\xe4use"))
    write_mvtec(folder, {"crack": 3})
    (folder / "test" / "crack").rename(folder / "test" / os.fsdecode(b"ri\xdf"))
    (folder / "ground_truth" / "crack").rename(folder / "ground_truth" / os.fsdecode(b"ri\xdf"))
    product = load_product(folder, size=32)
    assert (product.name, product.label) == ("geh_use", "Geh\\xe4use")
    assert product.labels == {"ri": "ri\\xdf"}
    assert "Geh\\xe4use" in product.report.to_text()
    assert find_product(tmp_path, "geh_use") == find_product(tmp_path, "Geh\\xe4use") == folder


def test_products_are_found_by_label_or_name(tmp_path: Path) -> None:
    for folder in ("brake pad", unicodedata.normalize("NFD", "Gehäuse (links)"), "BOLT"):
        (tmp_path / folder).mkdir()
    for wanted in ("brake pad", "brake pad/", "brake_pad"):
        assert find_product(tmp_path, wanted) == tmp_path / "brake pad"
    for wanted in (unicodedata.normalize("NFC", "Gehäuse (links)"), "gehäuse_links"):
        assert find_product(tmp_path, wanted) is not None
    assert find_product(tmp_path, "bolt") == tmp_path / "BOLT"
    assert find_product(tmp_path, "nut") is None
    (tmp_path / "Brake Pad").mkdir()
    assert find_product(tmp_path, "Brake Pad") == tmp_path / "Brake Pad"
    with pytest.raises(UserError, match="expected one folder"):
        find_product(tmp_path, "BRAKE PAD")


@pytest.mark.parametrize("wanted", ["Broken (Large)", "broken_large", "BROKEN (large)"])
def test_defects_are_named_by_label_name_or_in_another_case(tmp_path: Path, wanted: str) -> None:
    folder = write_mvtec(tmp_path / "bottle", {"Broken (Large)": 3, "dent": 3})
    product = load_product(folder, PhotographsConfig(defects=(wanted,)), size=32)
    assert [defect.name for defect in product.defects] == ["broken_large"]


def test_a_label_cannot_act_on_a_terminal(tmp_path: Path) -> None:
    folder = write_mvtec(tmp_path / "a\x1b[31m", {"x\u202ey": 3})
    text = load_product(folder, size=32).report.to_text()
    assert printable(text, keep="\n") == text

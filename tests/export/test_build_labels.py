"""`build` of products and defects whose names are no safe ones, and a report that fails."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from seas_export.pipeline import everything
from seas_export.pipeline.source import find_source
from seas_runtime.errors import UserError
from tests.export.commands import Run
from tests.export.test_build_everything import CHILD, add, states


@pytest.fixture
def products(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(everything, "_command", lambda: [sys.executable, "-c", CHILD])
    monkeypatch.chdir(tmp_path)
    return tmp_path / "photos"


def test_all_builds_products_of_any_name_side_by_side(run: Run, products: Path) -> None:
    names = ["brake pad", "brake_pad", "Gehäuse (links)", "con", "y" * 70]
    add(products, *names)
    ended = run("build", "--all", "--data", products, "--json")
    assert states(ended) == dict.fromkeys(names, "built")
    places = {entry["product"]: Path(entry["out"]).name for entry in ended.json["products"]}
    assert places["brake_pad"] == "brake_pad"
    assert places["brake pad"] == "brake_pad_2"
    assert places["Gehäuse (links)"] == "gehäuse_links"
    assert places["con"] == "con_product"
    assert all((Path("out") / place).is_dir() for place in places.values())


@pytest.mark.skipif(sys.platform != "linux", reason="file names that are not Unicode exist on Linux alone")
@pytest.mark.parametrize("jobs", [1, 2])
def test_all_keeps_its_summary_with_a_latin_1_name(run: Run, products: Path, jobs: int) -> None:
    add(products, "a", os.fsdecode(b"Geh\xe4use"), "z")
    ended = run("build", "--all", "--data", products, "--jobs", jobs)
    assert ended.code == 0
    assert "Geh\\xe4use" in ended.out
    assert "3 products: 3 built" in ended.out


def test_all_keeps_its_summary_where_a_log_cannot_be_written(run: Run, products: Path) -> None:
    add(products, "a", "b")
    (Path("out") / "a.log").mkdir(parents=True)
    ended = run("build", "--all", "--data", products, "--jobs", 2, "--json")
    assert states(ended) == {"a": "failed", "b": "built"}


@pytest.mark.parametrize("wanted", ["brake pad", "brake_pad", "brake pad/"])
def test_photographs_are_found_by_label_or_name(tmp_path: Path, wanted: str) -> None:
    (tmp_path / "brake pad").mkdir()
    assert find_source(wanted, tmp_path, tmp_path / "out").directory == tmp_path / "brake pad"
    with pytest.raises(UserError, match="found brake pad in"):
        find_source("bracket", tmp_path, tmp_path / "out")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="file names that are not Unicode exist on Linux alone")
def test_a_build_shows_labels_and_outlives_its_report(
    tmp_path: Path, toy_product: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from seas_export import report
    from seas_export.bundles.describe import describe_bundle, in_words
    from seas_export.config.build import load_config
    from seas_export.pipeline import build
    from tests.bases import write_tiny_base

    torch.set_num_threads(1)
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / os.fsdecode(b"daten \xe4") / "Gehäuse (links)"
    shutil.copytree(toy_product, folder)
    for part in ("test", "ground_truth"):
        (folder / part / "Spot").rename(folder / part / "Öl-Fleck Nr. 1")
    normal = next((folder / "train/good").iterdir())
    normal.rename(normal.with_name(os.fsdecode(b"Bild \xe4") + normal.suffix))
    options = {
        "product": "Gehäuse (links)",
        "data": folder.parent,
        "base": str(write_tiny_base(tmp_path / "base")),
        "train": {"finetune": {"steps": 2}, "mask_head": {"steps": 2}},
        "export": {"steps": 4},
        "generate": {"pairs": 1, "gate": False, "keep": True},
    }

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    said: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(report, "write_page", full)
        result = build(load_config(None, options), say=said.append)
    assert any(line.startswith("warning: report: could not be written") for line in said)
    assert "report" not in result.made
    assert result.made["dataset"].is_dir()

    result = build(load_config(None, options), say=said.append)
    assert result.out == Path("out/gehäuse_links")
    assert result.pairs == {"dark_line": 1, "Öl-Fleck Nr. 1": 1, "good": 1}
    manifest = json.loads((result.made["bundle"] / "manifest.json").read_text(encoding="utf-8"))
    assert (manifest["product"], manifest["product_label"]) == ("gehäuse_links", "Gehäuse (links)")
    assert manifest["labels"] == {"öl_fleck_nr_1": "Öl-Fleck Nr. 1"}
    assert (result.made["dataset"] / "test" / "öl_fleck_nr_1").is_dir()
    page = result.made["report"].read_text(encoding="utf-8")
    assert "Gehäuse (links)" in page
    assert "Öl-Fleck Nr. 1" in page
    words = in_words(describe_bundle(result.made["bundle"]))
    assert "'gehäuse_links' (Gehäuse (links))" in words
    assert "öl_fleck_nr_1 (Öl-Fleck Nr. 1)" in words
    said.clear()
    build(load_config(None, options), say=said.append)
    assert sum("current, kept" in line for line in said) == 6

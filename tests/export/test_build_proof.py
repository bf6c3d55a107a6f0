"""`build --prove`: a part of the build that is kept while its pairs are, and what the report shows of it."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from seas_export.config.build import ProveConfig, load_config
from seas_export.pipeline.digests import content_digest
from seas_export.pipeline.ledger import Ledger
from seas_export.pipeline.parts import proving
from seas_export.proof.request import ProofOptions
from seas_export.report import write_page
from seas_export.report.content import Content
from seas_export.report.proven import proven
from seas_runtime.errors import UserError
from seas_train.data import PhotographsConfig, load_product
from seas_train.proof.fitting import Recipe
from tests.products import write_tiny_product

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

OPTIONS = ProveConfig(run=True, segmenter="small", steps=2, seeds=1)


class Proven:
    """The part of a build that proves a data set; here a folder of pairs of another tool."""

    def __init__(self, root: Path) -> None:
        self.out = root / "out"
        self.product = write_tiny_product(root / "plate", pairs=6, normals=4)
        self.dataset = write_tiny_product(root / "dataset", pairs=3, normals=2)
        self.said: list[str] = []

    def run(self, options: ProveConfig = OPTIONS) -> Ledger:
        self.said.clear()
        ledger = Ledger.open(self.out, "plate", force=False, say=self.said.append)
        ledger.part("generate", {}, self.dataset, lambda before: None, content_digest, again=True)
        folders = (self.product, self.dataset, self.out / "proof")
        config = load_config(None, {"product": "plate", "threads": 1})
        proving.prove(ledger, config, options, PhotographsConfig(), folders, self.said.append)
        return ledger

    def trainings(self) -> dict[str, int]:
        return {file.name: file.stat().st_mtime_ns for file in (self.out / "proof/trainings").iterdir()}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Proven:
    made = Proven(tmp_path_factory.mktemp("proven"))
    made.run()
    return made


def test_a_proof_is_kept_and_what_is_lost_of_it_is_made_again(built: Proven) -> None:
    before = built.trainings()
    assert len(before) == 4  # real, with copy-paste, with the data set, and that alone
    built.run()
    assert any("prove: current, kept" in line for line in built.said)
    (built.out / "proof/proof.json").unlink()
    built.run()
    assert (built.out / "proof/proof.json").is_file()
    assert built.trainings() == before


def test_the_report_shows_the_table_and_what_differs(built: Proven, tmp_path: Path) -> None:
    ledger = built.run()
    found = proven(built.out, ledger.content)
    assert found is not None
    assert [row[0] for row in found.table.rows] == [
        "real",
        "real + copy-paste",
        "real + generated",
        "generated alone",
    ]
    assert "image AUROC, pooled map" in found.table.columns
    assert "small, not pretrained, 2 steps" in found.words
    write_page(Content("plate", "", (), (), (), proven=found), tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "<h2>What the pairs are worth</h2>" in page
    assert "real + generated against real, pooled, IoU" in page
    figure = json.loads((built.out / "proof/proof.json").read_text())["table"]["rows"][2][1]
    assert f"<td>{figure}</td>" in page


def test_a_proof_of_other_pairs_is_not_shown(built: Proven) -> None:
    content = json.loads(json.dumps(built.run().content))
    content["parts"]["generate"]["output"] = "others"
    assert proven(built.out, content) is None
    assert proven(built.out, {"parts": {}}) is None


def test_what_cannot_be_proved_is_said_before_any_work(
    built: Proven, monkeypatch: pytest.MonkeyPatch
) -> None:
    product = load_product(built.product, size=64)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if name == "sklearn" else None)
    assert proving.check_proof(ProveConfig(run=True), product).segmenter == "small"
    with pytest.raises(UserError, match=r"--prove: unet needs segmentation-models-pytorch"):
        proving.check_proof(ProveConfig(segmenter="unet"), product)
    with pytest.raises(UserError, match=r"--segmenter: expected one of unet"):
        proving.check_proof(ProveConfig(segmenter="unit"), product)
    everything = load_product(built.product, PhotographsConfig(shots=6), size=64)
    with pytest.raises(UserError, match="expected pairs beyond those that train"):
        proving.check_proof(OPTIONS, everything)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"--prove: needs scikit-learn"):
        proving.check_proof(OPTIONS, product)


def test_trainings_are_those_of_prove_but_for_what_is_given() -> None:
    own = ProofOptions().updated({"recipe": proving.recipe_of(ProveConfig(segmenter="small"))}).recipe
    assert own == Recipe(segmenter="small")
    assert Recipe().steps >= 800  # after 300 pairs gained nothing
    given = ProofOptions().updated({"recipe": proving.recipe_of(OPTIONS)}).recipe
    assert (given.segmenter, given.steps) == ("small", 2)


def test_a_folder_without_generated_pairs_has_none(tmp_path: Path) -> None:
    assert not proving.has_pairs(tmp_path)


def test_asked_for_on_the_command_line_and_by_a_file(tmp_path: Path) -> None:
    assert not load_config(None, {"product": "plate"}).prove.run
    assert load_config(None, {"product": "plate", "prove": {"run": True}}).prove == ProveConfig(run=True)
    (tmp_path / "b.yaml").write_text("product: plate\nprove: {run: true, seeds: 0}\n")
    with pytest.raises(UserError, match=r"seeds: expected 1 or more"):
        load_config(tmp_path / "b.yaml", {})

"""Which defects are set aside says where a build's pairs lie; what a person did to them goes with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from seas_export.config.build import load_config
from seas_export.pipeline.digests import bundle_digest
from seas_export.pipeline.ledger import Ledger
from seas_export.pipeline.parts import generation
from seas_export.pipeline.parts.model import Model
from seas_export.pipeline.result import ASIDE
from seas_export.verdict import Figures, State, Verdict
from tests.runtime.datasets import read_records

DEFECTS = ("broken_large", "stain")


class Pairs:
    """The part of a build that makes pairs, from the toy bundle."""

    def __init__(self, out: Path, bundle: Path) -> None:
        self.out, self.model, self.bundle = out, Model(out), bundle
        self.dataset, self.aside = out / "dataset", out / "not_usable"
        self.said: list[str] = []

    def make(
        self, *not_usable: str, keep: bool = False, pairs: int = 3, seed: int = 0, force: bool = False
    ) -> None:
        wanted = {"pairs": pairs, "keep": keep, "gate": False, "backend": "cpu", "batch": 2}
        config = load_config(None, {"product": "bottle", "seed": seed, "generate": wanted})
        self.said.clear()
        ledger = Ledger.open(self.out, "bottle", force=force, say=self.said.append)
        if not self.model.bundle.exists():
            self.out.mkdir()
            self.model.bundle.symlink_to(self.bundle)
        ledger.part("export", {}, self.model.bundle, lambda before: None, bundle_digest)
        states = {name: State.NOT_USABLE if name in not_usable else State.USABLE for name in DEFECTS}
        verdicts = [Verdict(name, state, (), (), Figures(None, None, None)) for name, state in states.items()]
        folders = {"generate": self.dataset, ASIDE: self.aside}
        generation.generate(ledger, config, verdicts, self.model, folders, False, self.said.append)

    def held(self, folder: Path) -> list[str]:
        """The defects with pictures in a data set."""
        return sorted(
            {path.parent.name for path in folder.rglob("0*.png") if "ground_truth" not in path.parts}
        )


@pytest.fixture
def pairs(tmp_path: Path, toy_bundle: Path) -> Pairs:
    """A finished data set of everything: of `stain` a mask is retouched, a pair deleted, a note beside it."""
    made = Pairs(tmp_path / "out", toy_bundle)
    made.make()
    masks = made.dataset / "ground_truth/stain"
    (masks / "000000_mask.png").write_bytes((masks / "000002_mask.png").read_bytes() + b"by hand")
    (made.dataset / "test/stain/000001.png").unlink()
    (made.dataset / "test/stain/NOTES.txt").write_text("mine")
    return made


def is_kept(pairs: Pairs, folder: Path) -> bool:
    """Whether what the person did is to be seen in a data set."""
    deleted = [record["index"] for record in read_records(folder) if record.get("deleted")]
    mask = (folder / "ground_truth/stain/000000_mask.png").read_bytes()
    note = (pairs.dataset / "test/stain/NOTES.txt").read_text()
    return (
        mask.endswith(b"by hand")
        and deleted == [1]
        and not (folder / "test/stain/000001.png").exists()
        and note == "mine"
    )


def test_a_defect_whose_verdict_changes_is_moved_there_and_back(pairs: Pairs) -> None:
    made = {path: path.stat().st_ino for path in pairs.dataset.glob("train/good/*.png")}
    pairs.make("stain")
    assert (pairs.held(pairs.dataset), pairs.held(pairs.aside)) == (["broken_large", "good"], ["stain"])
    assert is_kept(pairs, pairs.aside)
    pairs.make("stain")
    assert sum("current, kept" in line for line in pairs.said) == 3
    pairs.make("stain", keep=True, pairs=5)  # with more of them in one go
    assert pairs.held(pairs.dataset) == ["broken_large", "good", "stain"]
    assert not pairs.aside.exists()
    assert is_kept(pairs, pairs.dataset)
    assert len(read_records(pairs.dataset)) == 15
    assert {path: path.stat().st_ino for path in made} == made


def test_another_defect_than_before_is_set_aside(pairs: Pairs) -> None:
    pairs.make("broken_large")
    pairs.make("stain")
    assert (pairs.held(pairs.dataset), pairs.held(pairs.aside)) == (["broken_large", "good"], ["stain"])
    assert is_kept(pairs, pairs.aside)


@pytest.mark.parametrize("where", ["dataset", "not_usable"])
def test_a_build_that_is_stopped_between_moves_and_pairs_continues(
    pairs: Pairs, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    write = generation.write_pairs

    def stop(bundle: Path, out: Path, *rest: object) -> None:
        if out.name == where:
            raise KeyboardInterrupt
        write(bundle, out, *rest)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(generation, "write_pairs", stop)
        with pytest.raises(KeyboardInterrupt):
            pairs.make("stain")
    pairs.make("stain")
    assert is_kept(pairs, pairs.aside)
    assert pairs.held(pairs.dataset) == ["broken_large", "good"]


def test_other_pairs_are_made_again_and_strangers_files_stay(pairs: Pairs) -> None:
    pairs.make("stain")
    (pairs.aside / "test/stain/NOTES.txt").write_text("mine too")
    for options in ({"seed": 1}, {"seed": 1, "force": True}):
        pairs.make("stain", **options)  # type: ignore[arg-type]
        assert any(line.startswith("generate: making again") for line in pairs.said)
        assert not is_kept(pairs, pairs.aside)
        assert (pairs.aside / "test/stain/000001.png").exists()
    assert (pairs.aside / "test/stain/NOTES.txt").read_text() == "mine too"
    assert (pairs.dataset / "test/stain/NOTES.txt").read_text() == "mine"

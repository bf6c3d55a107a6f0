"""What a build makes, keeps, and makes again."""

import json
import shutil
from pathlib import Path

import pytest

from seas_export.pipeline.ledger import Before, Ledger, changed, only_build
from seas_export.pipeline.source import find_source
from seas_runtime.errors import UserError


class _Part:
    """A part that writes its inputs, and remembers what it found each time it was made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.output = folder / "part" / "file.txt"
        self.found: list[Before] = []
        self.said: list[str] = []
        self.fail = False

    def make(self, before: Before) -> None:
        self.found.append(before)
        if self.fail:
            raise KeyboardInterrupt
        self.output.parent.mkdir(exist_ok=True)
        self.output.write_text("made")

    def run(self, inputs: dict[str, object], *, force: bool = False) -> None:
        """A run of its own, which knows only what is on disk."""
        self.said = []
        ledger = Ledger.open(self.folder, "bottle", force=force, say=self.said.append)
        ledger.part("part", inputs, self.output.parent, self.make, restated=["b"])


@pytest.fixture
def part(tmp_path: Path) -> _Part:
    return _Part(tmp_path)


def test_what_is_current_is_kept(part: _Part) -> None:
    part.run({"a": 1})
    part.run({"a": 1})
    assert part.found == [Before.NOTHING]
    assert part.said == [f"part: current, kept ({part.output.parent})"]


def test_other_inputs_make_it_again_and_are_named(part: _Part) -> None:
    part.run({"a": 1, "d": {"c": 2}})
    part.run({"a": 1, "d": {"c": 3}})
    assert part.found == [Before.NOTHING, Before.NOTHING]
    assert part.said[0] == "part: making again, changed: d.c"


def test_inputs_that_are_only_stated_do_not_void_what_was_made(part: _Part) -> None:
    part.run({"a": 1, "b": {"c": 2}})
    part.run({"a": 1, "b": {"c": 3}})
    assert part.said[0] == "part: making again, changed: b.c"
    part.run({"a": 2, "b": {"c": 4}})
    part.fail = True
    with pytest.raises(KeyboardInterrupt):
        part.run({"a": 3, "b": {"c": 4}})
    part.fail = False
    part.run({"a": 3, "b": {"c": 5}})  # what was interrupted may not have begun to replace what was before
    assert part.found == [Before.NOTHING, Before.RESTATED, *[Before.NOTHING] * 3]
    part.run({"a": 3, "b": {"c": 6}}, force=True)
    assert part.found[-1] is Before.NOTHING


def test_force_makes_it_again(part: _Part) -> None:
    part.run({"a": 1})
    part.run({"a": 1}, force=True)
    assert part.found == [Before.NOTHING, Before.NOTHING]


@pytest.mark.parametrize("damage", ["changed", "removed", "extra"])
def test_output_that_is_not_as_it_was_made_is_made_again(part: _Part, damage: str) -> None:
    part.run({"a": 1})
    if damage == "changed":
        part.output.write_text("fiddled")
    elif damage == "removed":
        part.output.unlink()
    else:
        (part.output.parent / "other.txt").write_text("x")
    part.run({"a": 1})
    assert part.found == [Before.NOTHING, Before.DAMAGED]


def test_an_interrupted_part_is_continued_only_with_the_same_inputs(part: _Part) -> None:
    part.fail = True
    with pytest.raises(KeyboardInterrupt):
        part.run({"a": 1})
    part.fail = False
    part.run({"a": 1})
    assert part.found == [Before.NOTHING, Before.UNFINISHED]
    part.fail = True
    with pytest.raises(KeyboardInterrupt):
        part.run({"a": 2})
    part.fail = False
    part.run({"a": 3})
    assert part.found[2:] == [Before.NOTHING, Before.NOTHING]


def test_force_does_not_continue(part: _Part) -> None:
    part.fail = True
    with pytest.raises(KeyboardInterrupt):
        part.run({"a": 1})
    part.fail = False
    part.run({"a": 1}, force=True)
    assert part.found == [Before.NOTHING, Before.NOTHING]


def test_a_moved_build_is_still_current(part: _Part, tmp_path: Path) -> None:
    part.run({"a": 1})
    moved = _Part(Path(shutil.copytree(tmp_path, tmp_path.with_name("moved"))))
    moved.run({"a": 1})
    assert moved.found == []


def test_a_folder_of_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match=r"thesis\.txt"):
        Ledger.open(tmp_path, "bottle", force=True, say=print)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"schema": 1, "product": "gear"}', "found one of 'gear'"),
        ('{"schema": 9, "product": "bottle"}', "schema 1"),
        ('{"schema": 1, "product": "bottle", "parts": {"train": {"nonsense": 1}}}', "start over"),
        ("{", "build record"),
    ],
)
def test_a_record_of_something_else_is_refused(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "build.json").write_text(content)
    with pytest.raises(UserError, match=words):
        Ledger.open(tmp_path, "bottle", force=False, say=print)


def test_two_builds_do_not_share_a_folder(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with only_build(out), pytest.raises(UserError, match="at work"), only_build(out):
        pass
    with only_build(out):
        pass


def test_changed_names_every_value_that_differs() -> None:
    assert changed({}, {"new": None}) == ["new"]
    assert changed({"a": 1, "b": {"c": 1, "d": 2}}, {"b": {"c": 1, "d": 3}, "e": 4}) == ["a", "b.d", "e"]


def test_photographs_are_looked_for_in_order(
    toy_product: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    sample = find_source("bottle", None, tmp_path / "out")
    assert sample.sample
    assert "sample" in sample.words
    shutil.copytree(toy_product, tmp_path / "data" / "bottle")
    own = find_source("bottle", None, tmp_path / "out")
    assert (own.directory, own.sample) == (Path("data/bottle"), False)
    given = find_source("plate", toy_product.parent, tmp_path / "out")
    assert (given.directory, given.sample) == (toy_product, False)


@pytest.mark.slow
def test_a_build_from_photographs_to_a_report(
    tmp_path: Path, toy_product: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole path on a random base: every part; then nothing; then only what a new request changes."""
    import torch

    from seas_export.config.build import load_config
    from seas_export.pipeline import build
    from tests.bases import write_tiny_base

    torch.set_num_threads(1)
    base = write_tiny_base(tmp_path / "base")
    options = {
        "product": "plate",
        "data": toy_product.parent,
        "base": str(base),
        "out": tmp_path / "out",
        "train": {"finetune": {"steps": 3}, "mask_head": {"steps": 3}},
        "export": {"steps": 4},
        "generate": {"pairs": 2, "gate": False, "keep": True},
    }
    result = build(load_config(None, options))
    assert result.pairs == {"dark_line": 2, "spot": 2, "good": 2}
    assert all(path.exists() for path in result.made.values())
    record = json.loads((tmp_path / "out" / "build.json").read_text())
    assert list(record["parts"]) == ["train", "evaluate", "export", "verdict", "generate", "report"]
    assert record["config"]["train"]["finetune"]["steps"] == 3
    page = result.made["report"].read_text()
    for words in ("dark_line", "Parity with PyTorch", "tap_coarse", "Stage 2: mask head", "decode_mask"):
        assert words in page

    said: list[str] = []
    build(load_config(None, options), say=said.append)
    assert sum("current, kept" in line for line in said) == 6

    # Someone looks through the data: nothing is made again for it.
    left = [tmp_path / "out" / name for name in ("dataset/Thumbs.db", "dataset/NOTES.txt")]
    left += [tmp_path / "out/checkpoint" / name for name in ("NOTES.txt", "unet/Thumbs.db", "._k")]
    left.append(tmp_path / "out/dataset/test/spot/NOTES.txt")
    for file in left:
        file.write_text("mine")
    masks = tmp_path / "out/dataset/ground_truth/spot"
    retouched = (masks / "000001_mask.png").read_bytes()
    (masks / "000000_mask.png").write_bytes(retouched)
    bad = tmp_path / "out/dataset/test/dark_line/000001.png"
    picture = bad.read_bytes()
    bad.unlink()
    said.clear()
    assert build(load_config(None, options), say=said.append).pairs == {"dark_line": 1, "spot": 2, "good": 2}
    assert not bad.exists()
    unmade = [line.split(":")[0] for line in said if "current, kept" in line]
    assert unmade == ["train", "evaluate", "export", "verdict"]
    said.clear()
    build(load_config(None, options), say=said.append)
    assert sum("current, kept" in line for line in said) == 6
    assert not bad.exists()
    assert build(load_config(None, options), restore=True).pairs == result.pairs
    assert bad.read_bytes() == picture
    assert (masks / "000000_mask.png").read_bytes() == retouched
    assert [file.read_text() for file in left] == ["mine"] * len(left)

    said.clear()
    aside = build(load_config(None, {**options, "generate": {"pairs": 2, "gate": False}}), say=said.append)
    assert aside.not_usable == ("dark_line", "spot")  # after three steps of training
    assert (aside.pairs, aside.set_aside) == (
        {"dark_line": 0, "spot": 0, "good": 2},
        {"dark_line": 2, "spot": 2},
    )
    assert sorted(path.name for path in (tmp_path / "out" / "dataset").glob("t*/*")) == ["good", "spot"]
    assert list((tmp_path / "out/dataset/test").glob("*/*")) == left[-1:]  # the note stays where it was
    moved = tmp_path / "out/not_usable/ground_truth/spot/000000_mask.png"
    assert moved.read_bytes() == retouched
    assert len(list((tmp_path / "out" / "not_usable" / "test").glob("*/*.png"))) == 4
    assert any(line.startswith("verdict: current, kept") for line in said)  # nothing is measured again
    assert "spot: not usable" in aside.made["report"].read_text()

    said.clear()
    changes = {**options, "generate": {"pairs": 1, "gate": False, "keep": True}}
    assert build(load_config(None, changes), say=said.append).pairs == {"dark_line": 2, "spot": 2, "good": 2}
    assert [line.split(":")[0] for line in said if "making again" in line] == ["report"]
    assert "generate: continuing, changed: config.pairs, defects" in said
    assert not (tmp_path / "out/not_usable").exists()
    assert (masks / "000000_mask.png").read_bytes() == retouched

    from seas_runtime.backends import auto
    from seas_runtime.dataset import writing as dataset

    def full_disk(*args: object) -> None:
        raise UserError("no space left")

    changes["generate"] = {"pairs": 3, "gate": False, "keep": True}
    begun_on = json.loads((result.made["dataset"] / "dataset.json").read_text())["backend"]
    other = "openvino:fp32" if begun_on == "cpu" else "cpu"
    for fastest in (begun_on, other):  # another one was installed while the build was interrupted
        with monkeypatch.context() as patch:
            patch.setattr(auto, "choose", lambda bundle, name=fastest: auto.Choice(name, ()))
            patch.setattr(auto.Choice, "in_words", lambda self: self.backend)
            if fastest == begun_on:
                patch.setattr(dataset, "_summarise", full_disk)
                with pytest.raises(UserError, match="no space left"):
                    build(load_config(None, changes))
            else:
                build(load_config(None, changes))
    assert json.loads((result.made["dataset"] / "dataset.json").read_text())["backend"] == begun_on

    said.clear()
    states = sorted(result.made["training"].rglob("state-*"))
    begun = [state.stat().st_mtime_ns for state in states]
    assert len(states) == 2
    changes["train"] = {**options["train"], "generation": {"guidance": 2.5}}
    again = build(load_config(None, changes), say=said.append)
    assert "train: making again, changed: config.generation.guidance" in said
    assert [state.stat().st_mtime_ns for state in states] == begun  # it did not train again
    assert json.loads((again.made["bundle"] / "manifest.json").read_text())["sampler"]["guidance"] == 2.5

    import seas_train.methods.seas.training

    def full(*args: object, **kwargs: object) -> None:
        raise UserError("no space left")

    changes["train"] = {**options["train"], "generation": {"guidance": 4.5}}
    with monkeypatch.context() as patch:
        patch.setattr(seas_train.methods.seas.training, "save_checkpoint", full)
        with pytest.raises(UserError, match="no space left"):
            build(load_config(None, changes), say=said.append)
    assert [state.stat().st_mtime_ns for state in states] == begun  # nothing that was trained is lost

    from seas_export.pipeline import pipeline

    for part in ("evaluate", "export", "judge", "generate", "write_report"):  # training is what is looked at
        monkeypatch.setattr(pipeline, part, lambda *given: ())
    monkeypatch.setattr(pipeline.BuildResult, "of", lambda *given: None)
    build(load_config(None, changes))
    run_file = result.made["training"] / "finetune" / "run.json"
    run_file.write_text(json.dumps({**json.loads(run_file.read_text()), "native_bfloat16": "elsewhere"}))
    changes["train"] = {**options["train"], "generation": {"guidance": 5.5}}
    said.clear()
    build(load_config(None, changes), say=said.append)
    again = "train: training finetune, mask_head again ("
    assert any(line.startswith(again) and "native_bfloat16" in line for line in said)
    assert [state.stat().st_mtime_ns for state in states] != begun

    first, second = (
        sorted((result.made["training"] / stage).rglob("state-*")) for stage in ("finetune", "mask_head")
    )
    begun = [state.stat().st_mtime_ns for state in first]
    head = (result.made["checkpoint"] / "mask_head/model.safetensors").read_bytes()
    changes["train"] = {"finetune": {"steps": 3}, "mask_head": {"steps": 4}}
    said.clear()
    build(load_config(None, changes), say=said.append)
    assert any(line.startswith("train: training mask_head again (") for line in said)
    assert [state.stat().st_mtime_ns for state in first] == begun  # stage 1 is as it was
    assert not second[0].exists()
    trained = (result.made["checkpoint"] / "mask_head/model.safetensors").read_bytes()
    build(load_config(None, changes), force=True)
    whole = (result.made["checkpoint"] / "mask_head/model.safetensors").read_bytes()
    assert trained == whole != head  # as one that never had another head

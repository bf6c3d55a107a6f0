"""Whether a defect is usable: the rules, what they are measured from, and where it is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from seas_export.config.build import load_config
from seas_export.pipeline.ledger import Ledger
from seas_export.pipeline.parts import judging
from seas_export.pipeline.parts.model import Model
from seas_export.pipeline.result import BuildResult
from seas_export.verdict import Figures, Normals, PromptEffect, Scores, State, Verdict, in_words, verdict_of
from seas_export.verdict.files import (
    bundle_digest_without_verdicts,
    read_verdicts,
    state_in_bundle,
    write_verdicts,
)
from seas_export.verdict.prompts import effects, largest_change, prompt_effects
from seas_runtime.bundle.reading import Bundle, read_manifest_file
from seas_runtime.errors import UserError
from seas_train.bases.base import load_base
from seas_train.data import load_product
from seas_train.methods.table import METHODS, find_method
from seas_train.settings import parse_assignments
from tests.bases import IMAGE_SIZE, write_tiny_base
from tests.products import write_tiny_product

GOOD_MASKS, GOOD_NORMALS, GOOD_PROMPT = Scores(6, 0.85, 0.02), Normals(6, 6), PromptEffect(4, 80.0, 60.0)
BAD_MASKS = Scores(6, 0.05, 0.01)
GOOD = Figures(GOOD_MASKS, GOOD_NORMALS, GOOD_PROMPT)


@pytest.mark.parametrize(
    ("figures", "state", "word"),
    [
        (GOOD, State.USABLE, ""),
        # What MVTec AD's screw gave on micro: masks at random, marks in every normal, one picture for all.
        (Figures(BAD_MASKS, Normals(6, 0), PromptEffect(4, 2.0, 60.0)), State.NOT_USABLE, "IoU of 0.05"),
        (replace(GOOD, masks=BAD_MASKS), State.NOT_USABLE, "IoU of 0.05"),
        (replace(GOOD, masks=Scores(6, 0.30, 0.01)), State.DOUBTFUL, "IoU of 0.30"),
        (replace(GOOD, normals=Normals(6, 0)), State.DOUBTFUL, "6 of 6 held-out normals"),
        (replace(GOOD, prompt=PromptEffect(4, 1.0, 60.0)), State.NOT_USABLE, "nearly the same is made"),
        # A mask that marks everything is no better for a defect that covers half of the picture.
        (replace(GOOD, masks=Scores(6, 0.50, 0.50)), State.NOT_USABLE, "marks everything has 0.50"),
        # Pairs that start from real defects' looks have their placements for masks.
        (Figures(replace(BAD_MASKS, laid=True), GOOD_NORMALS), State.DOUBTFUL, "placement is its mask"),
        # Figures that there are not.
        (replace(GOOD, masks=Scores(0)), State.DOUBTFUL, "no pair was held out"),
        (replace(GOOD, normals=Normals(0, 0)), State.USABLE, ""),
        (Figures(None, None, GOOD_PROMPT), State.USABLE, ""),
        (Figures(GOOD_MASKS, GOOD_NORMALS, None), State.USABLE, ""),
        (Figures(), State.DOUBTFUL, "no figure to judge it by"),
        (replace(GOOD, prompt=PromptEffect(4, 0.0, 0.0)), State.NOT_USABLE, "nearly the same"),
        (replace(GOOD, masks=Scores(6, float("nan"), 0.0)), State.NOT_USABLE, "IoU of nan"),
    ],
)  # fmt: skip
def test_the_worst_figure_decides(figures: Figures, state: State, word: str) -> None:
    verdict = verdict_of("crack", figures)
    assert verdict.state is state
    assert word in " ".join(verdict.why)
    assert bool(verdict.why) == bool(verdict.advice) == (state is not State.USABLE)


def test_advice_is_of_the_method() -> None:
    weak = replace(GOOD, prompt=PromptEffect(4, 1.0, 60.0))
    assert "--set train.finetune.steps=N" in verdict_of("crack", weak).advice[0]
    assert "--guidance" in verdict_of("crack", weak).advice[-1]
    other = verdict_of("crack", weak, "anomalyxfusion.steps", guided=False)
    assert "--set train.anomalyxfusion.steps=N" in other.advice[0]
    assert "--guidance" not in " ".join(other.advice)


@pytest.mark.parametrize("method", [*METHODS])
def test_every_methods_key_trains_longer(method: str, tmp_path: Path) -> None:
    base = load_base(write_tiny_base(tmp_path / "base"))
    product = load_product(write_tiny_product(tmp_path / "plate"), size=IMAGE_SIZE)
    found = find_method(method)
    config = found.defaults(base, product, None).updated(parse_assignments([f"{found.longer}=7"]))
    assert "'steps': 7" in str(config.to_dict())


def test_the_terminal_names_what_is_not_usable_why_and_what_to_try() -> None:
    bad = verdict_of("crack", replace(GOOD, masks=BAD_MASKS))
    text = in_words([verdict_of("dent", GOOD), bad])
    first, *rest = text.splitlines()
    assert first == "verdict: 1 usable, 1 not usable of 2 defects"
    assert any(line.startswith("  crack  NOT USABLE") for line in rest)
    assert "IoU of 0.05" in text
    assert "try: " in rest[-1]
    assert text.count("--shots") == 1  # advice is given once, however many need it


def test_words_say_that_regions_were_judged() -> None:
    """As the scores of masks say; IoU over chance is then of regions, of which a defect fills more."""
    own = {"pairs": 4, "iou": 0.3, "area": 0.2}
    scores = {"defects": {"crack": own}, "normals": {"images": 4, "empty_masks": 1}}
    whole = verdict_of("crack", judging.figures_of("crack", scores, {}))
    regions = verdict_of("crack", judging.figures_of("crack", {**scores, "regions": True}, {}))
    assert whole.state is regions.state is State.NOT_USABLE  # 0.125 over chance
    assert "regions" not in " ".join((*whole.why, whole.summary))
    assert any("--regions on" in line for line in whole.advice)
    assert not any("--regions on" in line for line in regions.advice)
    assert regions.why[0].startswith("on regions of 4 held-out pairs its masks reach an IoU of 0.30")
    assert "in regions of 3 of 4 held-out normals" in regions.why[1]
    assert regions.summary == "mask IoU 0.30 of 4 regions held out, 1 of 4 regions of normals empty"
    assert Verdict.read(json.loads(json.dumps(regions.to_dict()))) == regions


def test_verdicts_are_kept_as_they_were(tmp_path: Path) -> None:
    verdicts = (
        verdict_of("a", GOOD),
        verdict_of("b", Figures()),
        verdict_of("c", replace(GOOD, prompt=None)),
    )
    write_verdicts(tmp_path / "verdict.json", verdicts)
    assert read_verdicts(tmp_path / "verdict.json") == verdicts
    (tmp_path / "verdict.json").write_text('{"verdicts": [{"defect": "a"}]}')
    with pytest.raises(UserError, match="expected the verdicts of a build"):
        read_verdicts(tmp_path / "verdict.json")


def test_a_change_is_found_where_it_is_largest() -> None:
    image = np.zeros((16, 16, 3), np.float32)
    other = image.copy()
    other[8:12, 4:8] = 60  # a whole cell of 4 pixels; the mean over the picture is 3.75
    assert largest_change(image, other, 4) == 60
    assert largest_change(image, image, 4) == 0


def test_a_prompt_without_effect_is_told_from_one_with() -> None:
    random = np.random.default_rng(0)
    normals = random.uniform(0, 255, (3, 16, 16, 3)).astype(np.float32)
    scratched = normals.copy()
    scratched[:, :4, :4] = 255 - scratched[:, :4, :4]

    def make(name: str) -> Any:
        return {"none": normals + random.normal(0, 0.5, normals.shape), "scratch": scratched}[name]

    found = effects(normals, make, ["none", "scratch"], 4)
    assert found["none"].ratio < 0.05
    assert found["scratch"].ratio > 0.8
    assert found["none"].pairs == 3


def test_prompts_are_compared_by_the_bundles_own_runtime(toy_bundle: Path) -> None:
    """The noise is the same: inputs that differ in nothing give a change of nothing."""
    from seas_export.methods.seas.method import with_prompt

    asked: list[str] = []

    def remember(content: Any, inputs: Any, name: str) -> Any:
        asked.append(name)
        return with_prompt(content, inputs, name)

    method: Any = SimpleNamespace(with_prompt=remember)
    found = prompt_effects(toy_bundle, method, count=3, batch=2, backend="cpu")
    defects = read_manifest_file(toy_bundle)[0].defects
    assert list(found) == list(defects)
    assert asked == [name for name in ("good", *defects) for _ in range(2)]
    assert all(effect.by_noise > 0 for effect in found.values())
    method.with_prompt = lambda content, inputs, name: inputs
    assert all(
        effect.by_prompt == 0
        for effect in prompt_effects(toy_bundle, method, count=2, batch=2, backend="cpu").values()
    )
    method.with_prompt = None
    assert prompt_effects(toy_bundle, method, count=2, batch=2, backend="cpu") == {}


@pytest.fixture
def toy_copy(toy_bundle: Path, tmp_path: Path) -> Path:
    import shutil

    return Path(shutil.copytree(toy_bundle, tmp_path / "bundle"))


def test_a_bundle_says_its_verdicts_and_stays_what_it_was(toy_copy: Path, run: Callable[..., Any]) -> None:
    fingerprint, before = read_manifest_file(toy_copy)[1], bundle_digest_without_verdicts(toy_copy)
    defects = read_manifest_file(toy_copy)[0].defects
    verdicts = [verdict_of(defects[0], GOOD), verdict_of(defects[1], replace(GOOD, masks=Scores(6, 0.01)))]
    state_in_bundle(toy_copy, verdicts)
    assert bundle_digest_without_verdicts(toy_copy) == before
    assert Bundle.read(toy_copy).fingerprint != fingerprint
    assert f"{defects[1]} not usable" in run("inspect", toy_copy).out
    assert run("inspect", toy_copy, "--json").json["provenance"]["verdicts"][defects[0]] == "usable"
    ended = run(
        "generate", toy_copy, "--defect", "all", "--count", 1, "--no-gate", "--out", toy_copy.parent / "d"
    )
    assert ended.code == 0
    assert f"{defects[1]}: not usable by the verdict" in ended.err
    assert f"{defects[0]}: not usable" not in ended.err


def test_a_signed_bundle_is_not_touched(toy_copy: Path) -> None:
    from seas_runtime.bundle.signature import SIGNATURE_NAME

    (toy_copy / SIGNATURE_NAME).write_text("somebody's")
    before = (toy_copy / "manifest.json").read_bytes()
    state_in_bundle(toy_copy, [verdict_of("stain", GOOD)])
    assert (toy_copy / "manifest.json").read_bytes() == before


def _judged(folder: Path, bundle: Path, iou: float) -> tuple[Verdict, ...]:
    """One run of the part of a build that judges, with figures that were measured elsewhere."""
    defects = read_manifest_file(bundle)[0].defects
    ledger = Ledger.open(folder, "plate", force=False, say=lambda text: None)
    scores = folder / "mask_scores.json"
    if not scores.exists():
        own = {"pairs": 4, "iou": iou, "area": 0.01}
        values = {"defects": {name: own for name in defects}, "normals": {"images": 4, "empty_masks": 4}}
        scores.write_text(json.dumps(values))
    config = load_config(None, {"product": "plate", "out": folder})
    ledger.part("export", {}, bundle, lambda before: None, bundle_digest_without_verdicts)
    ledger.part("evaluate", {}, scores, lambda before: None)
    (folder / "bundle").exists() or (folder / "bundle").symlink_to(bundle)
    return judging.judge(ledger, config, Model(folder))


def test_a_second_build_says_the_same_without_measuring(
    toy_copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import seas_export.verdict.prompts as prompts

    measured: list[Path] = []

    def effects_of(folder: Path, *given: Any, **options: Any) -> dict[str, PromptEffect]:
        measured.append(folder)
        return dict.fromkeys(read_manifest_file(folder)[0].defects, GOOD_PROMPT)

    monkeypatch.setattr(prompts, "prompt_effects", effects_of)
    folder = tmp_path / "out"
    folder.mkdir()
    first = _judged(folder, toy_copy, iou=0.02)
    assert {verdict.state for verdict in first} == {State.NOT_USABLE}
    assert _judged(folder, toy_copy, iou=0.9) == first
    assert [path.resolve() for path in measured] == [toy_copy.resolve()]
    assert judging.set_aside(first, load_config(None, {"product": "plate"})) == tuple(v.defect for v in first)
    kept = load_config(None, {"product": "plate", "generate": {"keep": True}})
    assert judging.set_aside(first, kept) == ()


def _result(tmp_path: Path, *verdicts: Verdict) -> BuildResult:
    return BuildResult("plate", "photographs", tmp_path, {}, {"dataset": tmp_path}, {}, {}, (), verdicts, 1.0)


@pytest.mark.parametrize(("strict", "code"), [((), 0), (("--strict",), 1), (("--set", "strict=true"), 1)])
def test_strict_fails_where_a_defect_is_not_usable(
    run: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    strict: tuple[str, ...],
    code: int,
) -> None:
    import seas_export.pipeline

    bad = verdict_of("crack", replace(GOOD, masks=Scores(6, 0.05)))
    doubtful = verdict_of("dent", replace(GOOD, masks=Scores(0)))
    made = [_result(tmp_path, doubtful, bad)]
    monkeypatch.setattr(seas_export.pipeline, "build", lambda *given, **options: made[0])
    ended = run("build", "--product", "plate", "--json", *strict)
    assert ended.code == code
    assert [entry["state"] for entry in ended.json["verdicts"]] == ["doubtful", "not usable"]
    assert ("crack" in ended.err) is bool(code)
    said = run("build", "--product", "plate", *strict).out
    assert said.rstrip().splitlines()[-1].startswith("  try: ")
    made[0] = _result(tmp_path, doubtful)
    assert run("build", "--product", "plate", "--json", *strict).code == 0


def test_a_method_without_masks_is_judged_by_its_prompts() -> None:
    """And one without either is not called usable."""
    scores = {"note": "the method toy reads no masks"}
    only = judging.figures_of("crack", scores, {"crack": GOOD_PROMPT})
    assert only == Figures(None, None, GOOD_PROMPT)
    assert verdict_of("crack", only).state is State.USABLE
    assert verdict_of("crack", judging.figures_of("crack", scores, {})).state is State.DOUBTFUL
    none_held_out = {"defects": {}, "normals": {"images": 3, "empty_masks": 1}}
    assert judging.figures_of("crack", none_held_out, {}) == Figures(Scores(0), Normals(3, 1), None)


@pytest.mark.parametrize(
    ("generation", "strength", "laid"),
    [
        ({"regions": True, "strength": 0.4}, None, True),
        ({"regions": True, "strength": 0.4}, 1.0, False),
        ({"regions": True}, None, False),
        ({"regions": True}, 0.5, True),
        ({"strength": 0.4}, None, False),  # whole pictures by default
        ({}, None, False),
    ],
)
def test_pairs_start_from_looks_where_the_strength_is_below_one(
    generation: dict[str, Any], strength: float | None, laid: bool
) -> None:
    manifest: Any = SimpleNamespace(generation=generation)
    assert judging.starts_from_looks(manifest, strength) is laid

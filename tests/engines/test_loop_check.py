from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from seas_engines.building import prepare
from seas_engines.building.prepare import Preparer
from seas_engines.precision.loop_check import LoopFigures, Pairs, Run, compare, make_pairs
from seas_engines.targets.dialect import dialect_of
from seas_engines.targets.targets import Precision, Target
from seas_runtime.bundle.reading import Bundle
from seas_runtime.errors import CheckFailed
from seas_runtime.generation.generator import Generator
from seas_runtime.manifest.types import SamplerDefaults
from tests.runtime.bundles import write_tiny_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return Bundle.read(write_tiny_bundle(tmp_path / "bundle"))


def sessions(bundle: Bundle) -> dict[str, Run]:
    import onnxruntime

    def load(name: str) -> Run:
        session = onnxruntime.InferenceSession(str(bundle.graph_path(name)))
        names = [value.name for value in session.get_outputs()]
        return lambda feeds: dict(zip(names, session.run(names, dict(feeds)), strict=True))

    return {name: load(name) for name in ("step", "decode_mask", "decode_image")}


@pytest.mark.parametrize(
    "sampler", [SamplerDefaults("dpmpp_2m", 5, 8.0), SamplerDefaults("ddim_eta", 4, 8.0)]
)
def test_pairs_are_those_that_generation_makes(tmp_path: Path, sampler: SamplerDefaults) -> None:
    """Of a sampler with fresh noise in its steps too."""
    bundle = Bundle.read(write_tiny_bundle(tmp_path / "bundle", sampler=sampler))
    found = make_pairs(bundle, sessions(bundle), 2)
    defect = bundle.manifest.defects[0]
    for place, pair in enumerate(Generator.open(bundle.path).generate(defect, 2, 0, gate=False)):
        np.testing.assert_array_equal(found.images[place], pair.image)
        np.testing.assert_allclose(found.probabilities[place], pair.probability, atol=1e-6)


def pairs_of(images: np.ndarray, probabilities: np.ndarray) -> Pairs:
    return Pairs(images, probabilities >= 0.5, probabilities)


def test_figures() -> None:
    images = np.zeros((1, 2, 2, 3), np.uint8)
    map_ = np.array([[[0.9, 0.9], [0.1, 0.1]]], np.float32)
    same = compare(pairs_of(images, map_), pairs_of(images, map_))
    assert same == LoopFigures(1, 999.0, 1.0)
    assert same.within(40)
    other = compare(pairs_of(images + 1, map_[:, ::-1]), pairs_of(images, map_))
    assert other.psnr == pytest.approx(48.13)
    assert other.iou == 0.0
    assert not other.within(30)
    assert not compare(pairs_of(images, map_ * np.nan), pairs_of(images, map_)).within(30)
    darker = compare(pairs_of(images + 5, map_), pairs_of(images, map_))  # 34.2 dB
    assert darker.within(30)
    assert not darker.within(40)


def preparer(bundle: Bundle, folder: Path) -> Preparer:
    return Preparer(bundle, dialect_of(Target.RTX, "1.7"), Precision.FP16, folder, threads=1)


GRAPHS = ("step", "decode_mask", "decode_image")


def test_the_choice_holds_over_the_whole_loop(bundle: Bundle, tmp_path: Path) -> None:
    chosen = preparer(bundle, tmp_path).choose(GRAPHS, {})
    assert chosen["step"]["loop"]["pairs"] == 2
    assert chosen["step"]["loop"]["psnr"] >= 30
    again = preparer(bundle, tmp_path).choose(GRAPHS, chosen)
    assert again == chosen


def test_a_loop_that_strays_tightens_the_bounds_and_then_refuses(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bounds: list[float] = []
    measure = Preparer.measure

    def watched(self: Preparer, graph: str, bound: float) -> object:
        bounds.append(bound)
        return measure(self, graph, bound)

    monkeypatch.setattr(Preparer, "measure", watched)
    monkeypatch.setattr(prepare, "compare", lambda *_: LoopFigures(2, 12.0, 0.5))
    with pytest.raises(CheckFailed, match=r"whole pairs lie 12\.0 dB and IoU 0\.500 from float32"):
        preparer(bundle, tmp_path).choose(GRAPHS, {})
    assert bounds[::3] == pytest.approx([1e-2, 2.5e-3, 6.25e-4])


def test_a_loop_that_takes_too_long_is_not_run(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare, "_LOOP_SECONDS", 0.0)
    assert preparer(bundle, tmp_path).choose(GRAPHS, {})["step"]["loop"] is None

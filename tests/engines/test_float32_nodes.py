from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

import seas_engines.precision.evaluator as evaluating
from seas_engines.building.prepare import Preparer
from seas_engines.graphs.rewrite import Form, rewrite
from seas_engines.precision.cases import step_cases
from seas_engines.precision.evaluator import Case, Evaluator, distance
from seas_engines.precision.float32_nodes import BOUND, Float32Nodes, find_float32_nodes
from seas_engines.precision.half import HALF_MAX, candidates, infer_types, to_half
from seas_engines.targets.dialect import dialect_of
from seas_engines.targets.targets import Precision, Target
from seas_runtime.bundle.reading import Bundle
from seas_runtime.errors import CheckFailed
from seas_runtime.methods.table import find_method
from tests.engines.graphs import latents, network, run
from tests.runtime.bundles import Toy, write_tiny_bundle


def prepared(gain: float) -> ir.Model:
    model = network(gain)
    rewrite(model, 20, Form.PIECES, Form.PIECES)
    infer_types(model)
    return model


def search(
    gain: float, folder: Path, bound: float = BOUND, extreme: float = 0.0, budget: int = 200
) -> tuple[Float32Nodes, ir.Model]:
    model = prepared(gain)
    cases = [Case("real", latents())]
    if extreme:
        cases.append(Case("extreme", {"latents": latents()["latents"] * np.float32(extreme)}, extreme=True))
    with Evaluator(model, cases, folder, threads=1) as evaluator:
        return find_float32_nodes(evaluator, bound, budget=budget), model


def test_a_tame_graph_is_half_throughout(tmp_path: Path) -> None:
    found, model = search(1.0, tmp_path)
    assert found.float32 == ()
    assert found.candidates == len(candidates(model))
    assert 0 < found.error <= BOUND
    assert found.largest < HALF_MAX
    assert list(tmp_path.iterdir()) == []  # the measuring left nothing


def test_what_overflows_stays_in_float32_with_its_readers_and_nothing_else(tmp_path: Path) -> None:
    found, _ = search(1e6, tmp_path)
    assert found.float32 == ("large", "larger", "small")
    assert found.overflowing == found.float32
    assert found.error <= BOUND


def test_the_choice_holds_in_a_real_half_graph(tmp_path: Path) -> None:
    found, model = search(1e6, tmp_path)
    expected = run(prepared(1e6), latents(), tmp_path / "full")["middle"]
    to_half(model, found.float32)
    made = run(model, latents(), tmp_path / "half")["middle"]
    assert distance(made, expected) <= BOUND


def test_headroom_is_kept(tmp_path: Path) -> None:
    tame, _ = search(1.0, tmp_path)
    largest = tame.largest
    near, _ = search(0.5 * HALF_MAX / largest, tmp_path)
    assert "large" in near.float32  # finite on these inputs, but not by much


def test_extreme_inputs_count(tmp_path: Path) -> None:
    # Behind the group norm nothing grows with the latents; the first convolution does.
    calm, _ = search(1.0, tmp_path)
    assert "first" not in calm.float32
    wild, _ = search(1.0, tmp_path, extreme=1e5)
    assert "first" in wild.float32
    assert "large" not in wild.float32
    assert math.isfinite(wild.extreme_error)


def test_a_tighter_bound_keeps_more_and_only_what_it_needs(tmp_path: Path) -> None:
    loose, model = search(1.0, tmp_path)
    tight, _ = search(1.0, tmp_path, bound=loose.error / 4)
    assert 0 < len(tight.float32) < tight.candidates
    assert tight.error <= loose.error / 4
    with Evaluator(model, [Case("real", latents())], tmp_path, threads=1) as evaluator:
        for name in tight.float32:  # each one is needed
            fewer = [other for other in tight.float32 if other != name]
            assert evaluator.error(fewer)["real"] > loose.error / 4


def test_the_search_ends_within_its_budget(tmp_path: Path) -> None:
    loose, _ = search(1.0, tmp_path)
    tight, _ = search(1.0, tmp_path, bound=loose.error / 4, budget=6)
    assert tight.runs <= 8
    assert tight.error <= loose.error / 4


def test_out_of_time_it_ends_with_what_passes(tmp_path: Path) -> None:
    loose, _ = search(1.0, tmp_path)
    model = prepared(1.0)
    with Evaluator(model, [Case("real", latents())], tmp_path, threads=1) as evaluator:
        found = find_float32_nodes(evaluator, loose.error / 4, seconds=0.0)
    assert len(found.float32) == found.candidates
    assert found.error <= loose.error / 4


def test_the_first_case_out_of_its_bound_ends_a_check_and_comes_first_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = prepared(1.0)
    fed = latents()["latents"]
    cases = [Case(str(place), {"latents": fed * np.float32(place + 1)}, place == 2) for place in range(3)]
    run_case = evaluating._run
    runs = []

    def counted(session: Any, feeds: Any) -> Any:
        runs.append(next(case.name for case in cases if case.feeds is feeds))
        return run_case(session, feeds)

    with Evaluator(model, cases, tmp_path, threads=1) as evaluator:
        errors = evaluator.error()
        monkeypatch.setattr(evaluating, "_run", counted)
        assert evaluator.within((), 1.0, 1.0)
        assert sorted(runs) == ["0", "1", "2"]
        runs.clear()
        assert not evaluator.within((), 1.0, errors["2"] / 2)  # the extreme case has a bound of its own
        assert runs[-1] == "2"
        runs.clear()
        assert not evaluator.within((), 1.0, errors["2"] / 2)
        assert runs == ["2"]


def test_differences_of_large_values_are_held_against_those(tmp_path: Path) -> None:
    model = prepared(1.0)
    feeds = latents()
    with Evaluator(model, [Case("range", feeds)], tmp_path, threads=1) as evaluator:
        plain = evaluator.error()["range"]
        extents = {name: 10 * float(np.ptp(array)) for name, array in evaluator.exact[0].items()}
    with Evaluator(model, [Case("wide", feeds, extents=extents)], tmp_path, threads=1) as evaluator:
        assert evaluator.error()["wide"] == pytest.approx(plain / 10)


def test_x0_of_an_early_step_is_held_against_its_latents(tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path / "bundle", Toy())
    bundle = Bundle.read(tmp_path / "bundle")
    first, _, last, *extreme = step_cases(bundle, bundle.manifest.graphs["step"])
    table = bundle.schedule().table
    for case, step in ((first, 0), (last, -1), (extreme[0], 0)):
        assert case.extents == {"x0": pytest.approx(table[step, 2] * np.ptp(case.feeds["latents"]))}


def test_a_step_that_draws_into_a_background_is_measured_doing_so(tmp_path: Path) -> None:
    bundle = Bundle.read(write_tiny_bundle(tmp_path / "bundle", Toy(blend="fixed")))
    cases = step_cases(bundle, bundle.manifest.graphs["step"])
    assert [case.feeds["mask"].mean() for case in cases] == [1, 0.5, 1, 1, 1]
    for place, case in enumerate(cases):
        for name in ("background", "blend_noise"):
            assert bool(case.feeds[name].any()) is (place == 1)


def test_encoding_is_measured_on_a_picture_of_the_bundles_own(tmp_path: Path) -> None:
    bundle = Bundle.read(write_tiny_bundle(tmp_path / "bundle", Toy(blend="fixed")))
    preparer = Preparer(bundle, dialect_of(Target.RTX, "1.7"), Precision.FP16, tmp_path, threads=1)
    measured = preparer.measure("encode_image")
    assert (measured.float32, measured.candidates) == ((), 1)
    assert 1e-6 < measured.error < 1e-2
    real, noise = preparer._cases("encode_image")
    latents = find_method("seas").clean(bundle, 0)
    session = onnxruntime.InferenceSession(bundle.graph_path("decode_image"))
    (expected,) = session.run(["image"], {"latents": latents})
    assert np.array_equal(real.feeds["image"], expected)
    assert noise.extreme
    assert noise.feeds["image"].shape == expected.shape
    assert noise.feeds["image"].std() > 60


def test_a_graph_that_is_broken_in_float32_is_refused(tmp_path: Path) -> None:
    model = prepared(1.0)
    infinite = {"latents": np.full_like(latents()["latents"], np.inf)}
    with (
        Evaluator(model, [Case("infinite", infinite)], tmp_path, threads=1) as evaluator,
        pytest.raises(CheckFailed, match=r"no finite values on these inputs\. Use --precision fp32"),
    ):
        find_float32_nodes(evaluator)


def test_distance() -> None:
    expected = np.array([0.0, 10.0], np.float32)
    assert distance(np.array([1.0, 10.0], np.float32), expected) == pytest.approx(0.1)
    assert distance(np.array([np.nan, 10.0], np.float32), expected) == math.inf
    assert distance(np.array([1, 2], np.uint8), np.array([1, 53], np.uint8)) == pytest.approx(0.2)
    assert distance(np.array([3.0, 3.0], np.float32), np.array([2.0, 2.0], np.float32)) == 0.5

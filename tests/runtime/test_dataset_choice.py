"""More pairs are made than wanted and the best are kept, however often the writer is stopped."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from seas_runtime.dataset import choosing, writing
from seas_runtime.dataset.choosing import (
    MAX_OVERSAMPLE,
    choose,
    count_of_candidates,
    count_of_pairs,
    keep_best,
)
from seas_runtime.dataset.moving import move_defects
from seas_runtime.dataset.pending import note_pending
from seas_runtime.dataset.record_file import RecordFile
from seas_runtime.dataset.writing import DatasetRequest, DatasetSummary, write_dataset
from seas_runtime.errors import UserError
from seas_runtime.generation.generator import Generator
from seas_runtime.methods.request import Placing
from tests.runtime.datasets import (
    WRITE_BEST,
    ScoringGenerator,
    dataset_request,
    read_records,
    score_of,
    snapshot,
)
from tests.runtime.interpreters import run_python, start_python
from tests.runtime.test_placed_bundles import TABLE, add

COUNT, BATCH = 12, 4
MADE = 18


@pytest.fixture(scope="module")
def scoring(tiny_bundle: Path) -> Generator:
    return ScoringGenerator.open(tiny_bundle, threads=1)


@pytest.fixture(scope="module")
def unbroken(scoring: Generator, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("unbroken") / "out"
    write(scoring, out)
    return snapshot(out)


def write(generator: Generator, out: Path, *defects: str, **options: Any) -> DatasetSummary:
    restore = options.pop("restore", False)
    values = {"count": COUNT, "seed": 3, "batch": BATCH, "oversample": 1.5, **options}
    return write_dataset(generator, dataset_request(defects or ("all",), **values), out, restore=restore)


def of(out: Path, defect: str, **wanted: Any) -> set[int]:
    """The indices of a defect's records that say all of this."""
    return {
        record["index"]
        for record in read_records(out)
        if record["defect"] == defect and all(record.get(name) == value for name, value in wanted.items())
    }


def best(defect: str, accepted: set[int], wanted: int) -> set[int]:
    """The accepted pairs of the best scores, of equal ones the first."""
    return set(sorted(accepted, key=lambda index: (-(score_of(defect, index) or 0), index))[:wanted])


def files(out: Path, folder: str) -> set[int]:
    return {int(path.name[:6]) for path in (out / folder).glob("*.png")}


def test_the_best_pairs_are_kept_and_the_others_have_a_record(scoring: Generator, tmp_path: Path) -> None:
    out = tmp_path / "out"
    summary = write(scoring, out)
    for defect in ("broken_large", "stain"):
        accepted = of(out, defect, accepted=True)
        kept = best(defect, accepted, COUNT)
        assert of(out, defect) == set(range(MADE))
        assert of(out, defect, kept=True) == kept != set(sorted(accepted)[:COUNT])
        assert of(out, defect, kept=False) == accepted - kept
        assert files(out, f"test/{defect}") == files(out, f"ground_truth/{defect}") == kept
        outcome = summary.defects[defect]
        assert (outcome.pairs, outcome.accepted) == (MADE, len(kept))
        assert outcome.left_out == len(accepted) - len(kept)
        assert outcome.rejected == MADE - len(accepted)
    for record in read_records(out):
        has_files = record["accepted"] and record.get("kept") is not False
        assert (record["files"] is not None) == has_files
        assert record.get("score") == score_of(record["defect"], record["index"])
    assert of(out, "good") == set(range(COUNT))  # normals have no score: as many as wanted
    assert not any("kept" in record for record in read_records(out) if record["defect"] == "good")
    assert summary.defects["good"].pairs == COUNT
    assert json.loads((out / "dataset.json").read_text())["oversample"] == 1.5


def test_too_few_that_pass_the_gates_are_all_kept(scoring: Generator, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write(scoring, out, "broken_large", count=17, oversample=1.05)
    accepted = of(out, "broken_large", accepted=True)
    assert of(out, "broken_large") == set(range(MADE))
    assert 0 < len(accepted) < 17
    assert of(out, "broken_large", kept=True) == accepted == files(out, "test/broken_large")


def test_a_finished_dataset_is_not_touched(scoring: Generator, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write(scoring, out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("0*.png")}
    data = (out / "records.jsonl").read_bytes()
    for count in (COUNT, 2):  # with a smaller count all stay
        assert write(scoring, out, count=count).continued == 2 * MADE + COUNT
        assert {path: path.stat().st_mtime_ns for path in out.rglob("0*.png")} == before
        assert (out / "records.jsonl").read_bytes() == data


def test_killed_and_continued_it_ends_as_one_that_was_not(
    tiny_bundle: Path, tmp_path: Path, unbroken: dict[str, bytes]
) -> None:
    out = tmp_path / "out"
    arguments = (str(tiny_bundle), str(out), str(COUNT), str(BATCH))
    for reached in (3, 22, 44):
        with start_python(WRITE_BEST, *arguments, "0.01") as process:
            assert process.stdout is not None
            for line in process.stdout:
                if int(line) >= reached:
                    break
            process.send_signal(signal.SIGKILL)
            process.wait()
            assert process.returncode == -signal.SIGKILL
    status, output, errors = run_python(WRITE_BEST, *arguments, "0")
    assert status == 0, errors
    assert int(output.splitlines()[0]) >= 40
    assert snapshot(out) == unbroken


@pytest.mark.parametrize("step", range(11))
def test_stopped_at_any_step_of_the_choice_it_ends_the_same(
    scoring: Generator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    unbroken: dict[str, bytes],
    step: int,
) -> None:
    out, steps = tmp_path / "out", 0

    def stopping(call: Any) -> Any:
        def stop(*given: Any, **named: Any) -> Any:
            nonlocal steps
            if steps == step:
                raise KeyboardInterrupt
            steps += 1
            return call(*given, **named)

        return stop

    def watched(*given: Any) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(choosing, "note_pending", stopping(note_pending))
            patch.setattr(RecordFile, "keep", stopping(RecordFile.keep))
            patch.setattr(Path, "unlink", stopping(Path.unlink))
            choose(*given)

    with monkeypatch.context() as patch:
        patch.setattr(writing, "choose", watched)
        with pytest.raises(KeyboardInterrupt):
            write(scoring, out)
    write(scoring, out)
    assert snapshot(out) == unbroken


@pytest.mark.parametrize("cut", [40, 2000, 9000, 16000])
def test_records_cut_anywhere(
    scoring: Generator, tmp_path: Path, unbroken: dict[str, bytes], cut: int
) -> None:
    out = tmp_path / "out"
    write(scoring, out)
    records = out / "records.jsonl"
    records.write_bytes(records.read_bytes()[:-cut])
    write(scoring, out)
    assert snapshot(out) == unbroken


def test_a_killed_run_with_another_count_is_continued_as_one(scoring: Generator, tmp_path: Path) -> None:
    whole, out = tmp_path / "whole", tmp_path / "out"
    write(scoring, whole, "stain", count=16)

    def stop(done: int, _: int) -> None:
        if done >= 8:
            raise KeyboardInterrupt

    request = dataset_request(("stain",), count=COUNT, seed=3, batch=BATCH, oversample=1.5)
    with pytest.raises(KeyboardInterrupt):
        write_dataset(scoring, request, out, stop)
    write(scoring, out, "stain", count=16)
    assert snapshot(out) == snapshot(whole)


def test_a_larger_count_keeps_what_was_chosen_and_chooses_among_the_new_ones(
    scoring: Generator, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    write(scoring, out, "stain")
    first, left_out = of(out, "stain", kept=True), of(out, "stain", kept=False)
    retouched = out / f"ground_truth/stain/{min(first):06d}_mask.png"
    retouched.write_bytes(retouched.read_bytes() + b"retouched")
    mine = {path: path.read_bytes() for path in out.rglob("0*.png")}
    write(scoring, out, "stain", count=20)
    new = {index for index in of(out, "stain", accepted=True) if index >= MADE}
    assert of(out, "stain") == set(range(30))
    assert of(out, "stain", kept=True) == first | best("stain", new, 20 - len(first))
    assert left_out < of(out, "stain", kept=False)
    assert files(out, "test/stain") == of(out, "stain", kept=True)
    assert {path: path.read_bytes() for path in mine} == mine


def test_a_pair_deleted_by_hand_is_not_replaced_and_can_be_restored(
    scoring: Generator, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    write(scoring, out, "stain")
    whole = snapshot(out)
    gone = sorted(of(out, "stain", kept=True))[2]
    (out / f"test/stain/{gone:06d}.png").unlink()
    (out / f"ground_truth/stain/{gone:06d}_mask.png").unlink()
    for _ in range(2):
        summary = write(scoring, out, "stain").defects["stain"]
        assert (summary.deleted, summary.accepted) == (1, COUNT - 1)
        assert of(out, "stain", kept=True, deleted=True) == {gone}
        assert files(out, "test/stain") == of(out, "stain", kept=True) - {gone}
    assert write(scoring, out, "stain", restore=True).defects["stain"].deleted == 0
    assert snapshot(out) == whole


def test_one_that_was_left_out_is_not_restored(scoring: Generator, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write(scoring, out, "stain")
    whole = snapshot(out)
    write(scoring, out, "stain", restore=True)
    assert snapshot(out) == whole


def test_a_file_of_a_persons_under_the_name_of_one_that_was_left_out_stays(
    scoring: Generator, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    write(scoring, out, "stain")
    mine = out / f"test/stain/{min(of(out, 'stain', kept=False)):06d}.png"
    shutil.copy(out / f"test/stain/{min(of(out, 'stain', kept=True)):06d}.png", mine)
    write(scoring, out, "stain", count=16)
    assert mine.is_file()


def test_another_oversample_is_refused(scoring: Generator, tmp_path: Path) -> None:
    write(scoring, tmp_path / "out", "stain")
    with pytest.raises(UserError, match=r"another oversample: expected 1\.0, found 1\.5"):
        write(scoring, tmp_path / "out", "stain", oversample=1.0)
    write(scoring, tmp_path / "plain", "stain", oversample=1)
    assert "oversample" not in json.loads((tmp_path / "plain/dataset.json").read_text())
    with pytest.raises(UserError, match=r"another oversample: expected 1\.5, found 1\.0"):
        write(scoring, tmp_path / "plain", "stain")


def test_pairs_without_a_score_cannot_be_chosen(
    generator: Generator, own_bundle: Path, tmp_path: Path
) -> None:
    featured = Generator.open(add(own_bundle, TABLE, {}), threads=1)
    placing = Placing()
    assert featured.scores(placing)
    assert not any([featured.scores(None), generator.scores(placing), generator.scores(None)])
    for whole in (generator, featured):
        with pytest.raises(UserError, match="oversample: the best pairs are kept by scores"):
            write(whole, tmp_path / "out", "stain")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("value", [0.9, 11, "2", True, float("nan")])
def test_an_oversample_out_of_range(value: Any) -> None:
    with pytest.raises(UserError, match="oversample: expected a number from 1"):
        DatasetRequest(("stain",), 4, oversample=value)
    with pytest.raises(UserError, match=r"count times oversample: expected .* 1000000, found 1500000"):
        DatasetRequest(("stain",), 1_000_000, oversample=1.5)


def test_a_chosen_defect_is_moved_as_it_is(scoring: Generator, tmp_path: Path) -> None:
    write(scoring, tmp_path / "all", "stain", "broken_large")
    before = snapshot(tmp_path / "all")
    move_defects(tmp_path / "all", tmp_path / "rest", ("stain",))
    write(scoring, tmp_path / "rest", "stain")
    write(scoring, tmp_path / "all", "broken_large")
    assert all(
        (tmp_path / "rest" / path).read_bytes() == before[path] for path in before if "/stain/" in path
    )
    move_defects(tmp_path / "rest", tmp_path / "all", ("stain",))
    write(scoring, tmp_path / "all", "stain", "broken_large")
    assert snapshot(tmp_path / "all") == before


def test_keep_best() -> None:
    assert keep_best([0.1, 0.9, 0.5, 0.9], 2) == [1, 3]
    assert keep_best([0.5, 0.5, 0.5], 2) == [0, 1]
    assert keep_best([None, 0.0, float("nan"), 0.2], 3) == [0, 1, 3]
    assert keep_best([0.3], 5) == [0]
    assert keep_best([0.3, 0.4], 0) == keep_best([0.3], -2) == keep_best([], 3) == []


@pytest.mark.parametrize("oversample", [1.0, 1.1, 1.5, 2.0, 1 / 3 + 1, MAX_OVERSAMPLE])
def test_counts_of_candidates(oversample: float) -> None:
    for count in range(1, 300):
        made = count_of_candidates(count, oversample)
        assert count * oversample - 1e-5 <= made < count * oversample + 1
        assert count_of_pairs(made, oversample) == count
        assert count_of_candidates(count_of_pairs(made - 1, oversample), oversample) >= made - 1
    assert count_of_candidates(10, 1.1) == 11  # not 12, as binary fractions would have it
    assert count_of_pairs(0, oversample) == 0

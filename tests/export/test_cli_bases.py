from pathlib import Path

import pytest

from seas_train.bases.random_base.geometry import RandomGeometry
from tests.export.commands import Run
from tests.train.test_random_base import SMALL


def test_random_base_and_checkpoint_by_command(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seas_train.bases.random_base.geometry.SHAPES", {RandomGeometry.SD14: SMALL})
    base, checkpoint = tmp_path / "base", tmp_path / "checkpoint"
    made = run("base", "random", "sd14", base, "--seed", 3, "--json").json
    assert (made["geometry"], made["seed"]) == ("sd14", 3)
    assert made["bytes"] == sum(file.stat().st_size for file in base.rglob("*") if file.is_file())
    assert run("base", "random", "sd14", base).code == 2
    ended = run("base", "untrained", base, checkpoint)
    assert ended.code == 0
    assert "64 px, 3 defects" in ended.out
    assert (checkpoint / "seas.json").is_file()
    exported = run("export", checkpoint, "--out", tmp_path / "bundle")
    assert exported.code == 0, exported.err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("base random sdxl {tmp}/b", ("GEOMETRY", "sd14", "'sdxl'")),
        ("base random sd14 {tmp}/b --vocabulary {tmp}/none", ("none", "found nothing")),
        ("base untrained {tmp}/none {tmp}/c", ("base", "no such folder")),
        ("base untrained micro {tmp}/c --size 100", ("--size", "multiple of", "found 100")),
        ("export {tmp} --out {tmp}/o --layout diffusers", ("--layout", "bundle | optimum", "'diffusers'")),
        ("export {tmp} --out {tmp}/o --layout optimum --target rtx", ("--target rtx", "--layout optimum")),
    ],
)
def test_a_mistake_has_its_own_words(run: Run, tmp_path: Path, words: str, expected: tuple[str, ...]) -> None:
    ended = run(*words.format(tmp=tmp_path).split())
    assert ended.code == 2
    assert all(word in ended.err for word in expected), ended.err
    assert list(tmp_path.iterdir()) == []

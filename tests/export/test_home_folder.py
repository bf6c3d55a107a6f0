"""`~` is the home folder wherever a path is given: words, `--out=`, `--set` and YAML."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from seas_export.config.build import load_config
from tests.export.commands import Run


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder; the commands run elsewhere."""
    (tmp_path / "home").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "home"


def here(home: Path) -> list[Path]:
    return list((home.parent / "here").iterdir())


def test_after_an_equals_sign_and_alone(run: Run, home: Path, toy_bundle: Path) -> None:
    shutil.copytree(toy_bundle, home / "bundle")
    for words in (
        ["preset", "mvtec", "--out=~/p.yaml"],
        ["pack", "~/bundle", "--out=~/b.zip"],
        ["unpack", "~/b.zip", "--out=~/unpacked"],
        ["unpack", "~/b.zip", "--out", "~/second"],
        ["generate", "~/bundle", "--defect=stain", "--count=1", "--backend=cpu", "--out=~/pairs"],
    ):
        ended = run(*words)
        assert ended.code == 0, ended.err
    names = {"p.yaml", "b.zip", "bundle", "unpacked", "second", "pairs"}
    assert {path.name for path in home.iterdir()} - {".cache"} == names
    assert here(home) == []


def test_in_the_yaml_of_a_build(home: Path) -> None:
    file = home / "build.yaml"
    file.write_text("product: plate\ndata: ~/photos\nout: ~/out/plate\nbase: ~/base\n")
    config = load_config(file, {})
    assert (config.data, config.folder) == (home / "photos", home / "out" / "plate")
    assert load_config(file, {"out": "~/other"}).folder == home / "other"


@pytest.mark.parametrize("how", ["yaml", "set", "option"])
def test_a_build_looks_for_photographs_and_its_base_there(
    run: Run, home: Path, toy_product: Path, how: str
) -> None:
    shutil.copytree(toy_product, home / "photos" / "plate")
    (home / "base").mkdir()  # without a file of a base: it is refused for that
    values = {"data": "~/photos", "out": "~/out", "base": "~/base"}
    words = ["build", "--product", "plate"]
    if how == "yaml":
        Path(home / "b.yaml").write_text("".join(f"{name}: {value}\n" for name, value in values.items()))
        words += ["--config", "~/b.yaml"]
    elif how == "set":
        words += [word for name, value in values.items() for word in ("--set", f"{name}={value}")]
    else:
        words += [f"--{name}={value}" for name, value in values.items()]
    ended = run(*words)
    assert ended.code == 2
    assert f"photographs in {home / 'photos' / 'plate'}" in ended.err
    assert str(home / "base" / "model_index.json") in ended.err
    assert here(home) == []


def test_as_an_argument(run: Run, home: Path, toy_product: Path) -> None:
    shutil.copytree(toy_product, home / "photos" / "plate")
    ended = run("data", "inspect", "~/photos/plate")
    assert ended.code == 0, ended.err
    assert here(home) == []


def test_a_user_that_is_not_there_is_told(run: Run, home: Path) -> None:
    ended = run("preset", "mvtec", "--out=~nobody-of-this-name/p.yaml")
    assert ended.code == 2
    assert "expected the home folder of a user" in ended.err
    assert here(home) == []

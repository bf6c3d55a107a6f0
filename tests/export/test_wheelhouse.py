"""A wheelhouse is complete for the box, not for the machine that collected it."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

from seas_export.machine import wheelhouse
from seas_export.machine.wheelhouse import TARGETS, collect, missing_requirements
from seas_runtime.errors import CheckFailed, UserError
from tests.export.commands import Run

BOX = TARGETS["jetson-jp6"]


def write_wheel(folder: Path, name: str, version: str, *requires: str) -> Path:
    file = folder / f"{name}-{version}-py3-none-any.whl"
    lines = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {line}" for line in requires)]
    with zipfile.ZipFile(file, "w") as opened:
        opened.writestr(f"{name}-{version}.dist-info/METADATA", "\n".join(lines) + "\n")
    return file


def test_requirements_are_those_of_the_box(tmp_path: Path) -> None:
    write_wheel(
        tmp_path,
        "seas_export",
        "1",
        "alpha>=2",
        "beta; python_version < '3.11'",
        "gamma; platform_machine == 'x86_64'",
        "delta; sys_platform == 'win32'",
        "epsilon; extra == 'runtime'",
        "zeta; extra == 'train'",
    )
    write_wheel(tmp_path, "alpha", "1.5")
    write_wheel(tmp_path, "epsilon", "1", "under-score[fast]")
    write_wheel(tmp_path, "under_score", "3", "eta; extra == 'fast'", "theta; extra == 'slow'")
    found = missing_requirements(tmp_path, BOX, "seas-export[runtime]")
    assert found == ["alpha>=2", "beta", "eta"]


def test_a_whole_folder_misses_nothing(tmp_path: Path) -> None:
    write_wheel(tmp_path, "seas_export", "1", "alpha>=2; python_version >= '3.10'")
    write_wheel(tmp_path, "alpha", "2.0")
    assert missing_requirements(tmp_path, BOX, "seas-export") == []


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """In pip's place: writes a wheel for each requirement, and none of what its own markers leave out."""
    said: list[list[str]] = []

    def run(*words: str) -> None:
        said.append(list(words))
        folder = Path(words[words.index("--dest" if words[0] == "download" else "--wheel-dir") + 1])
        if words[0] == "wheel":
            write_wheel(folder, "seas_export", "1", "alpha; python_version < '3.11'")
        elif words[-1].startswith("alpha"):
            write_wheel(folder, "alpha", "1")

    monkeypatch.setattr(wheelhouse, "_pip", run)
    return said


def test_what_pip_left_out_is_fetched_and_hashed(pip: list[list[str]], tmp_path: Path) -> None:
    made = collect("jetson-jp6", tmp_path / "house")
    assert sorted(made.wheels) == ["alpha-1-py3-none-any.whl", "seas_export-1-py3-none-any.whl"]
    assert [words[0] for words in pip] == ["wheel", "download", "download"]
    assert "--only-binary=:all:" in pip[1]
    assert pip[1][pip[1].index("--python-version") + 1] == "3.10"
    assert "manylinux_2_35_aarch64" in pip[1]
    assert "manylinux2014_aarch64" in pip[1]
    sums = (tmp_path / "house/SHA256SUMS").read_text().splitlines()
    assert [line.split()[1] for line in sums] == sorted(made.wheels)
    assert "--no-index" in (tmp_path / "house/INSTALL.txt").read_text()


def test_what_stays_missing_is_named_and_nothing_is_left(
    pip: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = write_wheel(tmp_path, "seas_export", "1", "nowhere>=3")
    with pytest.raises(CheckFailed, match="stay missing: nowhere>=3"):
        collect("linux-arm64", tmp_path / "house", wheel=wheel)
    assert not (tmp_path / "house").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--target", "toaster"), "jetson-jp6 (Jetson, JetPack 6)"),
        (("--target", "linux-x86", "--python", "3"), "--python: expected a version"),
        (("--target", "linux-x86", "--wheel", "none.whl"), "found no such file"),
    ],
    ids=str,
)
def test_mistakes(run: Run, tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    ended = run("wheelhouse", tmp_path / "house", *words)
    assert ended.code == 2
    assert said in ended.err
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").write_text("mine")
    assert run("wheelhouse", tmp_path / "full", "--target", "linux-x86").code == 2
    assert (tmp_path / "full/file").read_text() == "mine"


def test_a_wheel_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "alpha-1-py3-none-any.whl").write_bytes(b"no")
    with pytest.raises(UserError, match="expected a wheel"):
        missing_requirements(tmp_path, BOX, "alpha")


@pytest.mark.skipif(
    "SEAS_NETWORK_TESTS" not in os.environ, reason="needs a network: set SEAS_NETWORK_TESTS=1"
)
def test_a_jetson_gets_everything_as_wheels(tmp_path: Path) -> None:
    made = collect("jetson-jp6", tmp_path / "house", extras=("runtime", "verify"))
    assert any(name.startswith("onnxruntime-") and "aarch64" in name for name in made.wheels)
    assert not any("x86_64" in name for name in made.wheels)

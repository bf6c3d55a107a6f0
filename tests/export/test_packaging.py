"""What `pip install seas-export` would bring: the archives as hatchling builds them, without a network."""

from __future__ import annotations

import email
import email.message
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("hatchling", reason="hatchling is not installed: pip install '.[dev]'")

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {
    "seas_export": ROOT / "seas_export",
    "seas_train": ROOT / "train/seas_train",
    "seas_engines": ROOT / "engines/seas_engines",
    "seas_runtime": ROOT / "runtime/seas_runtime",
}
EXTRAS = {
    *("runtime", "verify", "openvino", "cuda", "tensorrt", "rtx", "jetson"),
    *(
        "train",
        "export",
        "engines",
        "gpu",
        "report",
        "sign",
        "lora",
        "heic",
        "opencv",
        "remote",
        "ray",
        "prove",
        "dev",
        "dev-gpu",
    ),
    *("serve", "web"),
    *("graphs", "tracing", "checks"),  # parts of others
}
AT_THE_EDGE = {"numpy", "pillow", "safetensors", "typer", "rich", "onnxruntime"}


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the source archive of this repository."""
    out = tmp_path_factory.mktemp("archives")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-t", "sdist", "-d", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def wheel_files(archives: Path) -> dict[str, int]:
    """The wheel's files and their sizes."""
    with zipfile.ZipFile(next(archives.glob("*.whl"))) as wheel:
        return {item.filename: item.file_size for item in wheel.infolist() if not item.is_dir()}


@pytest.fixture(scope="module")
def information(archives: Path) -> dict[str, email.message.Message | str]:
    """The wheel's METADATA, as headers, and its entry points."""
    with zipfile.ZipFile(next(archives.glob("*.whl"))) as wheel:
        names = [name for name in wheel.namelist() if ".dist-info/" in name]
        texts = {Path(name).name: wheel.read(name).decode() for name in names}
    return {
        "metadata": email.message_from_string(texts["METADATA"]),
        "entry_points": texts["entry_points.txt"],
    }


@pytest.fixture(scope="module")
def requirements(information: dict[str, email.message.Message]) -> dict[str, list[tuple[str, str]]]:
    """(package, bounds) of every requirement, by extra; those of every installation under `""`."""
    found: dict[str, list[tuple[str, str]]] = {}
    for line in information["metadata"].get_all("Requires-Dist", []):
        match = re.fullmatch(r"([A-Za-z0-9_.-]+)(?:\[.*?\])?([^;]*?)(?:;.*extra == '([\w-]+)')?", line)
        assert match is not None, line
        found.setdefault(match[3] or "", []).append((match[1].lower(), match[2].strip()))
    return found


def source_files() -> set[str]:
    """Every file of the four packages, by the path that it has when installed."""
    return {
        f"{name}/{path.relative_to(folder).as_posix()}"
        for name, folder in PACKAGES.items()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_wheel_holds_the_four_packages_whole_and_nothing_else(wheel_files: dict[str, int]) -> None:
    packed = {name for name in wheel_files if ".dist-info/" not in name}
    assert packed == source_files()
    assert {name.split("/")[0] for name in packed} == set(PACKAGES)


@pytest.mark.parametrize("package", PACKAGES)
def test_every_package_says_that_it_is_typed(wheel_files: dict[str, int], package: str) -> None:
    assert f"{package}/py.typed" in wheel_files


def test_the_wheel_brings_the_shipped_base(wheel_files: dict[str, int]) -> None:
    """Its weights are the part of the package that no import would miss."""
    base = {
        name.removeprefix("seas_train/bases/micro/weights/"): size
        for name, size in wheel_files.items()
        if name.startswith("seas_train/bases/micro/weights/")
    }
    parts = {name.split("/")[0] for name in base}
    assert parts >= {"model_index.json", "unet", "vae", "text_encoder", "tokenizer", "scheduler"}
    assert 5e6 < sum(base.values()) <= 25e6


def test_the_wheel_brings_the_templates_of_the_report(wheel_files: dict[str, int]) -> None:
    folder = "seas_export/report/templates"
    assert {f"{folder}/{name}" for name in ("page.html.j2", "macros.html.j2", "style.css")} <= set(
        wheel_files
    )


def test_metadata(information: dict[str, email.message.Message]) -> None:
    metadata = information["metadata"]
    assert metadata["Name"] == "seas-export"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["License-File"] == "LICENSE"
    assert metadata["Requires-Python"] == ">=3.10"
    assert set(metadata.get_all("Provides-Extra", [])) == EXTRAS
    assert metadata.get_payload() == (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_command_is_installed(information: dict[str, str]) -> None:
    assert "seas-export = seas_export.cli:main" in information["entry_points"].splitlines()


def test_an_edge_box_gets_what_it_needs_and_no_more(requirements: dict[str, list[tuple[str, str]]]) -> None:
    assert {name for name, _ in requirements[""] + requirements["runtime"]} == AT_THE_EDGE


def test_every_requirement_is_a_lower_bound(requirements: dict[str, list[tuple[str, str]]]) -> None:
    """A pin or an upper bound would keep the toolkit from being installed beside others; but a Jetson's
    driver takes no newer one."""
    every = [item for extra, items in requirements.items() if extra != "jetson" for item in items]
    assert [(name, bounds) for name, bounds in every if not re.fullmatch(r">=[0-9.]+", bounds)] == []


def test_the_source_archive_builds_and_tests_itself(archives: Path) -> None:
    with tarfile.open(next(archives.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names >= {"pyproject.toml", "README.md", "LICENSE", "Makefile", "constraints.txt"}
    installed_from = {path for folder in PACKAGES.values() for path in folder.rglob("*.py")}
    tested_by = set((ROOT / "tests").rglob("*.py"))
    assert names >= {path.relative_to(ROOT).as_posix() for path in installed_from | tested_by}


def test_the_source_archive_leaves_out_what_was_made_here(archives: Path) -> None:
    with tarfile.open(next(archives.glob("*.tar.gz"))) as archive:
        tops = {name.split("/")[1] for name in archive.getnames() if "/" in name}
    assert not tops & {"out", "data", "dist", "build", ".venv", ".git", ".pytest_cache", ".hypothesis"}

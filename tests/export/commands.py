"""Runs the command line in this process, and gives it something tiny to work on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from seas_export.cli import main
from tests.products import write_tiny_product
from tests.runtime.bundles import write_tiny_bundle


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, all of it, as JSON."""
        return json.loads(self.out)


Run = Callable[..., Ended]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """A function that runs `seas-export WORDS...`."""

    def run_words(*words: object) -> Ended:
        capsys.readouterr()
        code = main([str(word) for word in words])
        said = capsys.readouterr()
        return Ended(code, said.out, said.err)

    return run_words


def unchanged(folder: Path) -> Iterator[Path]:
    """Lend a folder to a test, and fail the test where it changed it: others count on the folder."""
    before = _contents(folder)
    yield folder
    assert _contents(folder) == before, f"this test changed the lent {folder}: let it take a copy"


def _contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="session")
def toy_bundle_for_all(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("toy") / "bundle")


@pytest.fixture(scope="session")
def toy_product_for_all(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_product(tmp_path_factory.mktemp("products") / "plate")


@pytest.fixture
def toy_bundle(toy_bundle_for_all: Path) -> Iterator[Path]:
    """A tiny bundle that no test may change."""
    yield from unchanged(toy_bundle_for_all)


@pytest.fixture
def toy_product(toy_product_for_all: Path) -> Iterator[Path]:
    """A tiny product that no test may change."""
    yield from unchanged(toy_product_for_all)

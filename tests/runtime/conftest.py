"""One tiny bundle for the tests that only read it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from seas_runtime.generation.generator import Generator
from tests.runtime.bundles import write_tiny_bundle


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny bundle that no test may change."""
    return write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny")


@pytest.fixture
def own_bundle(tiny_bundle: Path, tmp_path: Path) -> Path:
    """A copy of the tiny bundle, for a test to spoil."""
    return Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))


@pytest.fixture(scope="session")
def generator(tiny_bundle: Path) -> Generator:
    """A generator on the tiny bundle."""
    return Generator.open(tiny_bundle, threads=1)

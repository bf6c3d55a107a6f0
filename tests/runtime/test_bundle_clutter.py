"""What Macs, file servers and Windows leave in a bundle's folder is passed over, never read, and told."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest

from seas_runtime.bundle.archive import pack_bundle, unpack_bundle
from seas_runtime.bundle.reading import Bundle, find_clutter
from seas_runtime.engines.store import EngineStore
from seas_runtime.errors import UserError
from seas_runtime.generation.generator import Generator
from tests.runtime.hostile import described

CLUTTER = (
    "._manifest.json",
    "graphs/._step.onnx",
    "graphs/step.onnx:Zone.Identifier",
    "tables/.nfs00000000abc",
    "tables/@eaDir/schedule.safetensors@SynoEAStream",
    "Thumbs.db",
    "engines/._x/index.json",
    "lost+found/x",
)


@pytest.fixture
def cluttered(own_bundle: Path) -> Path:
    for name in CLUTTER:
        (own_bundle / name).parent.mkdir(parents=True, exist_ok=True)
        (own_bundle / name).write_bytes(b"left here")
    (own_bundle / "graphs/._link").symlink_to("/nowhere")
    return own_bundle


def test_clutter_is_passed_over(cluttered: Path, tmp_path: Path) -> None:
    assert next(Generator.open(cluttered, threads=1).generate("stain", 1, gate=False))
    assert EngineStore.of(Bundle.read(cluttered)).engines() == ((), ())
    pack_bundle(cluttered, tmp_path / "bundle.zip")
    assert not find_clutter(unpack_bundle(tmp_path / "bundle.zip", tmp_path / "there").path)


def test_clutter_is_told(cluttered: Path) -> None:
    found = find_clutter(cluttered)
    assert "tables/@eaDir" in found
    assert "graphs/step.onnx:Zone.Identifier" in found
    assert "graphs/._link" in found
    assert len(found) == len(CLUTTER) + 1


def test_a_manifest_cannot_list_clutter(own_bundle: Path) -> None:
    def change(values: dict[str, dict[str, object]]) -> None:
        values["files"]["graphs/.DS_Store"] = {"sha256": "0" * 64, "size": 1}

    described(change)(own_bundle)
    with pytest.raises(UserError, match=r"'graphs/\.DS_Store' is refused: files of that name"):
        Bundle.read(own_bundle)


def test_an_archive_of_a_mac_is_unpacked(own_bundle: Path, tmp_path: Path) -> None:
    pack_bundle(own_bundle, tmp_path / "bundle.zip")
    with zipfile.ZipFile(tmp_path / "bundle.zip", "a") as opened:
        for name in ("__MACOSX/._manifest.json", "graphs/.DS_Store", "x:Zone.Identifier"):
            opened.writestr(name, b"left here")
    there = unpack_bundle(tmp_path / "bundle.zip", tmp_path / "there").path
    assert sorted(path.name for path in there.iterdir()) == ["graphs", "manifest.json", "tables"]
    shutil.rmtree(there)

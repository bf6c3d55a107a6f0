from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seas_runtime.bundle.reading import Bundle
from seas_runtime.engines import engine as engine_module
from seas_runtime.engines import index as engine_index
from seas_runtime.engines import store as engine_store
from seas_runtime.engines.engine import Engine
from seas_runtime.engines.errors import (
    EngineDamaged,
    EngineError,
    EngineForeign,
    EngineMissing,
    EngineStale,
    EngineStoreUnwritable,
    EngineWrongBatch,
)
from seas_runtime.engines.record import BatchRange, EngineIdentity, EngineRecord
from seas_runtime.engines.store import EngineStore
from seas_runtime.errors import UserError
from seas_runtime.files import TEMPORARY_SUFFIX
from seas_runtime.manifest.types import TensorSpec
from seas_runtime.outputs.temporary import temporary_folder
from tests.runtime.bundles import Toy, write_tiny_bundle

CONTENT = bytes(range(256)) * 64
VERSION = "1.7.1"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_tiny_bundle(tmp_path / "bundle", Toy(weights_file=True))


@pytest.fixture
def store(bundle: Path) -> EngineStore:
    return EngineStore(bundle, Bundle.read(bundle).manifest)


def identity(store: EngineStore, **changes: Any) -> EngineIdentity:
    made = EngineIdentity(
        graph="step",
        content=store.content("step"),
        target="rtx",
        backend_version=VERSION,
        devices=("8.6", "8.9"),
        precision="fp16",
        batch=BatchRange(1, 2, 4),
        options={"revision": "1"},
    )
    return dataclasses.replace(made, **changes)


def add(store: EngineStore, shipped: bool = False, content: bytes = CONTENT, **changes: Any) -> Engine:
    tensors = (TensorSpec("latents", "float32", ("batch", 4, 6, 6)),)
    with store.workspace() as folder:
        (folder / "made").write_bytes(content)
        record = EngineRecord(identity(store, **changes), tensors, tensors, {"seconds": 1.0}, shipped)
        return store.add(record, folder / "made")


def find(store: EngineStore, device: str = "8.6", batch: int | None = None, **changes: str) -> Engine:
    return store.find("step", changes.get("target", "rtx"), changes.get("version", VERSION), device, batch)


def content_of(engine: Engine) -> bytes:
    with engine.open() as view:
        return bytes(view)


def change_index(engine: Engine, change: Callable[[dict[str, Any]], None]) -> None:
    file = engine.folder / "index.json"
    value = json.loads(file.read_text())
    change(value)
    file.write_text(json.dumps(value))


def test_an_engine_is_found_and_read(store: EngineStore) -> None:
    made = add(store)
    found = find(store, "8.9", batch=3)
    assert found.record == made.record
    assert found.folder.parent == store.folder
    assert found.record.file.size == len(CONTENT)
    assert content_of(found) == CONTENT
    assert sorted(path.name for path in store.folder.iterdir()) == [made.identity.key]


def test_building_engines_changes_nothing_that_was_hashed(store: EngineStore, bundle: Path) -> None:
    before = Bundle.read(bundle).fingerprint
    add(store)
    assert Bundle.read(bundle, verify=True).fingerprint == before


def test_the_narrowest_range_that_holds_the_batch_is_chosen(store: EngineStore) -> None:
    add(store)
    exact = add(store, batch=BatchRange(4, 4, 4))
    assert find(store, batch=4).identity.key == exact.identity.key
    assert find(store, batch=3).identity.batch == BatchRange(1, 2, 4)


def test_nothing_there(store: EngineStore) -> None:
    with pytest.raises(
        EngineMissing, match=r"no engine of 'step' for rtx; build it: seas-export engine"
    ) as caught:
        find(store, batch=4)
    assert caught.value.command.endswith("--target rtx --device 8.6 --batch 4")
    with pytest.raises(EngineMissing, match="tensorrt"):
        find(store, target="tensorrt")


def test_wrong_device(store: EngineStore) -> None:
    add(store)
    with pytest.raises(EngineForeign, match=r"is for 8\.6, 8\.9, this device is 12\.0.*--device 12\.0"):
        find(store, "12.0")


def test_wrong_version(store: EngineStore) -> None:
    add(store)
    with pytest.raises(EngineStale, match=r"built with version 1\.7\.1, this machine runs 1\.8\.0"):
        find(store, version="1.8.0")


def test_wrong_bundle(store: EngineStore, tmp_path: Path) -> None:
    add(store)
    other = write_tiny_bundle(tmp_path / "other", Toy(weights_file=True, gain=1.0, noise_input=False))
    shutil.copytree(store.folder, other / "engines")
    with pytest.raises(EngineStale, match="from another graph or other weights"):
        find(EngineStore(other, Bundle.read(other).manifest))


def test_content_is_graph_and_weights(store: EngineStore, bundle: Path) -> None:
    manifest = Bundle.read(bundle).manifest
    before = EngineStore(bundle, manifest).content("step")
    weights = manifest.files["graphs/weights.bin"]
    files = {**manifest.files, "graphs/weights.bin": dataclasses.replace(weights, sha256="0" * 64)}
    changed = dataclasses.replace(manifest, files=files)
    assert EngineStore(bundle, changed).content("step") != before
    assert EngineStore(bundle, changed).content("decode_mask") == EngineStore(bundle, manifest).content(
        "decode_mask"
    )


def test_wrong_batch(store: EngineStore) -> None:
    add(store)
    with pytest.raises(EngineWrongBatch, match=r"takes batches of 1 to 4, not of 8.*--batch 8"):
        find(store, batch=8)


def test_truncated(store: EngineStore) -> None:
    made = add(store)
    made.file.write_bytes(CONTENT[:-1])
    with pytest.raises(EngineDamaged, match=f"expected {len(CONTENT)} bytes, found {len(CONTENT) - 1}"):
        find(store)


def test_truncated_after_it_was_found(store: EngineStore) -> None:
    made = add(store)
    made.file.write_bytes(b"")
    with pytest.raises(EngineDamaged, match="it is not loaded"), made.open():
        pass


def test_one_flipped_bit(store: EngineStore) -> None:
    made = add(store)
    made.file.write_bytes(CONTENT[:-1] + bytes([CONTENT[-1] ^ 1]))
    with (
        pytest.raises(EngineDamaged, match=r"it is not loaded\. Build it again: .* --force") as caught,
        find(store).open(),
    ):
        pass
    assert "--target rtx" in caught.value.command
    with pytest.raises(EngineDamaged):
        store.verify(made)


def test_missing_file(store: EngineStore) -> None:
    add(store).file.unlink()
    with pytest.raises(EngineDamaged, match="found nothing"):
        find(store)


def test_an_engine_of_another_machine_is_loaded_only_if_shipped(
    store: EngineStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    add(store)
    shipped = add(store, shipped=True, devices=("12.0",))
    (tmp_path / "machine-id").write_text("another")
    monkeypatch.setattr(engine_module, "_MACHINE_ID", tmp_path / "machine-id")
    with pytest.raises(EngineForeign, match="built on another machine and not with --ship-engines"):
        find(store)
    assert find(store, "12.0").identity.key == shipped.identity.key


def test_machines_without_an_identifier_are_alike(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(engine_module, "_MACHINE_ID", tmp_path / "missing")
    assert engine_module.machine_identity() == "unknown"


def _set(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda index: index.__setitem__(key, value)


@pytest.mark.parametrize(
    "change",
    [
        _set("schema", 2),
        _set("graph", "../step"),
        _set("content", "0"),
        _set("target", "r/x"),
        _set("devices", []),
        _set("devices", [1]),
        _set("batch", [1, 2]),
        _set("batch", [4, 2, 1]),
        _set("batch", [True, 2, 3]),
        _set("options", {"level": 3}),
        _set("precision", "int8"),
        _set("file", {"sha256": "0" * 64}),
        _set("file", {"sha256": "g" * 64, "size": 1}),
        _set("inputs", [{"name": "x", "dtype": "complex", "shape": []}]),
        _set("inputs", [{"name": "x", "dtype": "float32", "shape": [0]}]),
        _set("facts", []),
        _set("shipped", "yes"),
        _set("built_at", -1),
        _set("origin", ""),
        _set("companions", {"../../x": {"sha256": "0" * 64, "size": 1}}),
        _set("companions", {"x": {"sha256": "0" * 64, "size": -1}}),
        _set("unknown", 1),
        lambda index: index.pop("content"),
        _set("backend_version", "9"),  # valid, but not what the folder's name is the key of
        _set("devices", ["12.0"]),
    ],
)
def test_hostile_indexes(store: EngineStore, change: Callable[[dict[str, Any]], None]) -> None:
    made = add(store)
    change_index(made, change)
    with pytest.raises(EngineDamaged, match=f"remove .*{made.identity.key} and build"):
        find(store)


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b'{"a": NaN}', b"\xff", b"[" * 100_000])
def test_indexes_that_are_no_json(store: EngineStore, text: bytes) -> None:
    made = add(store)
    (made.folder / "index.json").write_bytes(text)
    with pytest.raises(EngineDamaged):
        find(store)


def test_a_huge_index_is_not_read(store: EngineStore, monkeypatch: pytest.MonkeyPatch) -> None:
    made = add(store)
    monkeypatch.setattr(engine_index, "INDEX_SIZE_LIMIT", 100)
    with pytest.raises(EngineDamaged, match="too large"):
        find(store)
    assert made.file.is_file()


@pytest.mark.parametrize("name", ["engine.bin", "index.json", ""])
def test_symbolic_links_are_refused(store: EngineStore, tmp_path: Path, name: str) -> None:
    made = add(store)
    path = made.folder / name if name else made.folder
    path.rename(tmp_path / "moved")
    path.symlink_to(tmp_path / "moved")
    with pytest.raises(EngineDamaged, match="symbolic link"):
        find(store)


def test_a_linked_cache_is_refused(store: EngineStore, tmp_path: Path) -> None:
    add(store)
    store.folder.rename(tmp_path / "moved")
    store.folder.symlink_to(tmp_path / "moved")
    with pytest.raises(EngineDamaged, match="symbolic link"):
        find(store)


def test_a_damaged_engine_does_not_hide_a_good_one(store: EngineStore) -> None:
    broken = add(store, devices=("12.0",))
    (broken.folder / "index.json").write_text("{")
    made = add(store)
    assert find(store).identity.key == made.identity.key
    engines, damaged = store.engines()
    assert [engine.identity.key for engine in engines] == [made.identity.key]
    assert len(damaged) == 1


def test_strangers_in_the_cache_are_damage_and_never_a_crash(store: EngineStore) -> None:
    store.folder.mkdir()
    (store.folder / "a file").write_text("x")
    (store.folder / "a folder").mkdir()
    engines, damaged = store.engines()
    assert not engines
    assert len(damaged) == 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_unwritable_by_permission(store: EngineStore, bundle: Path) -> None:
    bundle.chmod(0o555)
    try:
        with pytest.raises(EngineStoreUnwritable, match="permission denied"):
            add(store)
    finally:
        bundle.chmod(0o755)


def test_unwritable(store: EngineStore, bundle: Path) -> None:
    (bundle / "engines").write_text("in the way")
    with pytest.raises(EngineStoreUnwritable, match="cannot be written"):
        add(store)


def test_a_full_disk_leaves_nothing(store: EngineStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, value: Any) -> None:
        raise UserError(f"{path}: cannot write: the disk is full; free some space or choose another folder")

    monkeypatch.setattr(engine_store, "write_json", full)
    with pytest.raises(EngineStoreUnwritable, match="the disk is full"):
        add(store)
    assert list(store.folder.iterdir()) == []


def test_a_build_that_dies_leaves_nothing_that_looks_like_an_engine(store: EngineStore) -> None:
    def interrupted() -> None:
        with store.workspace() as folder:
            (folder / "engine.bin").write_bytes(CONTENT)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(store.folder.iterdir()) == []
    # Killed outright, nothing is cleared; but nothing is found either, and the next build clears it.
    with temporary_folder(store.folder / "build") as live:
        (live / "engine.bin").write_bytes(CONTENT)
        killed = shutil.copytree(live.parent, store.folder / f".build.0123abcd{TEMPORARY_SUFFIX}")
        with pytest.raises(EngineMissing):
            find(store)
        assert store.engines() == ((), ())
        mine = store.folder / f".notes{TEMPORARY_SUFFIX}"
        mine.mkdir()
        add(store)
        assert live.exists()  # its process is at work
        assert mine.exists()  # a person's, whatever its name
        assert not killed.exists()


def test_a_note_beside_an_engine_survives_its_removal(store: EngineStore) -> None:
    made = add(store)
    note = made.folder / "NOTES.txt"
    note.write_text("mine")
    add(store, content=b"other")
    assert content_of(find(store)) == b"other"
    store.remove(made)
    assert [path.name for path in made.folder.iterdir()] == ["NOTES.txt"]


def test_adding_again_replaces(store: EngineStore) -> None:
    add(store)
    again = add(store, content=b"other")
    assert content_of(find(store)) == b"other"
    store.remove(again)
    with pytest.raises(EngineMissing):
        find(store)
    assert store.get(again.identity) is None


def test_companions(store: EngineStore) -> None:
    made = add(store)
    assert store.read_companion(made, "runtime.cache") is None
    kept = store.save_companion(made, "runtime.cache", b"compiled")
    assert store.read_companion(kept, "runtime.cache") == b"compiled"
    assert store.read_companion(find(store), "runtime.cache") == b"compiled"
    (made.folder / "runtime.cache").write_bytes(b"Compiled")
    assert store.read_companion(find(store), "runtime.cache") is None
    (made.folder / "runtime.cache").write_bytes(b"compiled and more")
    assert store.read_companion(find(store), "runtime.cache") is None


@pytest.mark.parametrize("name", ["../x", "index.json", "engine.bin", "", "a/b", ".x"])
def test_companions_have_plain_names(store: EngineStore, name: str) -> None:
    with pytest.raises(ValueError, match="companion name"):
        store.save_companion(add(store), name, b"")


@pytest.mark.parametrize("text", ["", "0", "1:2", "4:2:1", "1:2:3:4", "-1", "a", "1:1:1025", "1e2", "１"])
def test_batch_ranges_that_are_none(text: str) -> None:
    with pytest.raises(UserError, match="batch"):
        BatchRange.parse(text)


def test_batch_ranges() -> None:
    assert BatchRange.parse("4") == BatchRange(4, 4, 4)
    assert BatchRange.parse("1:4:16") == BatchRange(1, 4, 16)
    assert str(BatchRange(1, 4, 16)) == "1 to 16"
    assert BatchRange(2, 2, 2).static


def test_errors_are_the_users(store: EngineStore) -> None:
    assert issubclass(EngineError, UserError)

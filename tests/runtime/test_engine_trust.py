"""Under a required signature an engine runs only if that covers it, or this machine built and sealed it."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from seas_runtime.bundle.reading import Bundle
from seas_runtime.engines import seal
from seas_runtime.engines.engine import SEALED, SIGNED, Engine
from seas_runtime.engines.errors import EngineDamaged, EngineForeign
from seas_runtime.engines.record import BatchRange, EngineIdentity, EngineRecord
from seas_runtime.engines.store import EngineStore
from seas_runtime.generation.generator import Generator
from seas_runtime.manifest.types import TensorSpec
from tests.runtime.signing_keys import statement_of, write_keys, write_signature

Change = Callable[[dict[str, Any]], Any]


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's data folder of the test's own; returns where the key will lie."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return seal.key_file()


def store(bundle: Path, signed: dict[str, str] | None = None) -> EngineStore:
    return EngineStore(bundle, Bundle.read(bundle).manifest, signed)


def add(bundle: Path, shipped: bool = False, content: bytes = b"an engine") -> Engine:
    ours = store(bundle)
    identity = EngineIdentity(
        "step", ours.content("step"), "rtx", "1.0", ("8.6",), "fp16", BatchRange(1, 1, 1)
    )
    specs = (TensorSpec("latents", "float32", ("batch", 4)),)
    with ours.workspace() as folder:
        (folder / "made").write_bytes(content)
        return ours.add(EngineRecord(identity, specs, specs, shipped=shipped), folder / "made")


def find(bundle: Path, signed: dict[str, str] | None) -> Engine:
    return store(bundle, signed).find("step", "rtx", "1.0", "8.6")


def forge(engine: Engine, change: Change = lambda index: None) -> None:
    """Put another engine in the place of one, with an index that fits it."""
    data = b"a program of somebody else's"
    (engine.folder / "engine.bin").write_bytes(data)
    file = engine.folder / "index.json"
    index = json.loads(file.read_text())
    index["file"] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    change(index)
    file.write_text(json.dumps(index))


def test_what_was_built_here_is_loaded_under_a_signature(own_bundle: Path, machine: Path) -> None:
    add(own_bundle)
    assert find(own_bundle, {}).trust == SEALED
    assert stat.S_IMODE(machine.stat().st_mode) == 0o600
    assert len(machine.read_bytes()) == 32
    assert [path.name for path in machine.parent.iterdir()] == [machine.name]


@pytest.mark.parametrize(
    "change",
    [
        lambda index: None,  # origin copied
        lambda index: index.update(shipped=True),
        lambda index: index.pop("seal"),
        lambda index: index.update(seal="0" * 64, shipped=True),
    ],
    ids=["origin copied", "shipped", "no seal", "a seal made up"],
)
def test_a_replaced_engine_is_not_loaded_under_a_signature(own_bundle: Path, change: Change) -> None:
    forge(add(own_bundle), change)
    with pytest.raises(EngineForeign, match=r"not signed, and not sealed .*build it here: .* --force"):
        find(own_bundle, {})
    assert find(own_bundle, None).trust == ""  # who asks for no signature is told, not refused


def test_a_seal_of_another_engine_or_machine_is_none(
    own_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = add(own_bundle)
    monkeypatch.setattr(seal, "machine_identity", lambda: "another")
    with pytest.raises(EngineForeign):
        find(own_bundle, {})
    monkeypatch.undo()
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "somebody else's"))
    with pytest.raises(EngineForeign):
        find(own_bundle, {})
    assert engine.record.seal


def test_a_signed_engine_is_loaded_and_what_it_keeps_beside_it_is_sealed(own_bundle: Path) -> None:
    engine = add(own_bundle, shipped=True)
    forge(engine)  # from elsewhere: this machine has no seal for it
    name = f"engines/{engine.folder.name}/index.json"
    signed = {name: hashlib.sha256((engine.folder / "index.json").read_bytes()).hexdigest()}
    found = find(own_bundle, signed)
    assert found.trust == SIGNED
    store(own_bundle, signed).save_companion(found, "runtime.cache", b"compiled")
    assert find(own_bundle, signed).trust == SEALED


def test_a_cache_beside_an_unknown_engine_seals_nothing(own_bundle: Path) -> None:
    forge(add(own_bundle))
    store(own_bundle).save_companion(find(own_bundle, None), "runtime.cache", b"compiled")
    with pytest.raises(EngineForeign):
        find(own_bundle, {})


def test_two_processes_make_one_key(machine: Path) -> None:
    def make(_: int) -> bytes:
        seal._read_or_make.cache_clear()
        return seal._read_or_make(machine)

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(make, range(32)))) == 1


@pytest.mark.skipif(os.name != "posix", reason="modes are of Unix")
@pytest.mark.parametrize("spoil", ["mode", "link", "pipe", "short"])
def test_a_key_that_others_could_know_seals_nothing(own_bundle: Path, machine: Path, spoil: str) -> None:
    machine.parent.mkdir(parents=True)
    if spoil == "pipe":
        os.mkfifo(machine)
    else:
        file = machine.with_name("other") if spoil == "link" else machine
        file.write_bytes(bytes(8 if spoil == "short" else 32))
        file.chmod(0o644 if spoil == "mode" else 0o600)
        if spoil == "link":
            machine.symlink_to(file)
    assert add(own_bundle).trust == ""
    with pytest.raises(EngineForeign):
        find(own_bundle, {})


def test_where_no_key_can_be_kept_all_else_works(own_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/proc/nowhere")
    assert add(own_bundle).trust == ""
    assert find(own_bundle, None).record.seal == ""


@pytest.mark.parametrize("name", ["index.json", "engine.bin"])
def test_a_pipe_as_an_engine_is_not_waited_for(own_bundle: Path, name: str) -> None:
    engine = add(own_bundle)
    (engine.folder / name).unlink()
    os.mkfifo(engine.folder / name)
    with pytest.raises(EngineDamaged):
        find(own_bundle, None)


def test_openvino_imports_only_what_was_sealed_here(own_bundle: Path) -> None:
    """A blob is a program, also where no signature is asked for; compiling it again costs a second."""
    pytest.importorskip("openvino")
    next(Generator.open(own_bundle, "openvino:fp32", threads=1).generate("stain", 1))
    before = {engine.folder: engine.record.built_at for engine in store(own_bundle).engines()[0]}
    for engine in store(own_bundle).engines()[0]:
        index = json.loads((engine.folder / "index.json").read_text())
        index["built_at"] += 1.0
        (engine.folder / "index.json").write_text(json.dumps(index))
    next(Generator.open(own_bundle, "openvino:fp32", threads=1).generate("stain", 1))
    after = {engine.folder: engine for engine in store(own_bundle).engines()[0]}
    assert after.keys() == before.keys()
    assert all(engine.trust == SEALED for engine in after.values())


def test_a_required_signature_reaches_the_engines(own_bundle: Path, tmp_path: Path) -> None:
    pytest.importorskip("cryptography")
    engine = add(own_bundle, shipped=True)
    forge(engine)
    private, public = write_keys(tmp_path, "mine")
    statement = statement_of(own_bundle)
    write_signature(own_bundle, private, statement)
    read = Bundle.read(own_bundle, require_signature=public)
    assert read.signed == {}
    with pytest.raises(EngineForeign):
        EngineStore.of(read).find("step", "rtx", "1.0", "8.6")
    index = hashlib.sha256((engine.folder / "index.json").read_bytes()).hexdigest()
    entry = {
        "name": f"engines/{engine.folder.name}/index.json",
        "algorithm": "sha256",
        "digest": index,
    }
    resources = [*statement["predicate"]["resources"], entry]
    statement["predicate"]["resources"] = resources
    root = hashlib.sha256(b"".join(bytes.fromhex(item["digest"]) for item in resources)).hexdigest()
    statement["subject"][0]["digest"]["sha256"] = root
    write_signature(own_bundle, private, statement)
    found = EngineStore.of(Bundle.read(own_bundle, require_signature=public))
    assert found.find("step", "rtx", "1.0", "8.6").trust == SIGNED

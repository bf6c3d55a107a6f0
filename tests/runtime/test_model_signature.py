"""The runtime accepts what the owner of a key signed, and nothing else."""

from __future__ import annotations

import base64
import dataclasses
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seas_runtime.bundle.archive import pack_bundle, unpack_bundle
from seas_runtime.bundle.reading import Bundle, hash_files, write_manifest
from seas_runtime.errors import UserError
from seas_runtime.generation.generator import Generator
from seas_runtime.installing import install

pytest.importorskip("cryptography", reason="cryptography is not installed: pip install '.[verify]'")

from tests.runtime.signing_keys import statement_of, write_keys, write_signature

Change = Callable[[dict[str, Any]], Any]


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    """Private and public key on P-256."""
    return write_keys(tmp_path, "mine")


@pytest.fixture
def signed(own_bundle: Path, keys: tuple[Path, Path]) -> Path:
    """A bundle signed with the key."""
    write_signature(own_bundle, keys[0], statement_of(own_bundle))
    return own_bundle


@pytest.mark.parametrize("curve", ["SECP256R1", "SECP384R1", "SECP521R1"])
def test_a_genuine_signature_opens_the_bundle(own_bundle: Path, tmp_path: Path, curve: str) -> None:
    private, public = write_keys(tmp_path, "mine", curve)
    write_signature(own_bundle, private, statement_of(own_bundle))
    generator = Generator.open(own_bundle, threads=1, require_signature=public)
    assert len(list(generator.generate("stain", 1, gate=False))) == 1
    Bundle.read(own_bundle)  # whoever does not ask is not bothered


def test_engines_are_outside_of_what_is_signed(signed: Path, keys: tuple[Path, Path]) -> None:
    (signed / "engines/key").mkdir(parents=True)
    (signed / "engines/key/step.plan").write_bytes(b"of this machine")
    Bundle.read(signed, require_signature=keys[1])


def test_a_signature_asks_for_the_hashes_even_where_verify_is_off(
    signed: Path, keys: tuple[Path, Path]
) -> None:
    file = signed / "graphs/step.onnx"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(bytes(data))
    with pytest.raises(UserError, match="expected sha256"):
        Generator.open(signed, verify=False, require_signature=keys[1])


def test_a_bundle_without_signature(own_bundle: Path, keys: tuple[Path, Path]) -> None:
    with pytest.raises(UserError, match="asked for and there is none"):
        Bundle.read(own_bundle, require_signature=keys[1])


def test_somebody_elses_key(signed: Path, tmp_path: Path) -> None:
    _, other = write_keys(tmp_path, "other")
    with pytest.raises(UserError, match="does not belong to the key"):
        Bundle.read(signed, require_signature=other)


def test_a_bundle_changed_with_its_manifest(signed: Path, keys: tuple[Path, Path]) -> None:
    """Who can change a file can mend its hash, but not the signature."""
    manifest = Bundle.read(signed).manifest
    write_manifest(
        signed,
        dataclasses.replace(manifest, generation={"mask_steps": 3, "tau": 0.9}, files=hash_files(signed)),
    )
    Bundle.read(signed)
    with pytest.raises(UserError, match=r"of another bundle.*'manifest\.json'"):
        Bundle.read(signed, require_signature=keys[1])


STATEMENTS: dict[str, tuple[Change, str]] = {
    "another type": (lambda value: value.update(_type="x"), "_type: expected"),
    "another predicate": (lambda value: value.update(predicateType="x"), "predicateType: expected"),
    "shards": (lambda value: value["predicate"]["serialization"].update(method="shards"), "method: expected"),
    "another hash": (
        lambda value: value["predicate"]["resources"][0].update(algorithm="md5"),
        "expected one of sha256",
    ),
    "a file less": (lambda value: value["predicate"]["resources"].pop(), "subject: expected"),
    "no digest": (lambda value: value["predicate"]["resources"][0].update(digest="zz"), "hexadecimal"),
    "a name twice": (
        lambda value: value["predicate"]["resources"].append(value["predicate"]["resources"][0]),
        "names that differ",
    ),
    "no subject": (lambda value: value.update(subject=[]), "subject: expected one"),
}


@pytest.mark.parametrize("name", STATEMENTS)
def test_a_statement_that_says_something_else(own_bundle: Path, keys: tuple[Path, Path], name: str) -> None:
    """Genuinely signed, but not what this runtime can hold a bundle against."""
    change, words = STATEMENTS[name]
    statement = statement_of(own_bundle)
    change(statement)
    write_signature(own_bundle, keys[0], statement)
    with pytest.raises(UserError, match=words):
        Bundle.read(own_bundle, require_signature=keys[1])


def test_a_file_less_with_its_root_mended(own_bundle: Path, keys: tuple[Path, Path]) -> None:
    write_signature(own_bundle, keys[0], statement_of(own_bundle, leave_out="graphs/step.onnx"))
    with pytest.raises(UserError, match=r"of another bundle: 1 files differ.*'graphs/step\.onnx'"):
        Bundle.read(own_bundle, require_signature=keys[1])


ENVELOPES: dict[str, tuple[Change, str]] = {
    "another media type": (lambda value: value.update(mediaType="x"), "mediaType: expected"),
    "another payload type": (
        lambda value: value["dsseEnvelope"].update(payloadType="text/plain"),
        "payloadType: expected",
    ),
    "no signature": (lambda value: value["dsseEnvelope"].update(signatures=[]), "one signature"),
    "signature that is no base64": (
        lambda value: value["dsseEnvelope"]["signatures"][0].update(sig="!!"),
        "expected base64",
    ),
    "empty signature": (
        lambda value: value["dsseEnvelope"]["signatures"][0].update(sig=base64.b64encode(b"\0").decode()),
        "does not belong to the key",
    ),
    "changed payload": (
        lambda value: value["dsseEnvelope"].update(payload=base64.b64encode(b"{}").decode()),
        "does not belong to the key",
    ),
    "no envelope": (lambda value: value.pop("dsseEnvelope"), "dsseEnvelope"),
}


@pytest.mark.parametrize("name", ENVELOPES)
def test_an_envelope_that_was_changed(signed: Path, keys: tuple[Path, Path], name: str) -> None:
    change, words = ENVELOPES[name]
    value = json.loads((signed / "model.sig").read_text())
    change(value)
    (signed / "model.sig").write_text(json.dumps(value))
    with pytest.raises(UserError, match=words):
        Bundle.read(signed, require_signature=keys[1])


def test_a_signature_that_is_a_link(signed: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    (signed / "model.sig").rename(tmp_path / "elsewhere")
    (signed / "model.sig").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="symbolic link"):
        Bundle.read(signed, require_signature=keys[1])


def test_keys_that_are_none(signed: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ed25519

    other = ed25519.Ed25519PrivateKey.generate().public_key()
    kind = serialization.PublicFormat.SubjectPublicKeyInfo
    files = {
        "no key": (b"hello", "expected a public key in PEM format"),
        "another kind": (other.public_bytes(serialization.Encoding.PEM, kind), "another kind"),
        "the private key": (keys[0].read_bytes(), "found a private one"),
    }
    for data, words in files.values():
        (tmp_path / "key").write_bytes(data)
        with pytest.raises(UserError, match=words):
            Bundle.read(signed, require_signature=tmp_path / "key")
    with pytest.raises(UserError, match="no public key there"):
        Bundle.read(signed, require_signature=tmp_path / "nowhere")


def test_without_the_package_the_error_says_what_to_install(
    signed: Path, keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(UserError, match=re.escape(install("verify"))):
        Bundle.read(signed, require_signature=keys[1])
    Bundle.read(signed)


def test_a_signature_travels_and_is_checked_before_anything_is_written(
    signed: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    _, other = write_keys(tmp_path, "other")
    packed = pack_bundle(signed, tmp_path / "b.zip")
    assert packed.signed
    with pytest.raises(UserError, match="does not belong to the key"):
        unpack_bundle(packed.path, tmp_path / "out", require_signature=other)
    assert not (tmp_path / "out").exists()
    unpack_bundle(packed.path, tmp_path / "out", require_signature=keys[1])
    Bundle.read(tmp_path / "out", require_signature=keys[1])
    (signed / "model.sig").unlink()
    unsigned = pack_bundle(signed, tmp_path / "c.zip")
    with pytest.raises(UserError, match="asked for and there is none"):
        unpack_bundle(unsigned.path, tmp_path / "out2", require_signature=keys[1])

"""Keys and signatures as the formats' specifications have them, without the tool that signs for users."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

from seas_runtime.bundle.reading import hash_files


def write_keys(folder: Path, name: str, curve: str = "SECP256R1") -> tuple[Path, Path]:
    """Write a new private and public key as PEM files; return both."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(getattr(ec, curve)())
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    pem = serialization.Encoding.PEM
    private.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    public.write_bytes(key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo))
    return private, public


def statement_of(bundle: Path, leave_out: str = "") -> dict[str, Any]:
    """The in-toto statement of a bundle's files."""
    digests = {name: entry.sha256 for name, entry in hash_files(bundle).items() if name != leave_out}
    digests["manifest.json"] = hashlib.sha256((bundle / "manifest.json").read_bytes()).hexdigest()
    resources = [
        {"name": name, "algorithm": "sha256", "digest": digest} for name, digest in sorted(digests.items())
    ]
    root = hashlib.sha256(b"".join(bytes.fromhex(entry["digest"]) for entry in resources)).hexdigest()
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "bundle", "digest": {"sha256": root}}],
        "predicateType": "https://model_signing/signature/v1.0",
        "predicate": {"serialization": {"method": "files", "hash_type": "sha256"}, "resources": resources},
    }


def write_signature(bundle: Path, private: Path, statement: dict[str, Any]) -> None:
    """Sign a statement as DSSE says and write it as a Sigstore bundle."""
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = serialization.load_pem_private_key(private.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    algorithm = {256: hashes.SHA256(), 384: hashes.SHA384(), 521: hashes.SHA512()}[key.curve.key_size]
    payload = json.dumps(statement).encode()
    kind = "application/vnd.in-toto+json"
    signed = b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)
    envelope = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": kind,
        "signatures": [{"sig": base64.b64encode(key.sign(signed, ec.ECDSA(algorithm))).decode()}],
    }
    value = {
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {"publicKey": {"hint": ""}, "tlogEntries": []},
        "dsseEnvelope": envelope,
    }
    (bundle / "model.sig").write_text(json.dumps(value))

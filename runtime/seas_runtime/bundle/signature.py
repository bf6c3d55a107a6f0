"""Checks a bundle's OpenSSF model signature with a public key, offline and without the tool that made it.

The signature is `model.sig` inside the bundle: a Sigstore bundle around a DSSE envelope around an in-toto
statement that lists the SHA-256 of the manifest and of every file of it, and of engines that are shipped.
What lies below engines/ otherwise is not signed. All that is needed here is the `cryptography` package;
`model_signing` reads and checks the same file.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seas_runtime.errors import UserError
from seas_runtime.files import parse_json, read_bytes
from seas_runtime.installing import install
from seas_runtime.manifest.fields import Fields, describe
from seas_runtime.manifest.types import Manifest

SIGNATURE_NAME = "model.sig"
"""As the OpenSSF tool calls it, which then leaves it out of what it hashes."""
SIGNATURE_SIZE_LIMIT = 4 * 1024 * 1024
ENGINES = "engines/"
"""What names of engines' files begin with."""
_KEY_SIZE_LIMIT = 64 * 1024
_MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_PAYLOAD_TYPE = "application/vnd.in-toto+json"
_STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
_PREDICATE_TYPE = "https://model_signing/signature/v1.0"
_SIGN_AGAIN = "sign the bundle again: seas-export sign BUNDLE --key KEY.pem"


def check_signature_file(
    path: Path, manifest: Manifest, fingerprint: str, public_key: Path
) -> dict[str, str]:
    """Check the signature of the bundle in folder `path` against the public key in a PEM file.

    `fingerprint` is the SHA-256 of the manifest's file. Says nothing about the files themselves: their
    hashes are the manifest's, which is signed. Returns the hashes of files of engines that are signed too.
    Raises UserError naming the file and what is wrong.
    """
    file = path / SIGNATURE_NAME
    if file.is_symlink():
        raise UserError(f"{file}: expected a file, found a symbolic link; copy the bundle with its files")
    if not file.exists():
        raise UserError(
            f"{file}: a signature was asked for and there is none; {_SIGN_AGAIN}, or take a signed copy"
        )
    return check_signature(
        read_bytes(file, "signature", SIGNATURE_SIZE_LIMIT), str(file), manifest, fingerprint, public_key
    )


def check_signature(
    data: bytes, where: str, manifest: Manifest, fingerprint: str, public_key: Path
) -> dict[str, str]:
    """As `check_signature_file`, of a signature's bytes; `where` starts every error."""
    payload = _signed_payload(data, where, public_key)
    found = _signed_digests(payload, where)
    engines = {name: digest for name, digest in found.items() if name.startswith(ENGINES)}
    signed = {name: digest for name, digest in found.items() if name not in engines}
    expected = {name: entry.sha256 for name, entry in manifest.files.items()}
    expected["manifest.json"] = fingerprint
    if signed == expected:
        return engines
    names = sorted(name for name in {*signed, *expected} if signed.get(name) != expected.get(name))
    raise UserError(
        f"{where}: the signature is genuine, but of another bundle: {len(names)} files differ from what was "
        f"signed, first {describe(names[0])}; take the bundle that was signed, or {_SIGN_AGAIN}"
    )


def _signed_payload(data: bytes, where: str, public_key: Path) -> bytes:
    """Return what the envelope holds once its signature has been found genuine."""
    fields = Fields(parse_json(data, where), where)
    fields.choice("mediaType", (_MEDIA_TYPE,))
    envelope = fields.fields("dsseEnvelope")
    envelope.choice("payloadType", (_PAYLOAD_TYPE,))
    payload = _base64(envelope, "payload")
    signatures = envelope.items("signatures")
    if len(signatures) != 1:
        envelope.fail("signatures", "one signature", signatures)
    signature = _base64(Fields(signatures[0], f"{where}.dsseEnvelope.signatures[0]"), "sig")
    # https://github.com/secure-systems-lab/dsse/blob/v1.0.0/protocol.md: what is signed carries its type
    signed = f"DSSEv1 {len(_PAYLOAD_TYPE)} {_PAYLOAD_TYPE} {len(payload)} ".encode() + payload
    _check_ecdsa(signature, signed, where, public_key)
    return payload


def _check_ecdsa(signature: bytes, signed: bytes, where: str, public_key: Path) -> None:
    pem = read_bytes(public_key, "public key", _KEY_SIZE_LIMIT)
    try:
        from cryptography import exceptions
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
    except ImportError as error:
        raise UserError(
            "checking a signature needs the package cryptography, which is not installed here. "
            f"Install it: {install('verify')}"
        ) from error
    algorithms: dict[str, hashes.HashAlgorithm] = {
        "secp256r1": hashes.SHA256(),
        "secp384r1": hashes.SHA384(),
        "secp521r1": hashes.SHA512(),
    }
    if b"PRIVATE KEY" in pem:
        raise UserError(
            f"{public_key}: expected a public key, found a private one; keep that off this machine"
        )
    try:
        key = serialization.load_pem_public_key(pem)
    except (ValueError, TypeError, exceptions.UnsupportedAlgorithm) as error:
        raise UserError(f"{public_key}: expected a public key in PEM format, found: {error}") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in algorithms:
        raise UserError(
            f"{public_key}: expected an elliptic-curve key on P-256, P-384 or P-521, found another kind"
        )
    try:
        key.verify(signature, signed, ec.ECDSA(algorithms[key.curve.name]))
    except exceptions.InvalidSignature:
        raise UserError(
            f"{where}: the signature does not belong to the key {public_key}: expected what its private half "
            "signed; the bundle was signed by somebody else, or was changed. Find out before you use it"
        ) from None


def _signed_digests(payload: bytes, where: str) -> dict[str, str]:
    """Return the SHA-256 of every file that the statement lists."""
    statement = Fields(parse_json(payload, f"{where}: signed statement"), f"{where}: signed statement")
    statement.choice("_type", (_STATEMENT_TYPE,))
    statement.choice("predicateType", (_PREDICATE_TYPE,))
    predicate = statement.fields("predicate")
    predicate.fields("serialization").choice("method", ("files",))
    digests: dict[str, str] = {}
    for index, value in enumerate(predicate.items("resources")):
        entry = Fields(value, f"{predicate.where}.resources[{index}]")
        entry.choice("algorithm", ("sha256",))
        name = entry.text("name")
        if name in digests:
            entry.fail("name", "names that differ", name)
        digests[name] = entry.text("digest")
    _check_root(statement, digests)
    return digests


def _check_root(statement: Fields, digests: Mapping[str, str]) -> None:
    """Check the digest over all digests, by which other documents may name the bundle."""
    subjects = statement.items("subject")
    found: Any = subjects[0] if len(subjects) == 1 else None
    digest = found.get("digest") if isinstance(found, dict) else None
    try:
        root = hashlib.sha256(b"".join(bytes.fromhex(value) for value in digests.values())).hexdigest()
    except ValueError:
        statement.fail("predicate.resources", "hexadecimal digests", list(digests.values())[:3])
    if not isinstance(digest, dict) or digest.get("sha256") != root:
        statement.fail("subject", f"one subject with the digest of all files, {root}", subjects)


def _base64(fields: Fields, key: str) -> bytes:
    value = fields.text(key)
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        fields.fail(key, "base64", value)

"""Signs a bundle with OpenSSF model signing and a key of one's own: no network, no account.

The runtime checks the signature with `seas_runtime.bundle.signature`; so does
`python -m model_signing verify key --signature BUNDLE/model.sig --public_key KEY.pub BUNDLE`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from seas_runtime.bundle.reading import ENGINES_FOLDER, Bundle, find_clutter
from seas_runtime.bundle.signature import SIGNATURE_NAME
from seas_runtime.engines.engine import ENGINE_NAME, Engine
from seas_runtime.engines.record import INDEX_NAME, WEIGHTS_NAME
from seas_runtime.engines.store import EngineStore
from seas_runtime.errors import UserError
from seas_runtime.files import os_errors, read_bytes, read_json, temporary_sibling
from seas_runtime.installing import install
from seas_runtime.outputs.checking import check_file


@dataclass(frozen=True)
class Signed:
    """A signature's file, the fingerprint of the bundle that it is of, and how many files it covers.

    `engines` are those that it covers too: shipped ones.
    """

    signature: Path
    fingerprint: str
    files: int
    engines: int = 0


def sign_bundle(bundle: Path, key: Path, password: Path | None = None, force: bool = False) -> Signed:
    """Sign the bundle in folder `bundle` with the elliptic-curve private key in a PEM file.

    `password` is a file whose first line opens an encrypted key. The bundle's hashes are checked first. Of
    its engines those are signed with it that were built to be shipped; the cache is left out.

    Raises UserError for a bundle that is not whole, one that is signed already
    (without `force`), a key that cannot be used, or where the tool is not installed.
    """
    content = Bundle.read(bundle)
    file = bundle / SIGNATURE_NAME
    check_file(file, "a signature", _is_signature, force=True)
    if file.exists() and not force:
        raise UserError(f"{file}: the bundle is signed already; sign it anew with --force")
    read_bytes(key, "private key", 64 * 1024)
    try:
        from model_signing import hashing, signing
    except ImportError as error:
        raise UserError(
            f"signing needs the package model-signing, which is not whole here ({error}). "
            f"Install it: {install('sign')}"
        ) from error
    shipped, others = _engines(content)
    ignored = [Path(SIGNATURE_NAME), *others, *map(Path, find_clutter(bundle))]
    temporary = temporary_sibling(file)
    with os_errors(file):
        try:
            config = signing.Config().set_hashing_config(
                hashing.Config().set_ignored_paths(
                    paths=[*ignored, temporary.relative_to(bundle)], ignore_git_paths=False
                )
            )
            try:
                config.use_elliptic_key_signer(private_key=key, password=_password(password))
            except (ValueError, TypeError, AttributeError) as error:
                raise UserError(
                    f"{key}: expected an elliptic-curve private key (P-256, P-384 or P-521) in PEM format, "
                    f"found: {error}; --password-file opens an encrypted one"
                ) from None
            config.sign(bundle, temporary)
            temporary.replace(file)
        finally:
            temporary.unlink(missing_ok=True)
    return Signed(file, content.fingerprint, len(content.manifest.files) + 1, len(shipped))


def _engines(bundle: Bundle) -> tuple[list[Engine], list[Path]]:
    """Return the engines to sign, compared with their hashes, and all else that lies beside them."""
    store = EngineStore.of(bundle)
    shipped = [engine for engine in store.engines()[0] if engine.record.shipped]
    for engine in shipped:
        store.verify(engine)
    if not shipped:
        return [], [Path(ENGINES_FOLDER)]
    signed = {
        engine.folder / name
        for engine in shipped
        for name in (ENGINE_NAME, INDEX_NAME, WEIGHTS_NAME)
        if name != WEIGHTS_NAME or name in engine.record.companions
    }
    keep = {engine.folder for engine in shipped}
    others = [path for path in store.folder.iterdir() if path not in keep]
    others += [path for folder in keep for path in folder.iterdir() if path not in signed]
    return shipped, [path.relative_to(bundle.path) for path in others]


def _is_signature(file: Path) -> bool:
    """Whether a file is one that signing wrote."""
    try:
        found = read_json(file, "signature")
    except UserError:
        return False
    return isinstance(found, dict) and "verificationMaterial" in found


def _password(file: Path | None) -> bytes | None:
    """The first line of a file, as the key's reader wants it."""
    if file is None:
        return None
    with os_errors(file, "read"), file.open("rb") as opened:  # a pipe too: the shell's <(...)
        lines = opened.read(4096).splitlines()
    if not lines or not lines[0]:
        raise UserError(f"{file}: expected the key's password in the first line, found nothing")
    return lines[0]

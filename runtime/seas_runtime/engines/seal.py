"""Seals of engines that were built here: an HMAC under a key that never leaves this user's account.

An engine is a program, and its index, with hash and origin, lies beside it: who can replace one can replace
both. The seal says that this machine and user wrote the index.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import logging
import os
import secrets
import sys
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from seas_runtime.engines.engine import machine_identity
from seas_runtime.errors import UserError
from seas_runtime.files import TEMPORARY_SUFFIX
from seas_runtime.regular import open_regular

_KEY_NAME, _KEY_BYTES = "engine-seal.key", 32
logger = logging.getLogger(__name__)


def key_file() -> Path:
    """Return where this user's key lies."""
    if sys.platform == "win32":
        folder = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    else:
        folder = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return folder / "seas-export" / _KEY_NAME


def seals() -> bool:
    """Whether engines can be sealed here: there is a key, or one can be kept."""
    return _key() is not None


def seal_of(index: Mapping[str, Any]) -> str:
    """Return the seal of an engine's index, whose own does not count; nothing where no key can be kept."""
    key = _key()
    return "" if key is None else _hmac(key, index)


def is_sealed(index: Mapping[str, Any]) -> bool:
    """Whether an index carries the seal that this machine and user would give it."""
    seal, key = index.get("seal"), _key()
    return key is not None and isinstance(seal, str) and hmac.compare_digest(seal, _hmac(key, index))


def _hmac(key: bytes, index: Mapping[str, Any]) -> str:
    values = {name: value for name, value in index.items() if name != "seal"}
    text = json.dumps([machine_identity(), values], sort_keys=True, ensure_ascii=True)
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def _key() -> bytes | None:
    """Return the key, made where there is none yet; None where it cannot be kept to oneself."""
    try:
        return _read_or_make(key_file())
    except (OSError, RuntimeError, UserError) as error:  # RuntimeError: a user without a home
        logger.debug("engines are not sealed: %s", error)
        return None


@lru_cache(maxsize=4)
def _read_or_make(file: Path) -> bytes:
    if not file.exists() and not file.is_symlink():
        _make(file)
    with open_regular(file, follow=False) as opened:
        found, key = os.fstat(opened.fileno()), opened.read(_KEY_BYTES + 1)
    if os.name == "posix" and (found.st_mode & 0o077 or found.st_uid != os.geteuid()):
        logger.warning("%s: others can read it: engines are not sealed. Remove it; it is made again", file)
        raise UserError(f"{file}: expected a file of this user's alone (mode 600)")
    if len(key) != _KEY_BYTES:
        raise UserError(f"{file}: expected a key of {_KEY_BYTES} bytes, found {len(key)}; remove it")
    return key


def _make(file: Path) -> None:
    """Write a new key so that of several processes one wins, and no half of it is ever read."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = file.with_name(f".{file.name}.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as opened:
            opened.write(secrets.token_bytes(_KEY_BYTES))
            opened.flush()
            os.fsync(opened.fileno())
        try:
            os.link(temporary, file)  # fails where another process was first
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            if not file.exists():
                temporary.replace(file)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()

"""Who may ask: tokens with a role, of which only hashes are kept.

A token is 256 random bits, so a plain SHA-256 keeps it: there is nothing to guess that a slow hash would
protect. Tokens lie in a file of their own, which `serve token` changes while the service runs.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import re
import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

from seas_runtime.errors import UserError
from seas_runtime.files import locked, os_errors, read_json, write_json

SCHEMA = 1
_PREFIX = "seas_"
_WAIT = 5.0  # seconds for another process that changes the file
_LINK_LASTS = 24 * 3600.0
_NAME = re.compile(r"[\w .@-]{1,64}")


class Role(IntEnum):
    """What a token's owner may do; each may what those before it may."""

    VIEWER = 1
    OPERATOR = 2
    ADMIN = 3

    @property
    def word(self) -> str:
        """Its name in small letters."""
        return self.name.lower()


def find_role(word: str) -> Role:
    """Return the role of a name; UserError where there is none."""
    try:
        return Role[word.strip().upper()]
    except KeyError:
        raise UserError(f"--role: expected viewer, operator or admin, found {word!r}") from None


@dataclass(frozen=True)
class Token:
    """What is kept of a token."""

    id: str
    name: str
    role: str
    sha256: str
    created: float
    expires: float | None = None
    once: bool = False
    """Whether it is a link's: good for one sign-in, which gives a lasting one."""

    @property
    def rank(self) -> Role:
        """Its role."""
        return Role[self.role.upper()]

    def shown(self) -> dict[str, Any]:
        """Return all but the hash."""
        return {key: value for key, value in asdict(self).items() if key != "sha256"}


class Tokens:
    """The tokens in a folder's `tokens.json`; safe for several threads and processes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.file = folder / "tokens.json"
        self._lock = threading.Lock()
        self._seen: tuple[int, int, int] | None = None
        self._held: tuple[Token, ...] = ()

    def all(self) -> tuple[Token, ...]:
        """Return all tokens; UserError for a file that is none of ours: nobody is let in then."""
        with self._lock:
            seen = self._stamp()
            if seen != self._seen:
                self._held, self._seen = self._read(), seen
            return self._held

    def find(self, text: str) -> Token | None:
        """Return the token of this text, None where there is none or its time is over.

        Every hash is compared, each in constant time.
        """
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        found = None
        for token in self.all():
            if hmac.compare_digest(token.sha256, digest):
                found = token
        if found is not None and found.expires is not None and found.expires < time.time():
            return None
        return found

    def make(
        self, name: str, role: Role, lasts: float | None = None, once: bool = False
    ) -> tuple[str, Token]:
        """Make a token that lasts so many seconds; return its text, which is kept nowhere, and the rest."""
        if not _NAME.fullmatch(name):
            raise UserError("--name: expected 1 to 64 letters, digits, spaces and . @ - _")
        text = _PREFIX + secrets.token_urlsafe(32)
        expires = None if lasts is None else time.time() + lasts
        digest = hashlib.sha256(text.encode()).hexdigest()
        token = Token(secrets.token_hex(4), name, role.word, digest, round(time.time(), 3), expires, once)
        with self._changing() as tokens:
            tokens.append(token)
        return text, token

    def make_link(self) -> str:
        """Make the code of a one-time link for an administrator; older ones end."""
        with self._changing() as tokens:
            tokens[:] = [token for token in tokens if not token.once]
        return self.make("first start", Role.ADMIN, _LINK_LASTS, once=True)[0]

    def redeem(self, text: str) -> tuple[str, Token] | None:
        """Return what a sign-in with this text gives: itself, or a lasting token for a link's; once."""
        found = self.find(text)
        if found is None or not found.once:
            return None if found is None else (text, found)
        if not self.revoke(found.id):
            return None  # another one was quicker
        return self.make("administrator", found.rank)

    def revoke(self, id: str) -> bool:
        """Remove a token; return whether it was there."""
        with self._changing() as tokens:
            kept = [token for token in tokens if token.id != id]
            there = len(kept) < len(tokens)
            tokens[:] = kept
        return there

    @contextlib.contextmanager
    def _changing(self) -> Iterator[list[Token]]:
        """Let the block change the list, and write it; one thread of one process at a time."""
        with os_errors(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        deadline = time.monotonic() + _WAIT
        while True:
            with contextlib.ExitStack() as stack:
                try:
                    stack.enter_context(locked(self._folder, "taken"))
                except UserError:
                    if time.monotonic() > deadline:
                        raise UserError(f"{self._folder}: another process is changing tokens") from None
                    time.sleep(0.05)
                    continue
                tokens = list(self._read())
                before = list(tokens)
                yield tokens
                if tokens != before:
                    write_json(self.file, {"schema": SCHEMA, "tokens": [asdict(token) for token in tokens]})
                    self.file.chmod(0o600)
                return

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            found = self.file.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _read(self) -> tuple[Token, ...]:
        if not self.file.exists():
            return ()
        try:
            value = read_json(self.file, "list of tokens")
            if value["schema"] != SCHEMA:
                raise ValueError
            tokens = tuple(Token(**item) for item in value["tokens"])
            if not all(isinstance(token.sha256, str) and token.rank for token in tokens):
                raise ValueError
        except (UserError, KeyError, TypeError, ValueError, AttributeError):
            raise UserError(
                f"{self.file}: expected the list of tokens that `serve token` writes, found something else. "
                "Nobody is let in until it is put back, or removed: then make new tokens by "
                "`seas-export serve token`"
            ) from None
        return tokens

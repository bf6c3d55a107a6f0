"""Where shards lie: any file system that fsspec knows, by its URL."""

from __future__ import annotations

import contextlib
import logging
import random
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from seas_runtime.errors import CheckFailed, UserError
from seas_runtime.files import TEMPORARY_SUFFIX, is_temporary, os_errors
from seas_runtime.installing import install

logger = logging.getLogger(__name__)
R = TypeVar("R")

PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Seconds between tries at what a store refused, up to half more by chance: throttling, a lost connection."""
RENAMED = ("file", "local", "memory", "sftp", "ssh", "smb", "hdfs")
"""File systems that show a file while it is written: there it gets its name when it is whole. Object stores
(s3, gs, abfs) show whole objects alone."""
_CREDENTIALS = (
    "NoCredentialsError",  # s3
    "PartialCredentialsError",
    "CredentialRetrievalError",
    "TokenRetrievalError",
    "DefaultCredentialsError",  # gs
    "ClientAuthenticationError",  # az
    "PermissionDenied",  # sftp
    "PermissionError",
    "HostKeyNotVerifiable",
)


def is_url(text: str) -> bool:
    """Whether `--out` names a store rather than a folder."""
    return "://" in text


class Store:
    """A prefix of a store. Names are relative to it, with `/`.

    What is written appears whole under its name or not at all. Raises UserError where the store cannot be
    reached or does not let us in, CheckFailed where it goes on refusing.
    """

    def __init__(self, url: str) -> None:
        """Find the file system; nothing of it is asked yet."""
        self.url = url.rstrip("/")
        try:
            import fsspec
        except ImportError:
            raise UserError(
                f"--out {url}: URLs need fsspec, which is not installed: {install('remote')}"
            ) from None
        try:
            self._files, self._root = fsspec.core.url_to_fs(self.url, **_options(self.url))
        except ValueError as error:
            raise UserError(f"--out {url}: {error}; expected file, s3, gs, az or sftp before ://") from None
        except ImportError as error:
            raise UserError(f"--out {url}: {error}; s3 and sftp come with {install('remote')}") from None
        except Exception as error:  # sftp connects at once
            raise self._failure("reach", error) from error
        protocol = self._files.protocol
        names = (protocol,) if isinstance(protocol, str) else protocol
        self._renames = bool(set(names) & set(RENAMED))

    def names(self, folder: str) -> dict[str, int]:
        """Return the files in a folder of the prefix and their sizes in bytes, but for half-written ones."""

        def listed() -> dict[str, int]:
            self._files.invalidate_cache()
            try:
                found = self._files.find(f"{self._root}/{folder}", detail=True)
            except FileNotFoundError:
                return {}
            start = f"{self._root}/{folder}".rstrip("/") + "/"
            files = {name.removeprefix(start): entry["size"] for name, entry in found.items()}
            return {name: size for name, size in files.items() if not is_temporary(name.rpartition("/")[2])}

        return self._tried("list", listed)

    def exists(self, name: str) -> bool:
        """Whether there is a file of that name."""
        return bool(self._tried("look at", lambda: self._files.exists(f"{self._root}/{name}")))

    def get(self, name: str) -> bytes:
        """Return a file's bytes."""
        data: bytes = self._tried("read", lambda: self._files.cat_file(f"{self._root}/{name}"))
        return data

    def fetch(self, name: str, to: Path) -> None:
        """Copy a file to a path here."""

        def get() -> None:
            with os_errors(to):
                self._files.get_file(f"{self._root}/{name}", str(to))

        self._tried("read", get)

    def put(self, name: str, data: bytes) -> None:
        """Write a file; one that is there under the name is replaced."""
        self._write(name, lambda path: self._files.pipe_file(path, data))

    def send(self, name: str, file: Path) -> None:
        """Write a file with the bytes of one that lies here."""
        self._write(name, lambda path: self._files.put_file(str(file), path))

    def _write(self, name: str, write: Callable[[str], Any]) -> None:
        path = f"{self._root}/{name}"
        folder, _, last = path.rpartition("/")

        def whole() -> None:
            if not self._renames:
                write(path)
                return
            self._files.makedirs(folder, exist_ok=True)
            hidden = f"{folder}/.{last}.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}"
            try:
                write(hidden)
                self._files.mv(hidden, path)
            except BaseException:
                with contextlib.suppress(Exception):
                    self._files.rm_file(hidden)
                raise

        self._tried(f"write {name} to", whole)

    def _tried(self, action: str, ask: Callable[[], R]) -> R:
        for pause in (*PAUSES, None):
            try:
                return ask()
            except (UserError, FileNotFoundError, NotImplementedError) as error:
                raise self._failure(action, error) from error
            except Exception as error:  # each library has errors of its own
                if pause is None or _lacks_credentials(error):
                    raise self._failure(action, error) from error
                logger.info("%s: %s; tried again in %g s", self.url, _first_line(error), pause)
                time.sleep(pause * random.uniform(1, 1.5))
        raise AssertionError  # the last try returns or raises

    def _failure(self, action: str, error: Exception) -> Exception:
        if isinstance(error, UserError):
            return error
        said = _first_line(error)
        if _lacks_credentials(error):
            return UserError(
                f"{self.url}: the store does not let us in ({said}); give credentials the way its library "
                "takes them: the environment or files of the AWS, Google or Azure tools; by SSH a key, and "
                "the host in ~/.ssh/known_hosts"
            )
        if isinstance(error, FileNotFoundError):
            return UserError(f"{self.url}: cannot {action} it: not there ({said}); make the bucket or folder")
        return CheckFailed(f"{self.url}: cannot {action} it: {said}; run the command again to continue")


def _options(url: str) -> dict[str, Any]:
    """Return how a file system is opened: without a cache of lists; by SSH, only to hosts that are known."""
    if url.partition("://")[0] not in ("sftp", "ssh"):
        return {"use_listings_cache": False}
    return {"known_hosts": str(Path("~/.ssh/known_hosts").expanduser())}


def _lacks_credentials(error: BaseException) -> bool:
    return any(kind.__name__ in _CREDENTIALS for kind in type(error).__mro__)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__

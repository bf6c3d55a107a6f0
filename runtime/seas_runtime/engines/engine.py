"""An engine in its folder: its content, which machine made it, and the command that builds it again."""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from seas_runtime.engines.errors import EngineDamaged
from seas_runtime.engines.record import EngineIdentity, EngineRecord
from seas_runtime.files import os_errors
from seas_runtime.regular import open_regular

ENGINE_NAME = "engine.bin"
SEALED, SIGNED = "sealed", "signed"
"""Built here and sealed by this machine's key; covered by the bundle's signature."""
_BLOCK = 1 << 24
_MACHINE_ID = Path("/etc/machine-id")


@dataclass(frozen=True)
class Engine:
    """An engine in its folder, with the record of it. `open` gives its content."""

    folder: Path
    record: EngineRecord
    trust: str = ""
    """Why it is known to be what it says: `SEALED` or `SIGNED`; nothing where it only says so."""

    @property
    def identity(self) -> EngineIdentity:
        """What it is of and for."""
        return self.record.identity

    @property
    def file(self) -> Path:
        """Where its content lies."""
        return self.folder / ENGINE_NAME

    @contextlib.contextmanager
    def open(self) -> Iterator[memoryview]:
        """Yield the engine's content, mapped from its file, after comparing size and hash.

        Deserialize from this buffer, which was hashed, and never from the file by its name. Copy what must
        outlive the block. Raises EngineDamaged.
        """
        with os_errors(self.file, "read"), open_regular(self.file, follow=False) as file:
            size = file.seek(0, 2)
            if size != self.record.file.size or not size:
                raise self.damaged(f"{size} bytes")
            with mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) as mapped:
                view = memoryview(mapped)
                try:
                    digest = hashlib.sha256()
                    for start in range(0, size, _BLOCK):
                        digest.update(view[start : start + _BLOCK])
                    if digest.hexdigest() != self.record.file.sha256:
                        raise self.damaged(digest.hexdigest())
                    yield view
                finally:
                    view.release()

    def damaged(self, found: str, name: str = ENGINE_NAME) -> EngineDamaged:
        """Return the error for a content, or that of a companion, that is not what was recorded."""
        identity = self.identity
        entry = self.record.companions[name] if name != ENGINE_NAME else self.record.file
        bundle = self.folder.parent.parent
        command = build_command(bundle, identity.target, identity.devices[0], None, rebuild=True)
        return EngineDamaged(
            f"{self.folder / name}: expected sha256 {entry.sha256} ({entry.size} bytes), found "
            f"{found}; it is not loaded. Build it again: {command}",
            command,
        )


def build_command(
    bundle: Path, target: str, device: str, batch: int | None, *, graph: str = "", rebuild: bool = False
) -> str:
    """Return the command that builds what is missing, as one would type it; `graph` is one built apart."""
    words = ["seas-export", "engine", str(bundle), "--target", target]
    if target == "rtx":
        words += ["--device", device]
    if batch is not None:
        words += ["--batch", str(batch)]
    if graph:
        words += ["--graph", graph]
    if rebuild:
        words.append("--force")
    return shlex.join(words)


def machine_identity() -> str:
    """Return a name for this machine that says nothing about it: a hash of the system's own identifier.

    `unknown` in a container that has none; engines of one such are taken by another.
    """
    with contextlib.suppress(OSError):
        text = _MACHINE_ID.read_text(encoding="ascii", errors="replace").strip()
        if text:
            return hashlib.sha256(f"seas-export engines {text}".encode()).hexdigest()[:16]
    return "unknown"

"""Which parts of a build are current: `build.json` records what each was made from and what came out."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from seas_export.pipeline.digests import content_digest, is_empty
from seas_export.pipeline.source import Source
from seas_runtime.errors import UserError
from seas_runtime.files import locked, read_json, write_json
from seas_runtime.outputs.checking import holds_ours, refuse_overlap
from seas_runtime.outputs.kinds import Kind, some
from seas_runtime.units import duration

BUILD_FILE = "build.json"
_ABSENT = object()
BUILD = Kind("a build", BUILD_FILE, (BUILD_FILE,))
SCHEMA = 1
HELD = "another build is at work in it"


class Before(str, Enum):
    """What a part finds when it is about to be made."""

    NOTHING = "nothing"
    """Nothing, or what other inputs or --force have made void: start from the beginning."""
    UNFINISHED = "unfinished"
    """The same inputs, begun and interrupted: continue."""
    DAMAGED = "damaged"
    """The same inputs, finished, but the output is no longer what was made."""
    GROWN = "grown"
    """Finished, and only how much of it is wanted has changed: continue."""
    RESTATED = "restated"
    """Finished, and no other inputs have changed than those that not all of its long work follows from."""


@dataclass(frozen=True)
class Entry:
    """One part of a build."""

    key: str
    """Hash of `inputs`."""
    inputs: dict[str, Any]
    path: str
    output: str | None = None
    """Hash of what was made, None while it is not finished."""
    seconds: float = 0.0

    @property
    def finished(self) -> bool:
        """Whether it was made to the end."""
        return self.output is not None


class Ledger:
    """The parts of one output folder. Every change is on disk before the next step begins."""

    def __init__(
        self, folder: Path, content: dict[str, Any], *, force: bool, say: Callable[[str], None]
    ) -> None:
        self.folder = folder
        self.content = content
        self._force = force
        self._say = say
        self._entries = {name: Entry(**entry) for name, entry in content.get("parts", {}).items()}

    @classmethod
    def open(cls, folder: Path, product: str, *, force: bool, say: Callable[[str], None]) -> Ledger:
        """Begin or continue a build in `folder`.

        Raises:
            UserError: the folder holds files that are not a build's, a build of another product, or a broken
                record.
        """
        file = folder / BUILD_FILE
        if not file.exists():
            holds_ours(folder, BUILD, "--out")
            return cls(folder, {"schema": SCHEMA, "product": product}, force=force, say=say)
        content = read_json(file, "build record")
        if not isinstance(content, dict) or content.get("schema") != SCHEMA:
            raise UserError(
                f"{file}: expected a build record of schema {SCHEMA}, found something else. "
                "Choose another --out, or remove this folder."
            )
        if content.get("product") != product:
            raise UserError(
                f"--out {folder}: expected a build of {product!r}, found one of {content.get('product')!r}. "
                "Choose another --out, or remove this folder."
            )
        try:
            return cls(folder, content, force=force, say=say)
        except (TypeError, AttributeError):
            raise UserError(
                f"{file}: its parts are not as build writes them. Remove the file to start over."
            ) from None

    def part(
        self,
        name: str,
        inputs: Mapping[str, Any],
        output: Path,
        make: Callable[[Before], object],
        digest: Callable[[Path], str] | None = None,
        restated: Collection[str] = (),
        grown: Collection[str] = (),
        again: bool = False,
    ) -> Entry:
        """Make a part unless it is current: made from these very inputs, and its output unchanged since.

        inputs: everything that decides the result, as JSON values. digest: of `output`; by default its
        contents'. restated: dotted names of the inputs that not all of its long work follows from. grown:
        dotted names of the inputs that say how much is wanted. again: make it though it is current.
        """
        digest = digest or content_digest
        given = _plain(inputs)
        key = _hash(given)
        old = self._entries.get(name)
        before, reason = self._compare(old, key, given, output, digest, restated, grown)
        if before is None and again:
            before, reason = Before.UNFINISHED, "continuing"
        if before is None and old is not None:
            self._say(f"{name}: current, kept ({output})")
            return old
        self._say(f"{name}: {reason}")
        entry = Entry(key, given, self._relative(output))
        spent = 0.0 if old is None or before is Before.NOTHING else old.seconds
        self._record(name, entry)
        begun = time.perf_counter()
        try:
            make(before or Before.NOTHING)
        except BaseException:
            self._record(name, Entry(key, given, entry.path, None, spent + time.perf_counter() - begun))
            raise
        seconds = spent + time.perf_counter() - begun
        entry = Entry(key, given, entry.path, digest(output), seconds)
        self._record(name, entry)
        self._say(f"{name}: done in {duration(seconds)} ({output})")
        return entry

    def continues(self, name: str, inputs: Mapping[str, Any], grown: Collection[str]) -> bool:
        """Whether what was made or begun of a part is of use: no other inputs than `grown` have changed."""
        old = self._entries.get(name)
        return old is not None and not self._force and set(changed(old.inputs, _plain(inputs))) <= set(grown)

    def begin(self, name: str, inputs: Mapping[str, Any], output: Path) -> None:
        """Record a part as begun: it is continued when it is made."""
        given = _plain(inputs)
        self._record(name, Entry(_hash(given), given, self._relative(output)))

    def forget(self, name: str) -> None:
        """Drop a part that a build no longer has; its files stay."""
        if self._entries.pop(name, None) is not None:
            self._write()

    def note(self, **values: Any) -> None:
        """Record facts of the build beside its parts."""
        self.content.update(_plain(values))
        self._write()

    @property
    def entries(self) -> dict[str, Entry]:
        """The parts so far, in the order in which they were first made."""
        return dict(self._entries)

    def _compare(
        self,
        old: Entry | None,
        key: str,
        inputs: Mapping[str, Any],
        output: Path,
        digest: Callable[[Path], str],
        restated: Collection[str],
        grown: Collection[str],
    ) -> tuple[Before | None, str]:
        """What a part finds, None where it is current, and that in words."""
        if old is None:
            return Before.NOTHING, "making"
        if self._force:
            return Before.NOTHING, "making again (--force)"
        if old.key != key:
            names = changed(old.inputs, inputs)
            words = f"making again, changed: {', '.join(names[:6])}"
            if old.finished and all(_stands_in(name, restated) for name in names):
                return Before.RESTATED, words
            if set(names) <= set(grown):
                return Before.GROWN, words.replace("making again", "continuing")
            return Before.NOTHING, words
        if not old.finished:
            return Before.UNFINISHED, "continuing where it was interrupted"
        try:
            found = digest(output)
        except (UserError, OSError):
            found = ""
        if found != old.output:
            return Before.DAMAGED, f"making again, {output} is not as it was made"
        return None, "current"

    def check_free(self, parts: Mapping[str, tuple[Path, ...]]) -> None:
        """Refuse, before any work, what lies where parts will be and no build of this folder made.

        Raises:
            UserError: names it.
        """
        taken = [
            path.name
            for name, paths in parts.items()
            for path in paths
            if name not in self._entries and os.path.lexists(path) and not is_empty(path)
        ]
        if taken:
            raise UserError(
                f"--out {self.folder}: holds {some(taken)}, which no build of this folder made. "
                "Move it away, or choose another --out"
            )

    def _record(self, name: str, entry: Entry) -> None:
        """Write one part down."""
        self._entries[name] = entry
        self._write()

    def _write(self) -> None:
        """Bring build.json up to date."""
        self.content["parts"] = {name: asdict(entry) for name, entry in self._entries.items()}
        write_json(self.folder / BUILD_FILE, self.content)

    def _relative(self, path: Path) -> str:
        """A path as build.json names it: the folder may be moved."""
        return path.relative_to(self.folder).as_posix() if path.is_relative_to(self.folder) else str(path)


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as JSON gives them back, so that new ones compare with recorded ones."""
    made: dict[str, Any] = json.loads(json.dumps(values, default=str))
    return made


def _hash(inputs: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def check_place(out: Path, source: Source, base: str) -> None:
    """Refuse a folder that is no build's, or that what is read lies in; before anything is made there."""
    photographs = None if source.sample else source.directory
    refuse_overlap(out, {"the photographs": photographs, "--base": Path(base).expanduser()}, "--out")
    holds_ours(out, BUILD, "--out")


def changed(old: Mapping[str, Any], new: Mapping[str, Any], at: str = "") -> list[str]:
    """The dotted names of values that differ."""
    names = []
    for key in sorted({*old, *new}):
        before, after = old.get(key, _ABSENT), new.get(key, _ABSENT)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            names += changed(before, after, f"{at}{key}.")
        elif before != after:
            names.append(f"{at}{key}")
    return names


def _stands_in(name: str, sections: Collection[str]) -> bool:
    """Whether a dotted name is of one of the sections, or of what stands in it."""
    return any(f"{name}.".startswith(f"{section}.") for section in sections)


@contextlib.contextmanager
def only_build(out: Path) -> Iterator[None]:
    """Make and hold an output folder, so that no second build writes into it; it is not left empty.

    Raises:
        UserError: another build holds it, or it cannot be made.
    """
    with locked(out, f"--out {out}: {HELD}. Wait for it, or choose another --out."):
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                out.rmdir()  # which an empty folder alone allows

"""Finds the photographs that files of labels name, and reads XML that anybody may have written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from xml.etree import ElementTree

from seas_train.data.layouts.found import entries, is_folder
from seas_train.data.names import is_image_name, match_key

_LIMIT = 1024 * 2**20  # bytes of a file
_HEAD = 64 * 1024  # bytes of a file that tell its format


class Photographs:
    """Every photograph below a folder, by its name, but for those in folders of the names in `without`."""

    def __init__(self, folder: Path, without: Sequence[str] = (), depth: int = 4) -> None:
        self.by_name: dict[str, list[Path]] = {}
        waiting = [(folder, depth)]
        while waiting:
            place, left = waiting.pop()
            for entry in entries(place):
                if is_folder(entry):
                    inside = left > 1 and match_key(entry.name) not in without
                    waiting += [(entry, left - 1)] if inside else []
                elif is_image_name(entry):
                    self.by_name.setdefault(match_key(entry.name), []).append(entry)
        self.by_stem: dict[str, list[Path]] = {}
        for same in self.by_name.values():
            for path in same:
                self.by_stem.setdefault(match_key(path.stem), []).append(path)

    def named(self, name: str, file: Path) -> Path | None:
        """Return the photograph that a file of labels calls `name`: a file's name, or a path to it."""
        return _nearest(name, file, self.by_name, lambda part: match_key(part))

    def of_stem(self, name: str, file: Path) -> Path | None:
        """Return the photograph of a name without its ending."""
        return _nearest(name, file, self.by_stem, lambda part: match_key(PurePosixPath(part).stem))


def _nearest(name: str, file: Path, photographs: Mapping[str, list[Path]], key: object) -> Path | None:
    parts = (PureWindowsPath(name) if "\\" in name else PurePosixPath(name)).parts
    candidates = photographs.get(key(parts[-1]), []) if parts else []  # type: ignore[operator]
    # The longest end of the path that fits first, then the file's own folder.
    near = sorted(candidates, key=lambda path: (-_common(path.parts, parts), path.parent != file.parent))
    return near[0] if near else None


def _common(ours: Sequence[str], theirs: Sequence[str]) -> int:
    """How many last parts of two paths agree."""
    count = 0
    for one, other in zip(reversed(ours), reversed(theirs), strict=False):
        if match_key(one) != match_key(other):
            break
        count += 1
    return count


def xml_files(folder: Path, tag: bytes, depth: int = 4) -> Iterator[Path]:
    """Yield the XML files below a folder in whose beginning an element `tag` opens."""
    inside = entries(folder)
    for entry in inside:
        if entry.suffix.lower() == ".xml" and not is_folder(entry):
            try:
                with entry.open("rb") as stream:
                    head = stream.read(_HEAD).replace(b"\0", b"")  # of UTF-16 too
            except OSError:
                continue
            if b"<" + tag + b">" in head or b"<" + tag + b" " in head:
                yield entry
    if depth > 1:
        for entry in inside:
            if is_folder(entry):
                yield from xml_files(entry, tag, depth - 1)


class _Builder(ElementTree.TreeBuilder):
    """Refuses a document type: with its entities a small file becomes an endless one."""

    def doctype(self, *_: object) -> None:
        raise ValueError("has a document type, which files of labels do not have")


def parse_xml(file: Path) -> ElementTree.Element:
    """Return the root of an XML file; ValueError or ElementTree.ParseError where it cannot be read."""
    if file.stat().st_size > _LIMIT:
        raise ValueError("larger than 1 GiB")
    return ElementTree.parse(file, ElementTree.XMLParser(target=_Builder())).getroot()

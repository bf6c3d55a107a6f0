"""What changed between two bundles, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from seas_runtime.bundle.placement.backgrounds import FOLDER as BACKGROUNDS
from seas_runtime.bundle.reading import Bundle
from seas_runtime.manifest.types import FileEntry, GraphSpec, Manifest
from seas_runtime.methods.table import find_method
from seas_runtime.placement.masks.shapes import TABLE as SHAPES
from seas_runtime.placement.masks.shapes import pack_shapes
from seas_runtime.printable import printable
from seas_runtime.units import size_words

_PLAIN = {  # fields of the manifest that are said as they are
    "method": "the method",
    "product": "the product",
    "unconditional": "the empty prompt",
    "schema": "the schema",
    "precision": "the precision",
    "opset": "the opset",
    "target": "the target",
}
_NESTED = {  # mappings and dataclasses that are said key by key
    "image": "image",
    "latent": "latent",
    "preprocessing": "preprocessing",
    "sampler": "sampler",
    "prompts": "prompt",
    "half": "half precision",
    "int8": "int8",
    "parity": "parity",
    "provenance": "provenance",
}


@dataclass(frozen=True)
class Difference:
    """One thing that changed: what, from what to what, and a sentence that says so."""

    what: str
    a: Any
    b: Any
    words: str


@dataclass(frozen=True)
class Comparison:
    """Two bundles' fingerprints and how they differ."""

    a: str
    b: str
    differences: tuple[Difference, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "a": self.a,
            "b": self.b,
            "same": self.a == self.b,
            "differences": [asdict(item) for item in self.differences],
        }

    def to_text(self) -> str:
        """A sentence a line."""
        if self.a == self.b:
            return f"The same bundle: every file is equal (fingerprint {self.a})."
        if not self.differences:
            return "The manifests are written differently and say the same."
        return "\n".join(printable(item.words) for item in self.differences)


def compare_bundles(a: Path, b: Path) -> Comparison:
    """Compare the bundles in two folders, from what each is for to what each file holds.

    Raises UserError for a bundle that is not whole: words about changed files would otherwise be wrong.
    """
    first, second = Bundle.read(a), Bundle.read(b)
    found = tuple(_differences(first, second)) if first.fingerprint != second.fingerprint else ()
    return Comparison(first.fingerprint, second.fingerprint, found)


def _differences(a: Bundle, b: Bundle) -> Iterator[Difference]:
    left, right = (
        {**item.to_dict(), "sampler": asdict(item.sampler), "generation": item.generation}
        for item in (a.manifest, b.manifest)
    )
    for key, words in _PLAIN.items():
        if left[key] != right[key]:
            yield _changed(key, words, left[key], right[key])
    one, other = (find_method(item.manifest.method).describe(item) for item in (a, b))
    for key in (name for name in one if name in other and one[name] != other[name]):
        yield _changed(key, f"the {one[key][1]}", one[key][0], other[key][0])
    yield from _names("defect", left["defects"], right["defects"])
    yield from _placement(a, b)
    for key, words in _NESTED.items():
        yield from _keys(key, words, left.get(key, {}), right.get(key, {}))
    yield from _graphs(a.manifest, b.manifest)
    yield from _tables(a, b)
    yield from _licences(left["licences"], right["licences"])


def _changed(what: str, words: str, a: Any, b: Any) -> Difference:
    return Difference(what, a, b, f"{words[:1].upper()}{words[1:]} changed from {_say(a)} to {_say(b)}.")


def _names(what: str, a: list[str], b: list[str]) -> Iterator[Difference]:
    for name in a:
        if name not in b:
            yield Difference(what, name, None, f"The {what} {name!r} is gone.")
    for name in b:
        if name not in a:
            yield Difference(what, None, name, f"The {what} {name!r} is new.")
    shared = [name for name in a if name in b]
    if shared != [name for name in b if name in a]:
        yield Difference(what, a, b, f"The {what}s stand in another order: {', '.join(b)}.")


def _keys(what: str, words: str, a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[Difference]:
    """Differences of two mappings, key by key, however deep."""
    for key in (*a, *(key for key in b if key not in a)):
        old, new = a.get(key), b.get(key)
        if old == new:
            continue
        place = f"{what}.{key}"
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from _keys(place, f"{words} {key}", old, new)
        elif key not in b:
            yield Difference(place, old, None, f"{_capital(words)} {key} is gone; it was {_say(old)}.")
        elif key not in a:
            yield Difference(place, None, new, f"{_capital(words)} {key} is new: {_say(new)}.")
        else:
            yield _changed(place, f"{words} {key}", old, new)


def _graphs(a: Manifest, b: Manifest) -> Iterator[Difference]:
    yield from _names("graph", list(a.graphs), list(b.graphs))
    for name, old in a.graphs.items():
        new = b.graphs.get(name)
        if new is None:
            continue
        for kind in ("inputs", "outputs"):
            before, after = _signature(old, kind), _signature(new, kind)
            yield from _keys(f"graphs.{name}.{kind}", f"graph {name}: {kind[:-1]}", before, after)
        one, other = a.files[old.file], b.files[new.file]
        if one != other:
            sizes = f"{size_words(one.size)} before, {size_words(other.size)} now"
            words = f"The graph {name} is another one: {sizes}."
            yield Difference(f"graphs.{name}", one.sha256, other.sha256, words)
    rest_a, rest_b = _others(a), _others(b)
    yield from _names("file", list(rest_a), list(rest_b))
    for name in rest_a:
        if name in rest_b and rest_a[name] != rest_b[name]:
            one, other = rest_a[name], rest_b[name]
            sizes = f"{size_words(one.size)} before, {size_words(other.size)} now"
            words = f"The weights in {name} changed: {sizes}."
            yield Difference(f"files.{name}", one.sha256, other.sha256, words)


def _others(manifest: Manifest) -> dict[str, FileEntry]:
    """The files that are no graph, table or photograph."""
    known = {graph.file for graph in manifest.graphs.values()} | set(manifest.tables.values())
    return {
        name: entry
        for name, entry in manifest.files.items()
        if name not in known and name.split("/")[0] != BACKGROUNDS
    }


def _placement(a: Bundle, b: Bundle) -> Iterator[Difference]:
    """Differences of what two bundles bring for placed pairs."""
    hashes = [[item.manifest.files[name].sha256 for name in item.backgrounds.names] for item in (a, b)]
    counts = [len(found) for found in hashes]
    if counts[0] != counts[1]:
        yield _changed("backgrounds", "the number of photographs to draw into", *counts)
    elif hashes[0] != hashes[1]:
        other = sum(one != two for one, two in zip(*hashes, strict=True))
        words = f"Of the photographs to draw into, {other} of {counts[0]} are others."
        yield Difference("backgrounds", hashes[0], hashes[1], words)
    one, two = ({name: pack_shapes({name: found}) for name, found in item.shapes.items()} for item in (a, b))
    for defect in sorted({*one, *two}):
        old, new = (len(item.shapes.get(defect, ())) for item in (a, b))
        if old != new:
            yield _changed(f"shapes.{defect}", f"the number of shapes of {defect!r}", old, new)
        elif any(not np.array_equal(one[defect][key], two[defect][key]) for key in one[defect]):
            yield Difference(f"shapes.{defect}", None, None, f"The shapes of {defect!r} are others.")


def _signature(graph: GraphSpec, kind: str) -> dict[str, str]:
    return {spec.name: f"{spec.dtype} {list(spec.shape)}" for spec in getattr(graph, kind)}


def _tables(a: Bundle, b: Bundle) -> Iterator[Difference]:
    yield from _names("table", list(a.tables), list(b.tables))
    for table in (name for name in a.tables if name in b.tables and name != SHAPES):
        before, after = a.tables[table], b.tables[table]
        for name in (key for key in before if key in after):
            old, new = before[name], after[name]
            place, words = f"{table}.{name}", f"the {table.removesuffix('s')} of {name!r}"
            if old.shape != new.shape or old.dtype != new.dtype:
                shapes = [f"{array.dtype} {list(array.shape)}" for array in (old, new)]
                yield _changed(place, words, *shapes)
            elif not np.array_equal(old, new):
                away = float(np.abs(old.astype(np.float64) - new.astype(np.float64)).max())
                yield Difference(place, None, away, f"{_capital(words)} changed, by {away:.3g} at most.")
    yield from _names("schedule", list(a.schedules), list(b.schedules))
    for name in (key for key in a.schedules if key in b.schedules):
        old_table, new_table = a.schedules[name].to_tensors(), b.schedules[name].to_tensors()
        if any(not np.array_equal(old_table[key], new_table[key]) for key in old_table):
            yield Difference(f"schedules.{name}", None, None, f"The schedule {name!r} has other numbers.")


def _licences(a: list[dict[str, Any]], b: list[dict[str, Any]]) -> Iterator[Difference]:
    names = [[f"{entry['name']} ({entry['applies_to']})" for entry in licences] for licences in (a, b)]
    yield from _names("licence", *names)
    if a != b and names[0] == names[1]:
        yield Difference("licences", None, None, "A licence's text changed.")


def _say(value: Any) -> str:
    text = f"{value:g}" if isinstance(value, float) else repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 120 else f"{text[:117]}..."


def _capital(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}"

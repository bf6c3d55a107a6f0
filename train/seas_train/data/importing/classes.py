"""Classes of labels, renamed or merged, and the defects that they become."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from seas_runtime.errors import UserError
from seas_runtime.manifest.fields import RESERVED_NAMES, is_safe_name
from seas_train.data.layouts.annotations.shapes import COMBINED, Mark
from seas_train.data.layouts.found import is_normal_word
from seas_train.data.names import match_key, safe_name, unique_names


@dataclass(frozen=True)
class ClassMap:
    """What classes are called instead, by how they are compared; empty for those that are not taken."""

    renamed: dict[str, str]

    def name(self, label: str) -> str:
        """Return what a label is called: a defect, a word for normal, or nothing."""
        return self.renamed.get(match_key(label), label)


def read_map(texts: Sequence[str], labels: Iterable[str]) -> ClassMap:
    """Return the map of `--map OLD=NEW` options; UserError for one that is none, or names no class."""
    known = {match_key(label): label for label in labels}
    renamed: dict[str, str] = {}
    for text in texts:
        old, equals, new = (part.strip() for part in text.partition("="))
        if not equals or not old:
            raise UserError(f"--map {text}: expected OLD=NEW, such as crack=fissure, or OLD= to leave it out")
        if match_key(old) not in known:
            there = ", ".join(sorted(known.values())) or "none"
            raise UserError(f"--map {text}: expected a class of the labels ({there}), found {old!r}")
        if renamed.setdefault(match_key(old), new) != new:
            raise UserError(f"--map {text}: expected one new name for {old!r}, found two")
    return ClassMap(renamed)


def defect_of(marks: Iterable[Mark], classes: ClassMap) -> tuple[str | None, list[Mark]]:
    """Return the defect that marks make, and those that are its own; None where nothing of them is taken.

    Marks of normal classes are none of a defect's; several defects make `combined`.
    """
    taken = [mark for mark in marks if (name := classes.name(mark.label)) and not is_normal_word(name)]
    names = {match_key(classes.name(mark.label)): classes.name(mark.label) for mark in taken}
    if not names:
        return None, []
    return (next(iter(names.values())) if len(names) == 1 else COMBINED), taken


def folder_names(defects: Iterable[str]) -> dict[str, str]:
    """Return a folder's name for each defect: its own spelling where every system can have such a folder."""
    return unique_names(
        defects, lambda name: name if is_safe_name(name) and name not in RESERVED_NAMES else safe_name(name)
    )

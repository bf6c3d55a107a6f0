"""Photographs of normals that a bundle carries, for defects to be drawn into: decoded when asked for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, overload

from seas_runtime.bundle.checked import CheckedFiles
from seas_runtime.errors import UserError
from seas_runtime.units import size_words

if TYPE_CHECKING:
    from seas_runtime.photographs.reading import Photograph

FOLDER = "backgrounds"
LIMIT = 256 << 20
"""Bytes of all of them; export writes 200 MB at most."""
MOST = 100
_NAME = re.compile(rf"{FOLDER}/[0-9]{{3}}\.png")


def background_name(index: int) -> str:
    """Return the file of a background, counted from 0, in a bundle."""
    return f"{FOLDER}/{index:03d}.png"


class Backgrounds(Sequence["Photograph"]):
    """A bundle's backgrounds by number.

    A UserError names the file that is not as it is listed, or is no PNG that can be read.
    """

    def __init__(self, checked: CheckedFiles) -> None:
        """Find them among a bundle's files; UserError for too many, too large ones, or something else."""
        self._checked = checked
        self.names = tuple(sorted(name for name in checked.entries if name.split("/")[0] == FOLDER))
        for name in self.names:
            if not _NAME.fullmatch(name):
                raise UserError(
                    f"{checked.folder / name}: expected {background_name(0)} and so on in that folder; "
                    "export the bundle again"
                )
        size = sum(checked.entries[name].size for name in self.names)
        if len(self.names) > MOST or size > LIMIT:
            raise UserError(
                f"{checked.folder / FOLDER}: expected at most {MOST} photographs of {size_words(LIMIT)} "
                f"together, found {len(self.names)} of {size_words(size)}; export the bundle again with "
                "fewer --backgrounds"
            )

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, index: int) -> Photograph: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Photograph]: ...
    def __getitem__(self, index: int | slice) -> Photograph | Sequence[Photograph]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        from seas_runtime.photographs.reading import decode_photograph

        name = self.names[index]
        data = self._checked.read(name, LIMIT)
        return decode_photograph(data, self._checked.folder / name, ("PNG",))

    def __iter__(self) -> Iterator[Photograph]:
        return (self[index] for index in range(len(self)))

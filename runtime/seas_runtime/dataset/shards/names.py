"""Which pairs a shard holds, as its name says, and which are missing."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from seas_runtime.errors import UserError

ABOUT_NAME = "shards.json"
SHARDS, RUNS = "shards", "runs"
TAR, FILES = "tar", "files"
KINDS = (TAR, FILES)
_ENDING = {TAR: ".tar", FILES: ".jsonl"}
_NAME = re.compile(r"(.+)-([0-9]{6,7})-([0-9]{6,7})-([0-9a-f]{16})(\.tar|\.jsonl)", re.DOTALL)


@dataclass(frozen=True, order=True)
class Range:
    """Pairs `start` to before `end` of a defect."""

    defect: str
    start: int
    end: int


@dataclass(frozen=True)
class Shard:
    """A shard that is there. Its name holds 16 digits of the SHA-256 of its content: the same name, the same
    pairs."""

    range: Range
    digest: str
    kind: str

    @property
    def name(self) -> str:
        """The name below `shards/`, of a tar or of a list of records."""
        held = self.range
        return f"{held.defect}-{held.start:06d}-{held.end:06d}-{self.digest[:16]}{_ENDING[self.kind]}"

    @property
    def path(self) -> str:
        """The name below the prefix."""
        return f"{SHARDS}/{self.name}"

    @property
    def index_path(self) -> str:
        """Where a tar's index lies."""
        return f"{SHARDS}/{self.name}.index.json"


def parse(names: Iterable[str]) -> list[Shard]:
    """Return the shards among the names of files, in the order of their pairs; other files are none."""
    found = []
    for name in names:
        match = _NAME.fullmatch(name)
        if match and int(match[2]) < int(match[3]):
            held = Range(match[1], int(match[2]), int(match[3]))
            found.append(Shard(held, match[4], TAR if match[5] == ".tar" else FILES))
    return sorted(found, key=lambda shard: (shard.range, shard.digest))


def missing(defect: str, count: int, size: int, there: Sequence[Range]) -> Iterator[Range]:
    """Yield what is missing of pairs 0 to before `count` of a defect, in shards of at most `size`.

    Shards begin at multiples of `size` wherever the missing pairs allow.
    """
    held = sorted((item.start, item.end) for item in there if item.defect == defect)
    place = 0
    for start, end in (*held, (count, count)):
        first = place
        while first < min(start, count):
            last = min((first // size + 1) * size, start, count)
            yield Range(defect, first, last)
            first = last
        place = max(place, end)


@dataclass(frozen=True)
class Part:
    """Which of several that share no Ray this one is: `2/8` makes every eighth shard, from the second on."""

    number: int = 1
    of: int = 1

    @classmethod
    def parse(cls, text: str) -> Part:
        """Read `2/8`; UserError for what is none."""
        match = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text.strip())
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise UserError(f"--part {text}: expected which one of how many, such as 2/8, from 1/8 to 8/8")
        return cls(int(match[1]), int(match[2]))

    def has(self, item: Range, size: int) -> bool:
        """Whether a range is this part's: the same one whatever is there already."""
        return (item.start // size + zlib.crc32(item.defect.encode())) % self.of == self.number - 1

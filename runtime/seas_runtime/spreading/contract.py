"""What a data set is written from: one generator, or many workers that stand in for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from seas_runtime.backends.contract import Watch
from seas_runtime.bundle.reading import Bundle
from seas_runtime.generation.placing.backgrounds import Backgrounds
from seas_runtime.generation.placing.mask_reader import MaskReader
from seas_runtime.generation.records import PairRecord
from seas_runtime.manifest.schedule import Array
from seas_runtime.manifest.types import Manifest
from seas_runtime.methods.request import PairRequest, Placing


class Pair(Protocol):
    """A pair as it is written: a `GeneratedPair`, or one whose pictures a worker has encoded."""

    @property
    def record(self) -> PairRecord:
        """How it came to be."""
        ...

    def encode(self, name: str) -> bytes:
        """Return its `image` or its `mask` as a PNG."""
        ...


@dataclass(frozen=True, eq=False)
class EncodedPair:
    """A pair as workers hand it over."""

    record: PairRecord
    files: Mapping[str, bytes]
    """PNG by `image` and `mask`; of a rejected pair none."""

    def encode(self, name: str) -> bytes:
        """Return its `image` or its `mask` as a PNG."""
        return self.files[name]


class PairSource(Protocol):
    """Makes pairs of one bundle: a `Generator`, or a `Pool` of workers with one each."""

    @property
    def bundle(self) -> Bundle:
        """The bundle that pairs are made from."""
        ...

    @property
    def manifest(self) -> Manifest:
        """The bundle's manifest."""
        ...

    @property
    def backgrounds(self) -> Backgrounds:
        """The photographs that placed pairs are drawn into; UserError where there are none."""
        ...

    def draw_onto(self, folder: Path) -> Backgrounds:
        """Draw placed pairs into the photographs of a folder; UserError where there is none."""
        ...

    @property
    def mask_reader(self) -> MaskReader | None:
        """What measures masks of placed pairs in the method's place."""
        ...

    def measure_with(self, folder: Path, require_signature: Path | None = None) -> None:
        """Measure masks of placed pairs with the bundle in a folder; see `Generator.measure_with`."""
        ...

    def scores(self, placing: Placing | None) -> bool:
        """Whether pairs get a score."""
        ...

    def describe_backend(self) -> dict[str, str]:
        """Return what the bytes of pairs depend on besides the bundle, as `dataset.json` has it."""
        ...

    def generate_batches(
        self, batches: Iterable[Sequence[PairRequest]], watch: Watch
    ) -> Iterator[Sequence[Pair]]:
        """Yield the pairs of each batch, in the order of the batches; as `Generator.generate_batches`."""
        ...


class Needed(Protocol):
    """Something outside that every worker must reach. Plain data, as it goes to other processes."""

    def check(self) -> None:
        """Try it; UserError where it cannot be reached from here."""
        ...


@dataclass(frozen=True)
class Job:
    """What every worker opens."""

    bundle: str
    """Its folder."""
    fingerprint: str
    """Of the bundle that the pairs are to be of."""
    backend: str
    threads: int | None
    onto: str | None = None
    """A folder of photographs to draw into; None for the bundle's own."""
    photographs: str | None = None
    """The digest of that folder's photographs."""
    mask_from: str | None = None
    """A folder of the bundle that measures masks; None for the method's own."""
    mask_fingerprint: str | None = None
    """Of that bundle."""
    require_signature: str | None = None
    """The file of a public key."""
    mixed: bool = False
    """Whether workers may be of several kinds; records say then which."""
    needed: Needed | None = None
    """What workers try before they open the bundle, such as the store that they are to write into."""


@dataclass(frozen=True)
class Opened:
    """What a worker says of itself once it can make pairs."""

    backend: Mapping[str, str]
    """As `dataset.json` has it."""
    kind: str
    """What computes: the GPU's name, or the processor's."""
    host: str
    process: int
    versions: Mapping[str, str]
    """Of what pairs and their files depend on, by package."""
    chosen: str | None
    """Which backend `auto` took, in words."""


class Place(Protocol):
    """Where the pairs of a parcel go: `add` them in their order, then `finish` or `discard`."""

    def add(self, pairs: Sequence[Pair]) -> None:
        """Add a batch's pairs."""
        ...

    def finish(self) -> Any:
        """Make what was added be there, whole; return what is to be known of it."""
        ...

    def discard(self) -> None:
        """Leave nothing, or nothing that counts."""
        ...


class Sink(Protocol):
    """Opens a place. Plain data, as it goes to other processes."""

    def open(self) -> Place:
        """Begin."""
        ...


@dataclass(frozen=True, eq=False)
class Parcel:
    """Batches, and where their pairs go."""

    batches: Sequence[Sequence[PairRequest]]
    sink: Sink


@dataclass(frozen=True, eq=False)
class Task:
    """Batches for one worker."""

    batches: Sequence[Sequence[PairRequest]]
    contexts: Mapping[str, Array]
    """By prompt of one's own, [L, D]."""
    sink: Sink | None = None
    """Where the worker writes their pairs; None to hand them over."""


Made = Any
"""Of a task: its batches' `EncodedPair`s, or what its place said when it was finished."""

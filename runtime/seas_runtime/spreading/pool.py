"""Many workers as one source of pairs."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from seas_runtime.backends.contract import Watch
from seas_runtime.bundle.reading import Bundle
from seas_runtime.errors import UserError
from seas_runtime.generation.loop import unwatched
from seas_runtime.generation.placing.backgrounds import Backgrounds
from seas_runtime.generation.placing.mask_reader import MaskReader
from seas_runtime.manifest.types import Manifest
from seas_runtime.methods.placed.score import FEATURES
from seas_runtime.methods.request import PairRequest, Placing
from seas_runtime.spreading.contract import EncodedPair, Job, Made, Needed, Opened, Parcel, Task

TASK_SECONDS = 0.5
"""What a task is to take: much longer than handing it over, short enough to be made again."""
MOST_BATCHES = 16


class Crew(Protocol):
    """The workers: how they are started, fed and ended."""

    def start(self, job: Job) -> Sequence[Opened]:
        """Start all workers; UserError for the first that cannot make pairs. Called once."""
        ...

    def run(self, tasks: Iterator[Task], watch: Watch) -> Iterator[Made]:
        """Yield what tasks gave, in their order. `watch` is called meanwhile and may raise."""
        ...

    def close(self) -> None:
        """End all workers, whatever they are at."""
        ...


class Pool:
    """A `PairSource` whose pairs a crew makes. Workers start when it is first asked for their backend.

    Pairs are those of one process: batches are the same, and they come in the same order. A context manager:
    its end ends the workers.
    """

    def __init__(self, bundle: Bundle, crew: Crew, job: Job) -> None:
        self.bundle, self._crew, self._job = bundle, crew, job
        self._backgrounds: Backgrounds | None = None
        self._reader: MaskReader | None = None
        self._opened: Sequence[Opened] = ()

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the workers."""
        self._crew.close()

    @property
    def manifest(self) -> Manifest:
        """The bundle's manifest."""
        return self.bundle.manifest

    @property
    def backgrounds(self) -> Backgrounds:
        """The photographs that placed pairs are drawn into; UserError where there are none."""
        if self._backgrounds is None:
            self._backgrounds = Backgrounds.of_bundle(self.bundle)
        return self._backgrounds

    def draw_onto(self, folder: Path) -> Backgrounds:
        """Draw placed pairs into the photographs of a folder; before the workers start."""
        self._backgrounds = Backgrounds.of_folder(folder)
        self._job = dataclasses.replace(
            self._job, onto=str(folder.absolute()), photographs=self._backgrounds.digest
        )
        return self._backgrounds

    @property
    def mask_reader(self) -> MaskReader | None:
        """What measures masks of placed pairs in the method's place; here it checks alone."""
        return self._reader

    def measure_with(self, folder: Path, require_signature: Path | None = None) -> None:
        """Measure masks of placed pairs with the bundle in a folder; before the workers start."""
        self._reader = MaskReader.of_folder(folder, self.manifest, require_signature)
        self._job = dataclasses.replace(
            self._job,
            mask_from=str(folder.absolute()),
            mask_fingerprint=self._reader.bundle.fingerprint,
        )

    def must_reach(self, needed: Needed) -> None:
        """Have each worker try something before it opens the bundle; before the workers start."""
        self._job = dataclasses.replace(self._job, needed=needed)

    def scores(self, placing: Placing | None) -> bool:
        """Whether pairs get a score: see `Generator.scores`."""
        return placing is not None and FEATURES in self.bundle.tables

    def describe_backend(self) -> dict[str, str]:
        """Return what the bytes of pairs depend on besides the bundle, as `dataset.json` has it."""
        return dict(self.start()[0].backend)

    def start(self) -> Sequence[Opened]:
        """Start the workers, where they are not, and return what they say of themselves.

        Raises UserError where one cannot make pairs, or would make others than the first.
        """
        if not self._opened:
            opened = self._crew.start(self._job)
            check_alike(opened, self._job.mixed)
            self._opened = opened
        return self._opened

    def generate_batches(
        self, batches: Iterable[Sequence[PairRequest]], watch: Watch = unwatched
    ) -> Iterator[Sequence[EncodedPair]]:
        """Yield the pairs of each batch, in the order of the batches."""
        self.start()
        pace = _Pace()
        contexts = dict(self.bundle.contexts)
        tasks = (Task(group, contexts) for group in pace.groups(batches))
        for made in self._crew.run(tasks, watch):
            pace.note(made)
            yield from made

    def deliver(self, parcels: Iterable[Parcel], watch: Watch = unwatched) -> Iterator[Any]:
        """Have workers write the pairs of parcels; yield what each parcel's place said, in their order."""
        self.start()
        contexts = dict(self.bundle.contexts)
        tasks = (Task(parcel.batches, contexts, parcel.sink) for parcel in parcels)
        return self._crew.run(tasks, watch)


class _Pace:
    """How many batches a task has: of fast pairs many, as handing over a task takes some milliseconds."""

    def __init__(self) -> None:
        self._seconds, self._batches = 0.0, 0

    def groups(self, batches: Iterable[Sequence[PairRequest]]) -> Iterator[list[Sequence[PairRequest]]]:
        """Yield batches together that take `TASK_SECONDS`, as far as is known by then."""
        rest = iter(batches)
        while group := list(itertools.islice(rest, self._size())):
            yield group

    def note(self, made: Sequence[Sequence[EncodedPair]]) -> None:
        """Learn from what a task's batches took."""
        self._seconds += sum(pair.record.times.total for batch in made for pair in batch)
        self._batches += len(made)

    def _size(self) -> int:
        if not self._batches:
            return 1
        each = self._seconds / self._batches
        return max(1, min(MOST_BATCHES, int(TASK_SECONDS / max(each, 1e-6))))


def check_alike(opened: Sequence[Opened], mixed: bool) -> None:
    """Refuse workers whose pairs would differ: in versions always, in what computes but for `mixed`."""
    first = opened[0]
    for other in opened[1:]:
        for name, version in first.versions.items():
            found = other.versions.get(name, "none")
            if found != version:
                raise UserError(
                    f"{other.host}: expected {name} {version} as on {first.host}, found {found}; "
                    "install the same versions on every machine"
                )
        one, two = ({**item.backend, "kind": item.kind} for item in (first, other))
        if one != two and not mixed:
            name = next(name for name in (*one, *two) if one.get(name) != two.get(name))
            raise UserError(
                f"{other.host}: expected {name.replace('_', ' ')} {one.get(name)} as on {first.host}, found "
                f"{two.get(name)}: pairs are the same on one kind of device alone. Choose machines of one "
                "kind, or take pairs of either with --mixed-devices"
            )

"""Pairs that are written where they are made, rather than handed over: shards of a store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from seas_runtime.backends.contract import Watch
from seas_runtime.generation.loop import unwatched
from seas_runtime.methods.request import PairRequest
from seas_runtime.spreading.contract import PairSource, Parcel, Place
from seas_runtime.spreading.pool import Pool


def deliver(source: PairSource, parcels: Iterable[Parcel], watch: Watch = unwatched) -> Iterator[Any]:
    """Make the pairs of parcels and write each parcel's where they are made; yield what its place says.

    In the parcels' order. One parcel is finished while the next is made.
    """
    if isinstance(source, Pool):
        yield from source.deliver(parcels, watch)
        return
    with ThreadPoolExecutor(1, "finisher") as finisher:
        pending: Future[Any] | None = None
        for parcel in parcels:
            place = filled(source, parcel, watch)
            if pending is not None:
                yield pending.result()
            pending = finisher.submit(place.finish)
        if pending is not None:
            yield pending.result()


def filled(source: PairSource, parcel: Parcel, watch: Watch = unwatched) -> Place:
    """Make a parcel's pairs into its place, each batch written by a second thread while the next is made."""
    place = parcel.sink.open()
    try:
        _fill(source, parcel.batches, place, watch)
    except BaseException:
        place.discard()
        raise
    return place


def _fill(source: PairSource, batches: Sequence[Sequence[PairRequest]], place: Place, watch: Watch) -> None:
    with ThreadPoolExecutor(1, "writer") as writer:
        pending: Future[None] | None = None
        for pairs in source.generate_batches(batches, watch):
            if pending is not None:
                pending.result()
            pending = writer.submit(place.add, pairs)
        if pending is not None:
            pending.result()

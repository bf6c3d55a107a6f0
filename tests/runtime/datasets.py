"""Compares datasets, and makes them in processes that are killed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from seas_runtime import DatasetRequest, Generator, Sampling
from seas_runtime.generation.loop import unwatched
from seas_runtime.generation.records import GeneratedPair
from seas_runtime.methods.request import PairRequest

WRITE = """
import sys, time
from pathlib import Path
from seas_runtime import DatasetRequest, Generator, write_dataset
bundle, out, count, batch, pause = sys.argv[1:]

def progress(done, total):
    print(done, flush=True)
    time.sleep(float(pause))

request = DatasetRequest(("all",), int(count), 3, int(batch))
write_dataset(Generator.open(Path(bundle), threads=1), request, Path(out), progress)
"""
"""Writes the dataset of every defect of a bundle; prints the pairs done after each batch."""


WRITE_BEST = (
    WRITE.replace("int(batch))", "int(batch), oversample=1.5)")
    .replace("Generator.open", "ScoringGenerator.open")
    .replace("bundle, out", "from tests.runtime.datasets import ScoringGenerator\nbundle, out", 1)
)
"""The same of the best two thirds of the pairs of each defect."""


class ScoringGenerator(Generator):
    """Gives pairs a score of their own, as they have where a bundle can measure one."""

    def scores(self, placing: Any) -> bool:
        """Whether pairs get a score: all do."""
        return True

    def generate_batches(
        self, batches: Iterable[Sequence[PairRequest]], watch: Any = unwatched
    ) -> Iterator[list[GeneratedPair]]:
        """Yield the pairs with their scores."""
        for pairs in super().generate_batches(batches, watch):
            yield [
                GeneratedPair(
                    pair.image,
                    pair.mask,
                    pair.probability,
                    replace(pair.record, score=score_of(pair.record.defect, pair.record.index)),
                )
                for pair in pairs
            ]


def score_of(defect: str, index: int) -> float | None:
    """Return a score that neither rises nor falls with the index, with ties; None for normals."""
    return None if defect == "good" else (index * 7 + len(defect)) % 10 / 10


def dataset_request(defects: tuple[str, ...], count: int, **options: Any) -> DatasetRequest:
    """Return a request of which options of the sampling are given beside the others."""
    names = [name for name in options if name in Sampling.__dataclass_fields__]
    sampling = Sampling(**{name: options.pop(name) for name in names})
    return DatasetRequest(defects, count, sampling=sampling, **options)


def snapshot(out: Path) -> dict[str, bytes]:
    """Return every file of a dataset, without the records' times."""
    files = {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    files["records.jsonl"] = json.dumps(
        [{**record, "times": sorted(record["times"])} for record in read_records(out)]
    ).encode()
    return files


def read_records(out: Path) -> list[dict[str, Any]]:
    """Return a dataset's records; every line must be whole."""
    data = (out / "records.jsonl").read_text()
    assert data.endswith("\n")
    return [json.loads(line) for line in data.splitlines()]

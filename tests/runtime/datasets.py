"""Compares datasets, and makes them in processes that are killed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from seas_runtime import DatasetRequest, Sampling

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

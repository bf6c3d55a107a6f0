"""Measures what spreading pairs over workers costs: planning, overhead, growth.

    python benchmarks/spread.py plan                 10^6 pairs as shards: planned, listed once they are there
    python benchmarks/spread.py growth               1 to 64 workers that sleep for a pair's measured time
    python benchmarks/spread.py overhead BUNDLE      one process against two, and two workers of Ray

`growth` runs our part of the Ray crew (who is given what, order, retries) over stand-ins for actors, as 64 of
them do not fit on a small machine: it measures the head's work for each task, not Ray's own.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from machine import describe_machine, write_entry

from seas_runtime.backends.cores import peak_memory
from seas_runtime.dataset.shards.names import SHARDS, TAR, Shard, missing, parse
from seas_runtime.dataset.shards.store import Store

RESULT = Path(__file__).parent / "results" / "spread.json"
PAIRS, SHARD_PAIRS, DEFECTS = 1_000_000, 256, 70
PAIR_SECONDS = 0.144  # of 512 x 512 pixels in 25 steps on an H200: results/ of the engines' benchmarks
TASKS = 1600


def plan() -> dict[str, Any]:
    """Plan 10^6 pairs of 70 defects, write names of their shards, list them, and plan again."""
    each = -(-PAIRS // DEFECTS)
    names = [f"defect{number:02d}" for number in range(DEFECTS)]
    begun = time.perf_counter()
    ranges = [item for name in names for item in missing(name, each, SHARD_PAIRS, [])]
    planned = time.perf_counter() - begun
    with tempfile.TemporaryDirectory() as folder:
        shards = Path(folder) / SHARDS
        shards.mkdir()
        for item in ranges:
            shard = Shard(item, f"{hash((item.defect, item.start)) & (2**64 - 1):016x}", TAR)
            (shards / shard.name).touch()
            (shards / f"{shard.name}.index.json").touch()
        begun = time.perf_counter()
        there = [shard.range for shard in parse(Store(f"file://{folder}").names(SHARDS))]
        left = [item for name in names for item in missing(name, each, SHARD_PAIRS, there)]
        listed = time.perf_counter() - begun
    assert (len(there), left) == (len(ranges), [])
    return {
        "pairs": PAIRS,
        "shards": len(ranges),
        "seconds_to_plan": planned,
        "seconds_to_list_and_plan": listed,
        "peak_memory_bytes": peak_memory(),
    }


def growth() -> dict[str, Any]:
    """Run tasks that sleep over 1 to 64 workers; the head's share of a core is its processor time."""
    from seas_runtime.spreading.contract import Job, Opened, Task
    from seas_runtime.spreading.on_ray import crew as crews

    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from tests.runtime.fake_ray import FakeRay

    seconds = PAIR_SECONDS * 4  # a batch
    figures = {}
    for workers in (1, 4, 16, 64):
        opened = Opened({"backend": "cpu"}, "sleeping", "here", 0, {}, None)

        def sleep(actor: Any, name: str, opened: Opened = opened) -> Any:
            if name == "open":
                return opened
            with actor.turn:
                time.sleep(seconds)
            return [[]]

        ray = FakeRay(*[1] * workers, before=sleep)
        crews.connect = lambda address, ray=ray, **options: ray  # type: ignore[assignment]
        crew = crews.RayCrew("local")
        crew.start(Job("", "", "cpu", 1))
        tasks = TASKS * workers // 64 or 16
        begun, spent = time.perf_counter(), time.process_time()
        made = sum(1 for _ in crew.run(_tasks(Task, tasks), lambda: None))
        wall, busy = time.perf_counter() - begun, time.process_time() - spent
        crew.close()
        assert made == tasks
        ideal = -(-tasks // workers) * seconds
        figures[str(workers)] = {"tasks": tasks, "efficiency": ideal / wall, "head_core_share": busy / wall}
    return {"batch_seconds": seconds, "workers": figures}


def _tasks(kind: Any, count: int) -> Iterator[Any]:
    return (kind([[]], {}) for _ in range(count))


def overhead(bundle: Path, pairs: int) -> dict[str, Any]:
    """Make the same pairs by one process with two threads, and by two with one each."""
    from seas_runtime import DatasetRequest, write_dataset
    from seas_runtime.spreading.opening import open_source

    figures = {}
    for name, threads, devices, ray in (
        ("one process, two threads", 2, None, None),
        ("two processes", 1, "cores:2", None),
        ("ray, two workers", 1, None, "local"),
    ):
        try:
            with (
                tempfile.TemporaryDirectory() as folder,
                open_source(bundle, "cpu", threads, None, devices, ray) as (source, _),
            ):
                source.describe_backend()
                write_dataset(source, DatasetRequest(("good",), 4), Path(folder) / "warm")
                begun = time.perf_counter()
                write_dataset(source, DatasetRequest(("good",), pairs, 1), Path(folder) / "out")
                figures[name] = pairs / (time.perf_counter() - begun)
        except Exception as error:
            figures[name] = f"not measured: {str(error).splitlines()[0][:200]}"
    return {"pairs": pairs, "pairs_per_second": figures}


def main() -> None:
    """Measure what is asked and put it into the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("plan", "growth", "overhead"))
    parser.add_argument("bundle", nargs="?", type=Path)
    parser.add_argument("--pairs", type=int, default=40)
    options = parser.parse_args()
    if options.what == "overhead":
        if options.bundle is None:
            parser.error("overhead: give a bundle's folder")
        measured = overhead(options.bundle, options.pairs)
    else:
        measured = plan() if options.what == "plan" else growth()
    measured["machine"] = describe_machine()
    write_entry(RESULT, options.what, measured)
    print(json.dumps(measured, indent=2))


if __name__ == "__main__":
    main()

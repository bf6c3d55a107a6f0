"""Measures what spreading pairs over workers costs: planning, overhead, growth.

    python benchmarks/spread.py plan                 10^6 pairs as shards: planned, listed once they are there
    python benchmarks/spread.py growth               1 to 64 workers that sleep for a pair's measured time
    python benchmarks/spread.py overhead BUNDLE      one process, two, one to four workers of a real cluster
                                                     of three nodes: bytes, pairs a second, memory of each;
                                                     again with a worker, then a node, killed -9 five times

`growth` runs our part of the Ray crew (who is given what, order, retries) over stand-ins for actors, as 64 of
them do not fit on a small machine: it measures the head's work for each task, not Ray's own.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from machine import describe_machine, write_entry

from seas_runtime import DatasetRequest, Sampling
from seas_runtime.backends.cores import peak_memory
from seas_runtime.dataset.shards.names import SHARDS, TAR, Shard, missing, parse
from seas_runtime.dataset.shards.store import Store
from seas_runtime.methods.seas_options import SeasOptions

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.runtime.datasets import snapshot
from tests.runtime.fake_ray import FakeRay
from tests.runtime.real_ray import Nodes, cluster

RESULT = Path(__file__).parent / "results" / "spread.json"
PAIRS, SHARD_PAIRS, DEFECTS = 1_000_000, 256, 70
PAIR_SECONDS = 0.144  # of 512 x 512 pixels in 25 steps on an H200: results/ of the engines' benchmarks
TASKS = 1600
KILLS = 5


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


def overhead(bundle: Path, pairs: int, backend: str, steps: int | None, masks: int | None) -> dict[str, Any]:
    """Make the same pairs by one process, by two, and by a cluster's workers, each case in a process.

    `same` compares files and records with the first case's.
    """
    figures: dict[str, Any] = {}
    options = SeasOptions(mask_steps=masks)
    request = (
        DatasetRequest(("good",), pairs, 1, sampling=Sampling(steps=steps), options=options)
        if pairs
        else None
    )
    with tempfile.TemporaryDirectory() as folder:

        def measure(
            name: str,
            threads: int = 1,
            devices: str | None = None,
            ray: str | None = None,
            kill: Callable[[], bool] | None = None,
        ) -> None:
            out = Path(folder) / str(len(figures))
            try:
                with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
                    case = pool.submit(_case, bundle, out, request, backend, threads, devices, ray)
                    killed = 0 if kill is None else _disturb(case, out, kill, pairs)
                    figures[name] = {**case.result(), "same": _same(out, Path(folder) / "0")}
                    if kill is not None:
                        figures[name]["killed"] = killed
            except Exception as error:
                figures[name] = f"not measured: {str(error).splitlines()[0][:200]}"
            print(json.dumps({name: figures[name]}), flush=True)

        measure("one process")
        measure("one process, two threads", 2)
        measure("two processes", 1, "cores:2")
        try:
            with cluster(1) as nodes:
                measure("ray, one worker", 1, None, nodes.address)
                nodes.add(1)
                measure("ray, two workers", 1, None, nodes.address)
                nodes.add(2)
                measure("ray, four workers", 1, None, nodes.address)
                measure("ray, a worker killed", 1, None, nodes.address, lambda: _kill_worker(nodes))
                measure("ray, a node killed", 1, None, nodes.address, lambda: _kill_node(nodes))
        except Exception as error:
            figures["ray"] = f"not measured: {str(error).splitlines()[0][:200]}"
    weights = sum(file.stat().st_size for file in bundle.rglob("*") if file.is_file())
    return {
        "pairs": pairs,
        "backend": backend,
        "steps": steps,
        "mask_steps": masks,
        "bundle_bytes": weights,
        "cases": figures,
    }


def _disturb(case: Future[Any], out: Path, kill: Callable[[], bool], pairs: int) -> int:
    """Kill at each sixth of the pairs while a case runs, KILLS times; return how often it was done."""
    killed = 0
    while not case.done() and killed < KILLS:
        time.sleep(0.2)
        records = out / "records.jsonl"
        made = records.read_bytes().count(b"\n") if records.exists() else 0
        if made > (killed + 1) * pairs // (KILLS + 1) and kill():
            killed += 1
    return killed


def _kill_worker(nodes: Nodes) -> bool:
    """Kill a worker that makes pairs; False where none is there yet."""
    found = nodes.workers()
    if found:
        os.kill(random.choice(found), signal.SIGKILL)
    return bool(found)


def _kill_node(nodes: Nodes) -> bool:
    """Kill the node that joined last, and let another join."""
    nodes.kill_last()
    nodes.add(2)
    return True


def _case(
    bundle: Path,
    out: Path,
    request: DatasetRequest | None,
    backend: str,
    threads: int,
    devices: str | None,
    ray: str | None,
) -> dict[str, Any]:
    """Make pairs, and say how fast, and what those that made them hold in memory."""
    from seas_runtime import write_dataset
    from seas_runtime.spreading.opening import open_source
    from seas_runtime.spreading.pool import Pool

    with open_source(bundle, backend, threads, None, devices, ray) as (source, _):
        begun = time.perf_counter()
        source.describe_backend()
        opened = time.perf_counter() - begun
        if request is not None:
            write_dataset(source, replace(request, count=8, seed=0), out.with_suffix(".warm"))
        begun = time.perf_counter()
        if request is not None:
            write_dataset(source, request, out)
        seconds = time.perf_counter() - begun
        made_by = [one.process for one in source.start()] if isinstance(source, Pool) else [os.getpid()]
        return {
            "seconds_to_open": opened,
            "pairs_per_second": request and request.count / seconds,
            "workers": [_memory(process, bundle) for process in made_by if _lives(process)],
        }


def _lives(process: int) -> bool:
    """Say whether a process has memory still: it may have been killed since."""
    status = Path(f"/proc/{process}/status")
    return status.exists() and "VmHWM" in status.read_text()


def _memory(process: int, bundle: Path) -> dict[str, Any]:
    """Return what a process holds, in bytes, as Linux has it.

    resident: all of it; proportional: with its share alone of what others hold too; alone: what no other has.
    weights_*: the same of the bundle's files that it maps.
    """
    where = Path(f"/proc/{process}")
    status = dict(line.split(":", 1) for line in (where / "status").read_text().splitlines())
    held: dict[str, int] = {}
    ours = False
    for line in (where / "smaps").read_text().splitlines():
        name, _, value = line.partition(":")
        if not value.rstrip().endswith(" kB"):  # of a mapping, or of its flags
            ours = str(bundle) in line if "-" in line.split()[0] else ours
            continue
        for prefix in ("", "weights ") if ours else ("",):
            held[prefix + name] = held.get(prefix + name, 0) + int(value.split()[0]) * 1024
    return {
        "peak": int(status["VmHWM"].split()[0]) * 1024,
        "resident": held["Rss"],
        "proportional": held["Pss"],
        "alone": held["Private_Clean"] + held["Private_Dirty"],
        "weights_resident": held.get("weights Rss", 0),
        "weights_proportional": held.get("weights Pss", 0),
    }


def _same(out: Path, expected: Path) -> bool:
    return not out.exists() or snapshot(out) == snapshot(expected)


def main() -> None:
    """Measure what is asked and put it into the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("plan", "growth", "overhead"))
    parser.add_argument("bundle", nargs="?", type=Path)
    parser.add_argument("--pairs", type=int, default=40, help="0: open only, for memory (%(default)s)")
    parser.add_argument("--steps", type=int, help="of sampling; the bundle's own by default")
    parser.add_argument("--mask-steps", type=int, help="the bundle's own by default")
    parser.add_argument("--backend", default="cpu", help="(%(default)s)")
    parser.add_argument("--print", action="store_true", help="leave the kept results as they are")
    options = parser.parse_args()
    if options.what == "overhead":
        if options.bundle is None:
            parser.error("overhead: give a bundle's folder")
        measured = overhead(
            options.bundle.absolute(),
            options.pairs,
            options.backend,
            options.steps,
            options.mask_steps,
        )
    else:
        measured = plan() if options.what == "plan" else growth()
    measured["machine"] = describe_machine()
    if not options.print:
        write_entry(RESULT, options.what, measured)
    print(json.dumps(measured, indent=2))


if __name__ == "__main__":
    main()

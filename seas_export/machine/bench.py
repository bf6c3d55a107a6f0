"""Measures how fast a bundle generates on this machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from seas_export.machine.machine import Machine, describe_machine
from seas_export.machine.power import PowerReading, PowerWatch
from seas_export.report.charts import line_chart, share_bar
from seas_export.report.content import parts_of
from seas_export.version import version
from seas_runtime.backends.cores import peak_memory
from seas_runtime.errors import CheckFailed, UserError
from seas_runtime.files import atomic_write_text, os_errors, read_json, write_json
from seas_runtime.manifest.types import ENCODE_IMAGE, GOOD
from seas_runtime.methods.request import PairRequest, PlacedInputs
from seas_runtime.outputs.checking import check_file, check_writable, refuse_overlap

if TYPE_CHECKING:
    from seas_runtime.generation.generator import Generator

BATCHES = (1, 2, 4, 8)
_PLACED = 4
"""How many pairs drawn into a background are measured at most."""


@dataclass(frozen=True)
class BatchResult:
    """What one batch size gave, in seconds."""

    batch: int
    pairs: int
    seconds: float
    pairs_per_second: float
    parts: dict[str, float]
    """Means per pair."""
    share: dict[str, float]
    """Their fractions of the whole."""


@dataclass(frozen=True)
class BenchResult:
    """How fast a bundle is on a machine."""

    version: str
    bundle: str
    product: str
    precision: str
    fingerprint: str
    backend: str
    backend_identity: dict[str, str]
    threads: int | None
    defect: str
    steps: int
    sampler: str
    guidance: float
    image: tuple[int, int]
    load_seconds: float
    latency_median: float
    """Seconds of one pair on its own."""
    latency_p95: float
    """The 95th percentile of the same."""
    latencies: tuple[float, ...]
    batches: tuple[BatchResult, ...]
    placed: BatchResult | None
    """Of pairs drawn into a background, one at a time; None for a bundle that draws into none."""
    failed: tuple[int, str] | None
    """The batch size that could not be run, and why; larger ones were not tried."""
    peak_memory: int | None
    """The most bytes that the process held, loading included."""
    machine: Machine
    power: PowerReading


def bench(
    bundle: Path,
    *,
    batches: Sequence[int] = BATCHES,
    pairs: int = 8,
    defect: str | None = None,
    seed: int = 0,
    steps: int | None = None,
    sampler: str | None = None,
    guidance: float | None = None,
    backend: str = "cpu",
    threads: int | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> BenchResult:
    """Generate at every batch size, after a warm-up of one batch each, and measure.

    Gates are off, so that every pair costs one attempt. Latency is always measured at batch size 1.
    pairs: how many at each batch size; rounded up to whole batches. Where a larger batch fails, what was
    measured before it is kept.

    Raises:
        UserError: the bundle cannot be opened, or an option is out of range.
        CheckFailed: not even the smallest batch could be made.
    """
    from seas_runtime.generation.generator import Generator

    sizes = sorted(set(batches))
    if not sizes or sizes[0] < 1:
        raise UserError(f"--batches: expected sizes of 1 or more, such as 1,2,4,8; found {list(batches)}")
    begun = time.perf_counter()
    generator = Generator.open(bundle, backend, threads)
    if generator.chosen:
        say(generator.chosen)
    load_seconds = time.perf_counter() - begun
    manifest = generator.manifest
    chosen = defect if defect is not None else manifest.defects[0] if manifest.defects else GOOD
    options: dict[str, Any] = {"guidance": guidance, "steps": steps, "sampler": sampler, "gate": False}
    generator.request(chosen, seed, **options)  # what the bundle has not is refused before the work
    schedule = generator.bundle.schedule(sampler, steps)

    def run_placed() -> BatchResult | None:
        """Draw into pictures of the bundle's own, a quarter of each."""
        if ENCODE_IMAGE not in manifest.graphs:
            return None
        count = min(pairs, _PLACED)
        request = generator.request(chosen, seed, **options)
        mask = np.zeros((manifest.image.height, manifest.image.width), np.bool_)
        mask[mask.shape[0] // 4 : -mask.shape[0] // 4, mask.shape[1] // 4 : -mask.shape[1] // 4] = True
        windows = generator.generate(GOOD, count, seed, **options)
        asked = [
            [PairRequest(request, index, PlacedInputs(pair.image, mask))]
            for index, pair in enumerate(windows)
        ]
        list(generator.generate_batches(asked[:1]))
        begun = time.perf_counter()
        made = [pair for batch in generator.generate_batches(asked) for pair in batch]
        return _result(1, time.perf_counter() - begun, [pair.record.times.to_dict() for pair in made])

    def run(batch: int) -> tuple[BatchResult, list[float]]:
        """Measure one batch size; also each pair's own seconds."""
        list(generator.generate(chosen, batch, seed, batch=batch, **options))
        return _measure(generator, chosen, -(-pairs // batch) * batch, seed, batch, options)

    results: list[BatchResult] = []
    latencies: list[float] = []
    failed = None
    with PowerWatch() as power:
        for batch in sizes if 1 in sizes else [1, *sizes]:
            try:
                result, seconds = run(batch)
            except CheckFailed as error:
                if not results:
                    raise
                failed = (batch, str(error))
                say(f"batch {batch}: {error}")
                break
            say(f"batch {batch}: {result.pairs_per_second:.3f} pairs per second")
            if batch == 1:
                latencies = seconds
            if batch in sizes:
                results.append(result)
        placed = run_placed()
    for warning in power.reading.warnings:
        say(f"warning: {warning}")
    median, p95 = np.percentile(latencies, (50, 95)).tolist()
    return BenchResult(
        version=version(),
        bundle=str(bundle),
        product=manifest.shown_product,
        precision=manifest.precision,
        fingerprint=generator.bundle.fingerprint,
        backend=generator.backend.name,
        backend_identity=generator.backend.identity(generator.bundle),
        threads=getattr(generator.backend, "threads", threads),
        defect=chosen,
        steps=schedule.steps,
        sampler=schedule.sampler,
        guidance=manifest.sampler.guidance if guidance is None else guidance,
        image=(manifest.image.height, manifest.image.width),
        load_seconds=load_seconds,
        latency_median=median,
        latency_p95=p95,
        latencies=tuple(latencies),
        batches=tuple(results),
        placed=placed,
        failed=failed,
        peak_memory=peak_memory(),
        machine=describe_machine(),
        power=power.reading,
    )


def write_bench(result: BenchResult, out: Path) -> list[Path]:
    """Write bench.json and a plot, bench.svg, into `out`."""
    with os_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    data = out / "bench.json"
    write_json(data, asdict(result))
    return [data, _write_svg(result, out / "bench.svg")]


def check_bench(bundle: Path, out: Path) -> None:
    """Refuse, before measuring, a folder whose bench.json or bench.svg no bench wrote, or the bundle's."""
    keys = {"latency_median", "batches", "power"}
    check_results(bundle, out, ("bench.json", "bench.svg"), keys, "what bench wrote")


def check_results(bundle: Path, out: Path, names: Sequence[str], keys: set[str], what: str) -> None:
    """Refuse, before measuring, a folder that has files of these names from elsewhere, or is the bundle's.

    The first is ours where it is JSON with `keys`, and the others with it.
    """
    refuse_overlap(out, {"BUNDLE": bundle}, "--out")
    check_writable(out, "--out")
    data = out / names[0]
    ours = data.is_file() and _has_keys(data, keys)
    for name in names:
        check_file(out / name, what, lambda _: ours, "--out", force=True)


def _has_keys(file: Path, keys: set[str]) -> bool:
    try:
        found = read_json(file, "bench")
    except UserError:
        return False
    return isinstance(found, dict) and keys <= found.keys()


def _measure(
    generator: Generator, defect: str, count: int, seed: int, batch: int, options: dict[str, Any]
) -> tuple[BatchResult, list[float]]:
    """Time `count` pairs in batches of `batch`."""
    begun = time.perf_counter()
    records = [pair.record for pair in generator.generate(defect, count, seed, batch=batch, **options)]
    seconds = time.perf_counter() - begun
    times = [record.times.to_dict() for record in records]
    return _result(batch, seconds, times), [entry["total"] for entry in times]


def _result(batch: int, seconds: float, times: list[dict[str, float]]) -> BatchResult:
    """Return what records' times say of a run of so many seconds."""
    parts = parts_of(times)
    whole = sum(parts.values())
    share = {name: value / whole if whole else 0.0 for name, value in parts.items()}
    return BatchResult(batch, len(times), seconds, len(times) / seconds, parts, share)


def _caption(result: BenchResult) -> str:
    """What was measured, where."""
    return (
        f"{result.product}, {result.precision}, {result.sampler} {result.steps} steps, "
        f"{result.image[1]}x{result.image[0]} px, {result.backend}, {result.machine.in_words()}"
    )


def _write_svg(result: BenchResult, file: Path) -> Path:
    """Plot without matplotlib: pairs per second per batch size; below, the shares at the first of them."""
    first = result.batches[0]
    curve = line_chart(
        [(entry.batch, entry.pairs_per_second) for entry in result.batches],
        title="pairs per second",
        x_label="batch size (pairs per second above)",
        markers=True,
    )
    bar = share_bar(list(first.parts.items()), title=f"batch {first.batch}")
    atomic_write_text(
        file,
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 430">'
        "<style>text{font:11px sans-serif;fill:#475569}.grid{stroke:#e2e8f0}</style>"
        '<rect width="760" height="430" fill="#fff"/>'
        f'<text x="20" y="20">{escape(_caption(result))}</text>'
        f'<svg x="20" y="30" width="500" height="294">{curve}</svg>'
        f'<svg x="20" y="340" width="720" height="74">{bar}</svg></svg>\n',
    )
    return file

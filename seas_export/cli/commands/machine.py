"""What this machine can run, a bundle compiled for the machine that will, and how it does here."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seas_export.cli import options, output
from seas_runtime.units import gib, mib

if TYPE_CHECKING:
    from seas_export.machine.doctor import Job


@output.command("Run it again.")
def doctor(
    quick: Annotated[
        bool, typer.Option("--quick", help="Do not try whether packages import: they may be broken then.")
    ] = False,
    json: options.Json = False,
) -> None:
    """What this machine can run: Python, cores, memory, GPU, backends, and what to install."""
    from seas_export.machine.doctor import diagnose

    found = diagnose(Path(), quick=quick)
    machine = found.machine
    gpus = [
        ("GPU", f"{gpu.name}, {gpu.memory_mib} MiB, driver {gpu.driver}, compute {gpu.compute_capability}")
        for gpu in machine.gpus
    ] or [("GPU", "none that nvidia-smi knows")]
    rows = [
        ("seas-export", found.version),
        ("Python", f"{machine.python} ({machine.executable})" + ("" if found.python_ok else ", too old")),
        ("system", machine.system + (f", {machine.board}" if machine.board else "")),
        ("processor", f"{machine.processor}, {machine.usable_cores} of {machine.cores} cores usable"),
        ("memory", f"{_gib(machine.memory)}, {_gib(machine.memory_available)} available"),
        ("disk", f"{_gib(machine.disk_free)} free in {Path().absolute()}"),
        *gpus,
        ("backends", ", ".join(f"{name} {version}" for name, version in found.backends.items()) or "none"),
    ]
    jobs = [
        (job.commands, "ready" if job.ready else "; ".join(_lacking(job)), job.install or "")
        for job in found.jobs
    ]
    auto = [(item.backend, "usable" if item.usable else "not usable", item.why) for item in found.auto]
    text = output.group(
        output.table("this machine", "", rows=list(rows)),
        output.table("to run", "it has", "to mend it", rows=list(jobs)),
        output.table("--backend auto takes the first", "that is usable", "", rows=list(auto)),
        *found.advice,
    )
    output.report(found, text, json)


def _lacking(job: Job) -> list[str]:
    """What is wrong with a job's packages."""
    kinds = {"missing": job.missing, "too old": job.old, "broken": job.broken}
    return [f"{kind}: {', '.join(names)}" for kind, names in kinds.items() if names]


def _gib(size: int | None) -> str:
    """Bytes in GiB."""
    return "unknown" if size is None else gib(size)


@output.command("Run the same command again: engines that are whole are kept.")
def engine(
    bundle: options.BundleFolder,
    target: Annotated[str, typer.Option("--target", help="cpu, cuda, tensorrt, rtx or openvino.")],
    device: Annotated[
        str | None,
        typer.Option(
            "--device",
            help="For rtx: compute capabilities with commas between, 8.6,8.9,12.0; by default this GPU's.",
        ),
    ] = None,
    batch: Annotated[
        str, typer.Option("--batch", help="Pairs at a time: a number, or MIN:OPT:MAX such as 1:4:16.")
    ] = "1",
    precision: Annotated[
        str | None,
        typer.Option("--precision", help="fp16 or fp32; by default fp16, and int8 of an int8 bundle."),
    ] = None,
    graph: Annotated[
        list[str] | None,
        typer.Option("--graph", help="Only this graph; repeat for more.", show_default=False),
    ] = None,
    level: Annotated[
        int | None,
        typer.Option("--level", min=0, max=5, help="Builder's optimization level; by default its own."),
    ] = None,
    workspace: Annotated[
        float | None,
        typer.Option("--workspace", min=0.001, help="GiB of device memory for scratch, at most."),
    ] = None,
    memory: Annotated[
        float | None,
        typer.Option(
            "--memory", min=0.1, help="GiB of this machine's memory that a build may take, at most."
        ),
    ] = None,
    ship_engines: Annotated[
        bool,
        typer.Option(
            "--ship-engines", help="Let other machines load them from a copy of the bundle (rtx, cuda)."
        ),
    ] = False,
    build: Annotated[
        bool,
        typer.Option("--build/--no-build", help="Refuse, instead of building, where one is not current."),
    ] = True,
    force: Annotated[bool, typer.Option("--force", help="Build also what is current.")] = False,
    json: options.Json = False,
) -> None:
    """Compile a bundle's graphs into engines for one target, kept in the bundle and keyed by content."""
    from seas_engines.building.compile import compile_bundle
    from seas_engines.targets.options import EngineOptions
    from seas_export.progress import build_progress
    from seas_runtime.engines.record import BatchRange

    asked = EngineOptions(
        target=target,
        devices=device,
        precision=precision,
        batch=BatchRange.parse(batch),
        graphs=tuple(graph or ()),
        level=level,
        workspace=_bytes(workspace),
        memory=_bytes(memory),
        ship=ship_engines,
        force=force,
        build=build,
    )
    with build_progress() as progress:
        result = compile_bundle(bundle, asked, output.say, progress)
    if result.note:
        output.report(
            result.to_dict(), f"{bundle}: nothing needs building for {target}: {result.note}.", json
        )
        return
    rows: list[tuple[object, ...]] = [
        (
            made.graph,
            ", ".join(made.devices),
            made.precision,
            made.batch,
            "built" if made.built else "current",
            "" if made.seconds is None else made.seconds,
            made.size / 2**20,
            "" if made.float32_nodes is None else made.float32_nodes,
        )
        for made in result.engines
    ]
    text = output.group(
        f"{bundle}: engines for {target} {result.version}",
        output.table(
            "graph", "device", "precision", "batch", "", "seconds", "MiB", "float32 nodes", rows=rows
        ),
    )
    output.report(result.to_dict(), text, json)


def _bytes(size: float | None) -> int | None:
    """GiB in bytes."""
    return None if size is None else int(size * 2**30)


@output.command("Run it again: nothing was written.")
def bench(
    bundle: options.BundleFolder,
    batches: Annotated[
        str | None, typer.Option("--batches", help="Batch sizes, with commas between; 1,2,4,8 by default.")
    ] = None,
    pairs: Annotated[int, typer.Option("--pairs", help="Pairs at each batch size.")] = 8,
    defect: Annotated[
        str | None, typer.Option("--defect", help="Which defect; by default the first, with --quality all.")
    ] = None,
    seed: options.Seed = 0,
    steps: Annotated[int | None, typer.Option("--steps", help="One of the bundle's schedules.")] = None,
    sampler: Annotated[str | None, typer.Option("--sampler", help="One of the bundle's samplers.")] = None,
    guidance: Annotated[
        float | None,
        typer.Option("--guidance", help="Strength of the prompt; by default the bundle's."),
    ] = None,
    backend: options.Backend = "cpu",
    threads: options.Threads = None,
    quality: options.Quality = False,
    onto: options.QualityOnto = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for the figures and a plot; nothing is written without it."),
    ] = None,
    json: options.Json = False,
) -> None:
    """Measure latency, pairs per second per batch size, where the time goes, and peak memory."""
    from seas_runtime.errors import CheckFailed, UserError

    if quality:
        given = {"--steps": steps, "--sampler": sampler, "--guidance": guidance, "--batches": batches}
        for name, value in given.items():
            if value is not None:
                raise UserError(f"{name}: not with --quality, which measures all samplers and steps alike.")
        _quality(bundle, (backend, threads), defect, onto, out, json, pairs=pairs, seed=seed)
        return
    from seas_export.machine.bench import bench as measure
    from seas_export.machine.bench import check_bench, write_bench
    from seas_runtime.generation.records import MAX_COUNT
    from seas_runtime.manifest.fields import check_integer

    check_integer("--pairs", pairs, 1, MAX_COUNT)
    if onto is not None:
        raise UserError("--onto: is only used with --quality. Add --quality, or leave it out.")
    if out is not None:
        check_bench(bundle, out)
    result = measure(
        bundle,
        batches=_batches(batches or "1,2,4,8"),
        pairs=pairs,
        defect=defect,
        seed=seed,
        steps=steps,
        sampler=sampler,
        guidance=guidance,
        backend=backend,
        threads=threads,
        say=output.say,
    )
    files = write_bench(result, out) if out is not None else []
    placed = [] if result.placed is None else [("1, placed", result.placed)]
    parts = list((result.placed or result.batches[0]).share)
    rows: list[tuple[object, ...]] = [
        (
            name,
            entry.pairs_per_second,
            1000 * entry.seconds / entry.pairs,
            *(f"{100 * entry.share.get(part, 0.0):.1f} %" for part in parts),
        )
        for name, entry in [*((entry.batch, entry) for entry in result.batches), *placed]
    ]
    memory = "unknown" if result.peak_memory is None else mib(result.peak_memory, 0)
    text = output.group(
        f"{bundle} on {result.machine.in_words()}: {result.defect}, {result.sampler} {result.steps} steps",
        f"latency of one pair: median {result.latency_median:.3f} s, p95 {result.latency_p95:.3f} s; "
        f"peak memory {memory}; loading {result.load_seconds:.1f} s",
        *([said] if (said := result.power.to_text()) is not None else []),
        *(f"warning: {warning}" for warning in result.power.warnings),
        output.table("batch", "pairs/s", "ms/pair", *parts, rows=rows),
        *(f"wrote {file}" for file in files),
    )
    output.report({**asdict(result), "files": files}, text, json)
    if result.failed is not None:
        size, reason = result.failed
        raise CheckFailed(f"batch {size}: {reason}")


def _quality(
    bundle: Path,
    where: tuple[str, int | None],
    defect: str | None,
    onto: Path | None,
    out: Path | None,
    json: bool,
    **how: int,
) -> None:
    """`bench --quality`; where: backend and threads."""
    from seas_export.quality.bench import COLUMNS, check_quality, measure_quality, write_quality
    from seas_runtime import Generator

    if out is not None:
        check_quality(bundle, out)
    generator = Generator.open(bundle, *where)
    defects = () if defect is None else (defect,)
    result = measure_quality(generator, defects=defects, onto=onto, say=output.say, **how)
    files = [] if out is None else [write_quality(result, out)]
    text = output.group(
        f"{bundle} on {result.machine.in_words()}: {result.pairs} pairs of each defect",
        output.table(*COLUMNS, rows=result.table()),
        f"PSNR and mask IoU are against {result.rows[0].way.in_words()}, of pairs that pass both at once.",
        *(f"wrote {file}" for file in files),
    )
    output.report({**result.to_dict(), "files": files}, text, json)


def _batches(words: str) -> list[int]:
    """Batch sizes from `1,2,4,8`."""
    from seas_runtime.errors import UserError

    try:
        sizes = [int(word) for word in words.split(",")]
    except ValueError:
        sizes = []
    if not sizes or min(sizes) < 1:
        raise UserError(
            f"--batches: expected whole numbers of 1 or more with commas between, found {words!r}."
        )
    return sizes

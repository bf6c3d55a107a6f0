"""`doctor` and `engine`: what this machine can run, and a bundle compiled for the machine that will."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seas_export.cli import options, output
from seas_runtime.units import gib

if TYPE_CHECKING:
    from seas_export.machine.doctor import Job

Json = Annotated[bool, typer.Option("--json", help="Print the report as JSON to stdout.")]


@output.command("Run it again.")
def doctor(
    quick: Annotated[
        bool, typer.Option("--quick", help="Do not try whether packages import: they may be broken then.")
    ] = False,
    json: Json = False,
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

"""`doctor`: what this machine can run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from seas_export.cli import output

Json = Annotated[bool, typer.Option("--json", help="Print the report as JSON to stdout.")]


@output.command("Run it again.")
def doctor(json: Json = False) -> None:
    """What this machine can run: Python, cores, memory, GPU, backends, and what to install."""
    from seas_export.doctor import diagnose

    found = diagnose(Path())
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
        (job.commands, "ready" if job.ready else "; ".join(_lacking(job.missing, job.old)), job.install or "")
        for job in found.jobs
    ]
    auto = [(item.backend, "usable" if item.usable else "not usable", item.why) for item in found.auto]
    text = output.group(
        output.table("this machine", "", rows=list(rows)),
        output.table("to run", "it has", "to mend it", rows=list(jobs)),
        output.table("--backend auto takes the first", "that is usable", "", rows=list(auto)),
        *found.advice,
    )
    output.report(found.to_dict(), text, json)


def _lacking(missing: tuple[str, ...], old: tuple[str, ...]) -> list[str]:
    """What is wrong with a job's packages."""
    lines = [f"missing: {', '.join(missing)}"] if missing else []
    return lines + ([f"too old: {', '.join(old)}"] if old else [])


def _gib(size: int | None) -> str:
    """Bytes in GiB."""
    return "unknown" if size is None else f"{size / 2**30:.1f} GiB"

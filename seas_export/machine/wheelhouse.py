"""Collects what an offline box needs to run: wheels for its processor and Python, complete or not at all."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from email.parser import Parser
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

from seas_export.version import DISTRIBUTION, packaging
from seas_runtime.errors import CheckFailed, UserError
from seas_runtime.files import atomic_write_text, sha256_file
from seas_runtime.outputs.checking import check_out
from seas_runtime.outputs.kinds import Kind
from seas_runtime.outputs.replacing import replace_directory

_SOURCE = Path(__file__).resolve().parents[2]
_ON_CPU, _ON_GPU = {"runtime", "export", "engines", "dev"}, {"cuda", "gpu", "dev-gpu"}
_ROUNDS = 8  # pip follows dependencies itself; a round more for what it left out by its own markers


@dataclass(frozen=True)
class WheelTarget:
    """What a box is: Python version and the platform tags that its pip takes, newest first."""

    title: str
    python: str
    machine: str
    platforms: tuple[str, ...]
    of_the_system: str = ""
    """What the box's system brings and an environment on it must see, in words; empty where nothing is."""

    @property
    def environment(self) -> dict[str, str]:
        """The values of environment markers there."""
        return {
            "python_version": self.python,
            "python_full_version": f"{self.python}.0",
            "implementation_name": "cpython",
            "platform_python_implementation": "CPython",
            "os_name": "posix",
            "sys_platform": "linux",
            "platform_system": "Linux",
            "platform_machine": self.machine,
            "platform_release": "",
            "platform_version": "",
            "implementation_version": f"{self.python}.0",
        }


def _tags(machine: str, glibc: int) -> tuple[str, ...]:
    """The manylinux tags that a system with glibc 2.`glibc` takes."""
    newer = tuple(f"manylinux_2_{minor}_{machine}" for minor in range(glibc, 16, -1))
    return (*newer, f"manylinux2014_{machine}")


JETPACK = (
    "TensorRT and CUDA are JetPack's own and not in this folder: --system-site-packages lets this "
    "environment see them, which a plain one does not.\n"
)
TARGETS = {
    # Ubuntu 22.04, glibc 2.35, Python 3.10: NVIDIA's notes to JetPack 6.
    "jetson-jp6": WheelTarget("Jetson, JetPack 6", "3.10", "aarch64", _tags("aarch64", 35), JETPACK),
    "linux-arm64": WheelTarget("ARM64 Linux, glibc 2.28 or newer", "3.11", "aarch64", _tags("aarch64", 28)),
    "linux-x86": WheelTarget("x86-64 Linux, glibc 2.28 or newer", "3.11", "x86_64", _tags("x86_64", 28)),
}


@dataclass(frozen=True)
class Wheelhouse:
    """A folder of wheels that needs nothing else; sizes in bytes."""

    path: Path
    target: str
    python: str
    extras: tuple[str, ...]
    wheels: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {**asdict(self), "size": sum(self.wheels.values())}


def collect(
    target: str,
    out: Path,
    *,
    extras: tuple[str, ...] = ("runtime",),
    python: str | None = None,
    wheel: Path | None = None,
    force: bool = False,
) -> Wheelhouse:
    """Download the wheels of `seas-export[extras]` for a target into the folder `out`, with their hashes.

    Only ready-made wheels are taken: nothing is compiled for another processor. Every wheel's own
    requirements are then looked up in the folder, as they hold there. `wheel` is ours, where this is no clone
    and no index has it. Raises UserError for an unknown target, a folder that is not empty (without
    `force`) or no network, CheckFailed where a package has no wheel for the target.
    """
    if target not in TARGETS:
        known = "; ".join(f"{name} ({entry.title})" for name, entry in TARGETS.items())
        raise UserError(f"--target {target}: expected one of {known}")
    if wheel is not None and not wheel.is_file():
        raise UserError(f"--wheel {wheel}: expected the wheel of {DISTRIBUTION}, found no such file")
    check_out(out, WHEELHOUSE, "DIR", force=force, inputs={"--wheel": wheel})
    _check_extras(extras)
    box = TARGETS[target]
    if python is not None:
        if not re.fullmatch(r"3\.\d{1,2}", python):
            raise UserError(f"--python: expected a version such as 3.10, found {python!r}")
        box = replace(box, python=python)
    wanted = f"{DISTRIBUTION}[{','.join(extras)}]"
    with replace_directory(out, WHEELHOUSE) as fresh:
        ours = _own_wheel(fresh, wheel)
        _download(box, fresh, [f"{ours}[{','.join(extras)}]" if ours is not None else wanted])
        for _ in range(_ROUNDS):
            missing = missing_requirements(fresh, box, wanted)
            if not missing:
                break
            _download(box, fresh, missing)
        else:
            raise CheckFailed(f"{wanted}: for {box.title} these stay missing: {', '.join(missing)}")
        wheels = {file.name: file.stat().st_size for file in sorted(fresh.glob("*.whl"))}
        sums = "".join(f"{sha256_file(fresh / name)}  {name}\n" for name in wheels)
        atomic_write_text(fresh / "SHA256SUMS", sums)
        atomic_write_text(fresh / "INSTALL.txt", _instructions(box, wanted))
    return Wheelhouse(out, target, box.python, extras, wheels)


def _check_extras(extras: tuple[str, ...]) -> None:
    """Refuse extras of which each brings an ONNX Runtime: the later one overwrites the other's files."""
    without, with_gpu = set(extras) & _ON_CPU, set(extras) & _ON_GPU
    if without and with_gpu:
        raise UserError(
            f"--extras {','.join(extras)}: expected one ONNX Runtime, found onnxruntime by "
            f"{', '.join(sorted(without))} and onnxruntime-gpu by {', '.join(sorted(with_gpu))}. "
            "On a GPU name gpu in place of export and engines, dev-gpu in place of dev, cuda of runtime"
        )


def _listed(folder: Path) -> set[str] | None:
    """The wheels of which SHA256SUMS holds a line, and the two files beside them."""
    sums, words = folder / "SHA256SUMS", folder / "INSTALL.txt"
    if not words.is_file() or DISTRIBUTION not in words.read_text(encoding="utf-8", errors="replace"):
        return None
    lines = sums.read_text(encoding="utf-8", errors="replace").splitlines()
    return {sums.name, words.name, *(line[66:] for line in lines if line.endswith(".whl"))}


WHEELHOUSE = Kind("a wheelhouse", "SHA256SUMS", listed=_listed)


def missing_requirements(folder: Path, box: WheelTarget, wanted: str) -> list[str]:
    """Return the requirements, from `wanted` on, that no wheel in `folder` meets on the box.

    Environment markers are those of the box: pip itself evaluates them for the machine that it runs on.
    """
    requirement = packaging("requirements").Requirement
    canonical = packaging("utils").canonicalize_name
    have = {}
    for file in folder.glob("*.whl"):
        name, version, *_ = file.name.split("-")
        have[canonical(name)] = (version, _requirements(file))
    missing: list[str] = []
    seen: set[tuple[str, str]] = set()
    pending = [requirement(wanted)]
    while pending:
        need = pending.pop()
        name = canonical(need.name)
        if name not in have or not need.specifier.contains(have[name][0], prereleases=True):
            missing.append(f"{need.name}{need.specifier}")
            continue
        for extra in ("", *need.extras):
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            for line in have[name][1]:
                inner = requirement(line)
                if inner.marker is None or inner.marker.evaluate({**box.environment, "extra": extra}):
                    pending.append(inner)
    return sorted(set(missing))


def _requirements(wheel: Path) -> list[str]:
    """The Requires-Dist lines of a wheel."""
    try:
        with ZipFile(wheel) as opened:
            name = next(name for name in opened.namelist() if name.endswith(".dist-info/METADATA"))
            text = opened.read(name).decode("utf-8")
    except (BadZipFile, StopIteration, OSError) as error:
        raise UserError(f"{wheel}: expected a wheel, found: {error or 'no METADATA'}") from error
    return Parser().parsestr(text).get_all("Requires-Dist", [])


def _own_wheel(folder: Path, wheel: Path | None) -> Path | None:
    """Put our own wheel into the folder: the one given, or one built here; None leaves it to pip."""
    if wheel is not None:
        target = folder / wheel.name
        target.write_bytes(wheel.read_bytes())
        return target
    if not (_SOURCE / "pyproject.toml").is_file():
        return None
    _pip("wheel", "--no-deps", "--wheel-dir", str(folder), str(_SOURCE))
    return next(folder.glob(f"{DISTRIBUTION.replace('-', '_')}-*.whl"))


def _download(box: WheelTarget, folder: Path, requirements: list[str]) -> None:
    platforms = [word for tag in box.platforms for word in ("--platform", tag)]
    _pip(
        "download",
        "--dest",
        str(folder),
        "--only-binary=:all:",
        "--implementation",
        "cp",
        "--python-version",
        box.python,
        "--find-links",
        str(folder),
        *platforms,
        *requirements,
    )


def _pip(*words: str) -> None:
    command = [*_pip_command(), "--disable-pip-version-check", "--quiet", *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        raise UserError(f"pip: cannot be run here: {error}") from error
    if done.returncode == 0:
        return
    lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
    said = next((line for line in lines if line.startswith("ERROR")), lines[-1] if lines else "nothing")
    if "No matching distribution" in done.stderr or "Could not find a version" in done.stderr:
        raise CheckFailed(f"pip {words[0]}: no ready-made wheel for this target: {said}")
    raise UserError(f"pip {words[0]}: expected it to work, it said: {said}; is there a network, and pip?")


def _pip_command() -> list[str]:
    """This environment's pip, or, where uv made it without one, the one on the path."""
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    tool = shutil.which("pip") or shutil.which("pip3")
    if tool is None:
        raise UserError(
            "pip: expected it here to download wheels, found none. Install it: python -m ensurepip"
        )
    return [tool]


def _instructions(box: WheelTarget, wanted: str) -> str:
    return (
        f"For {box.title}, Python {box.python}. Copy this folder to the box, then:\n\n"
        f"    sha256sum --check SHA256SUMS\n"
        f"    python{box.python} -m venv {'--system-site-packages ' if box.of_the_system else ''}seas\n"
        f"    seas/bin/pip install --no-index --find-links . '{wanted}'\n"
        f"    seas/bin/seas-export doctor\n\n"
        "Where venv is not there: sudo apt install python3-venv. pip outside of an environment fails on "
        f"newer systems.\n{box.of_the_system}"
    )

"""The command that installs our extras on this machine."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

DISTRIBUTION = "seas-export"
_SOURCE = Path(__file__).resolve().parents[3]


def install(*extras: str) -> str:
    """Return the command that installs these extras here, and where it works: see `command` and `where`."""
    return f"{command(*extras)} {where()}"


def command(*extras: str) -> str:
    """Return the command that installs these extras here.

    No package index has our distribution yet. So it names the clone that this runs from or, where this is
    none, the wheel that a clone writes.
    """
    wanted = f"[{','.join(extras)}]" if extras else ""
    return f"pip install -e '.{wanted}'" if clone_folder() else f"pip install '{wheel_name()}{wanted}'"


def where() -> str:
    """Return what `command` needs, as the end of a sentence: the clone or the wheel; an environment, where
    the system's Python takes no packages (PEP 668)."""
    clone = clone_folder()
    words = "with the wheel that `make wheel` writes to dist/ in a clone"
    words = f"in {clone}" if clone is not None else f"{words} (no package index has {DISTRIBUTION})"
    if is_externally_managed():
        words += "; first make a virtual environment and activate it: python3 -m venv seas"
    return words


def one_onnxruntime(*extras: str) -> str:
    """Return the commands that leave the ONNX Runtime of these extras and no other.

    All go first: they share their files, and what is left of one after the other is removed does not run.
    """
    return f"pip uninstall --yes onnxruntime onnxruntime-gpu, then {install(*extras)}"


def clone_folder() -> Path | None:
    """Return the clone that this code runs from, None where it is installed from a wheel."""
    files = (_SOURCE / "pyproject.toml", _SOURCE / "Makefile")
    return _SOURCE if all(file.is_file() for file in files) else None


def wheel_name() -> str:
    """Return the name of our wheel of this version."""
    from importlib import metadata  # what `--help` waits for else

    try:
        version = metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        version = "VERSION"
    return f"{DISTRIBUTION.replace('-', '_')}-{version}-py3-none-any.whl"


def is_externally_managed() -> bool:
    """Whether pip installs nothing into this Python, as it belongs to the system and is no environment."""
    marker = Path(sysconfig.get_path("stdlib", sysconfig.get_default_scheme())) / "EXTERNALLY-MANAGED"
    return sys.prefix == sys.base_prefix and marker.is_file()

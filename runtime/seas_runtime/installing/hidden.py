"""Packages that the system has and a virtual environment does not see, as JetPack's TensorRT."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

SYSTEM_FOLDERS = (
    "/usr/lib/python{version}/dist-packages",
    "/usr/local/lib/python{version}/dist-packages",
    "/usr/lib/python3/dist-packages",
    "/usr/lib/python{version}/site-packages",
    "/usr/local/lib/python{version}/site-packages",
)
_VERSION = re.compile(r"python(3\.\d+)")


def hidden_package(name: str, root: Path = Path("/")) -> str:
    """Say why a module that the system has cannot be imported here; empty where it can, or is not there.

    Args:
        name: the module.
        root: where the system's folders lie, for tests.
    """
    try:
        if importlib.util.find_spec(name) is not None:
            return ""
    except ValueError:  # imported already, by something that says nothing of itself
        return ""
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    folder = _find(name, root, own)
    if folder is None:
        return ""
    found = _VERSION.search(str(folder))
    python = found[1] if found else own
    if python != own:
        return (
            f"the system's {name} in {folder} is for Python {python}, and this is {own}: "
            f"make the environment with python{python} -m venv --system-site-packages"
        )
    if sys.prefix != sys.base_prefix:
        return (
            f"the system's {name} in {folder} is hidden from this virtual environment: make it anew with "
            f"python{python} -m venv --system-site-packages, or write "
            f"include-system-site-packages = true into {Path(sys.prefix) / 'pyvenv.cfg'}"
        )
    return f"the system's {name} is in {folder}, where {sys.executable} does not look: use python{python}"


def _find(name: str, root: Path, own: str) -> Path | None:
    """The folder that holds the module, one for this Python's version first."""
    for version in (own, "3.*"):
        for pattern in SYSTEM_FOLDERS:
            for folder in sorted(root.glob(pattern.format(version=version).lstrip("/"))):
                if (folder / name).is_dir() or any(folder.glob(f"{name}.*")):
                    return folder
    return None

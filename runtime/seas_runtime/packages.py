"""What this Python imports, for another one too, and packages that do not import: how they are mended."""

from __future__ import annotations

import os
import sys
import traceback
from importlib import metadata
from pathlib import Path

_OURS = ("seas_train", "seas_export", "seas_engines", "seas_runtime")
_HOSTS = ("torch", "diffusers", "transformers", "accelerate", "huggingface_hub", "numpy")
"""They import others or are called by them, and are to blame only where nobody else is in sight."""
_EXCERPT = 400


def child_environment() -> dict[str, str]:
    """Return an environment in which another Python imports what this one does, installed or not."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def broken(package: str, error: BaseException) -> str:
    """Say that a package does not import, why, and how it is mended."""
    package = next(iter(metadata.packages_distributions().get(package, ())), package)
    # What it needs comes along only where that is missing: it could bring another PyTorch.
    alone = "" if isinstance(error, ModuleNotFoundError) else "--no-deps "
    return (
        f"the package {package} is installed but broken ({type(error).__name__}: {excerpt(str(error))}). "
        f"Install the version that fits the others here: pip install --force-reinstall {alone}{package}; "
        f"or remove it: pip uninstall {package}"
    )


def broken_import(error: BaseException) -> str | None:
    """Say which installed package an error comes from if it was raised as one was imported; else None."""
    found = culprit(error)
    return broken(*found) if found else None


def culprit(error: BaseException) -> tuple[str, BaseException] | None:
    """Return the package whose import raised an error, and the first cause; None for other errors."""
    seen: BaseException | None = error
    found: tuple[str, BaseException] | None = None
    while seen is not None:
        # A module was at work; what it called may be another's. The first cause tells most.
        frames = [frame for frame in traceback.extract_tb(seen.__traceback__) if frame.name == "<module>"]
        packages = [package for frame in frames if (package := _package_of(Path(frame.filename)))]
        packages = [package for package in packages if package not in _HOSTS] or packages
        if packages and isinstance(seen, ModuleNotFoundError) and "." in (seen.name or ""):
            packages = [str(seen.name).partition(".")[0]]  # which is there, and is not whole
        found = (packages[-1], seen) if packages else found
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return found


def excerpt(text: str) -> str:
    """A message in one line; of a long one its beginning and its end, where the reason stands."""
    line = " ".join(text.split())
    return line if len(line) <= 2 * _EXCERPT else f"{line[:_EXCERPT]} ... {line[-_EXCERPT:]}"


def _package_of(file: Path) -> str | None:
    """The installed package, but for ours, that a file belongs to."""
    for folder in ("site-packages", "dist-packages"):
        if folder in file.parts[:-1]:
            name = file.parts[len(file.parts) - file.parts[::-1].index(folder)].removesuffix(".py")
            return None if name in _OURS else name
    return None

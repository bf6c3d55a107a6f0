"""The versions of what is running."""

from __future__ import annotations

import importlib
from importlib import metadata
from typing import Any

DISTRIBUTION = "seas-export"


def version() -> str:
    """The installed version, or `0+source` where the code runs from a source tree without an installation."""
    return installed(DISTRIBUTION) or "0+source"


def installed(name: str) -> str | None:
    """A distribution's version, None where it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def packaging(module: str) -> Any:
    """A module of the packaging library, which pip brings along where it is not installed by itself."""
    try:
        return importlib.import_module(f"packaging.{module}")
    except ImportError:
        return importlib.import_module(f"pip._vendor.packaging.{module}")

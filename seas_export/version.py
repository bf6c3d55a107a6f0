"""The version of what is running."""

from __future__ import annotations

from importlib import metadata

DISTRIBUTION = "seas-export"


def version() -> str:
    """The installed version, or `0+source` where the code runs from a source tree without an installation."""
    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return "0+source"

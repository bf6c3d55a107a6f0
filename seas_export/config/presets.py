"""Configuration files for the published data sets, to copy."""

from __future__ import annotations

from pathlib import Path

from seas_runtime.errors import UserError
from seas_runtime.files import atomic_write_text
from seas_runtime.outputs.checking import check_file

FOLDER = Path(__file__).parent / "presets"
PRESETS = {"mvtec": "MVTec AD", "visa": "VisA", "mvtec3d": "MVTec 3D AD"}
"""Name of each preset, which is its layout's too, and the data set that it is for."""


def read_preset(name: str) -> str:
    """Return a preset's YAML text; UserError for a name that is none."""
    if name not in PRESETS:
        known = ", ".join(f"{key} ({title})" for key, title in PRESETS.items())
        raise UserError(f"preset {name!r}: there is none of that name; expected one of {known}")
    return (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")


def write_preset(name: str, file: Path, force: bool = False) -> None:
    """Write a preset's YAML file for a user to change.

    Raises UserError if a file is there already: without `force`, and with it if it is no preset as it was
    written.
    """
    text = read_preset(name)
    check_file(file, "a preset as it was written", _is_preset, "--out", force=force)
    atomic_write_text(file, text)


def _is_preset(file: Path) -> bool:
    """Whether a file holds a preset and nobody's changes."""
    found = file.read_bytes()
    return any(found == read_preset(name).encode("utf-8") for name in PRESETS)

"""The methods that export knows: a line each. A module is imported when a checkpoint names it."""

from __future__ import annotations

import importlib

from seas_export.methods.contract import ExportMethod
from seas_runtime.errors import UserError

METHODS = {
    "seas": "seas_export.methods.seas.method",
    "anogen": "seas_export.methods.anogen.method",
    "anomalydiffusion": "seas_export.methods.anomalydiffusion.method",
    "anomalyxfusion": "seas_export.methods.anomalyxfusion.method",
}
"""A method's name and the module whose `METHOD` it is."""


def find_method(name: str) -> ExportMethod:
    """Return how checkpoints of a method are exported; UserError for a method that cannot be."""
    if name not in METHODS:
        raise UserError(f"method: expected one of {', '.join(METHODS)}, found {name!r}; update seas-export")
    method: ExportMethod = importlib.import_module(METHODS[name]).METHOD
    return method

"""The methods that a bundle may be of: a line each. A module is imported when a bundle names it."""

from __future__ import annotations

import importlib

from seas_runtime.methods.contract import Method

METHODS = {
    "seas": "seas_runtime.methods.seas",
    "anogen": "seas_runtime.methods.anogen.method",
    "anomalydiffusion": "seas_runtime.methods.anomalydiffusion.method",
    "anomalyxfusion": "seas_runtime.methods.anomalyxfusion.method",
}
"""A method's name and the module whose `METHOD` it is."""


def find_method(name: str) -> Method:
    """Return the method called `name`, one of `METHODS`."""
    method: Method = importlib.import_module(METHODS[name]).METHOD
    return method

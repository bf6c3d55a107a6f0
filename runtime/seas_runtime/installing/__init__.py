"""How to install what is missing here, in words: one place for every message that advises it."""

from seas_runtime.installing.advice import command, install, is_externally_managed, one_onnxruntime, where
from seas_runtime.installing.hidden import hidden_package

__all__ = ["command", "hidden_package", "install", "is_externally_managed", "one_onnxruntime", "where"]

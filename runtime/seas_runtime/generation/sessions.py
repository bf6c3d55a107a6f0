"""A bundle's graphs, loaded on one backend: side by side where it can, or when first asked for."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from seas_runtime.backends.contract import Backend, Session, check_signature
from seas_runtime.bundle.reading import Bundle


class Sessions:
    """The loaded graphs by name; one that is not there yet is loaded when it is asked for."""

    def __init__(self, bundle: Bundle, backend: Backend[Any]) -> None:
        self._bundle, self._backend = bundle, backend
        self._loaded: dict[str, Session[Any]] = {}

    def load(self, names: Sequence[str]) -> None:
        """Load graphs, each in a thread of its own where the backend allows; UserError for a broken one."""
        with ThreadPoolExecutor(len(names) if self._backend.loads_at_once else 1) as pool:
            for name, session in zip(names, pool.map(self._open, names), strict=True):
                self._loaded[name] = session

    def unload(self) -> None:
        """Let go of all: what they hold of a device's memory goes with the last call that is bound to one."""
        self._loaded.clear()

    def __getitem__(self, name: str) -> Session[Any]:
        if name not in self._loaded:
            self._loaded[name] = self._open(name)
        return self._loaded[name]

    def _open(self, name: str) -> Session[Any]:
        session = self._backend.load(self._bundle, name)
        check_signature(self._bundle.graph_path(name), self._bundle.manifest.graphs[name], session)
        return session

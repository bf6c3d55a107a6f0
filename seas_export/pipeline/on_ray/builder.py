"""What runs on a cluster's machines: one product's build, as a process of its own."""

from __future__ import annotations

import contextlib
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from seas_export.pipeline.ledger import HELD
from seas_export.version import version
from seas_runtime.packages import child_environment

CONFIG = "{config}"
"""Stands in a command for the file of its configuration, which each machine writes for itself."""


@dataclass(frozen=True)
class Seen:
    """What a machine says of itself before any work."""

    host: str
    version: str
    missing: tuple[str, ...]
    """The paths asked for that are not there."""


class Builder:
    """Builds a product; an actor, whose end ends the build."""

    def look(self, paths: tuple[str, ...]) -> Seen:
        """Say whether paths are there."""
        return Seen(platform.node(), version(), tuple(path for path in paths if not Path(path).exists()))

    def build(
        self, words: list[str], config: str, folder: str, patience: float = 0.0
    ) -> tuple[int, list[str]]:
        """Run Python with `words` in a folder; return how it ended, and what it wrote to stderr.

        config: the text of the file that stands in `words` as CONFIG. patience: for so many seconds a build
        that another process holds is tried again: one that was told to end may still be about it.
        """
        until = time.monotonic() + patience
        while True:
            code, lines = self._build(words, config, folder)
            if code == 0 or time.monotonic() > until or not any(HELD in line for line in lines):
                return code, lines
            time.sleep(2.0)

    def _build(self, words: list[str], config: str, folder: str) -> tuple[int, list[str]]:
        with tempfile.TemporaryDirectory() as place:
            file = Path(place) / "all.yaml"
            file.write_text(config, encoding="utf-8")
            environment = child_environment()
            environment.pop("OMP_NUM_THREADS", None)  # Ray's, of one thread where no core was asked for
            ended = subprocess.run(
                [sys.executable, *(str(file) if word == CONFIG else word for word in words)],
                cwd=folder,
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                preexec_fn=_end_with_parent if sys.platform == "linux" else None,
                check=False,
            )
        return ended.returncode, ended.stderr.decode("utf-8", "replace").splitlines()


def _end_with_parent() -> None:
    """Ask Linux to end this process with the one that started it, which Ray ends with -9."""
    import ctypes
    import signal

    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(1, int(signal.SIGTERM), 0, 0, 0)  # PR_SET_PDEATHSIG

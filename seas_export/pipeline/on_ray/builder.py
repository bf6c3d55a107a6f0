"""What runs on a cluster's machines: one product's build, as a process of its own."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from seas_export.version import version

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

    def build(self, words: list[str], config: str, folder: str) -> tuple[int, list[str]]:
        """Run Python with `words` in a folder; return how it ended, and what it wrote to stderr.

        config: the text of the file that stands in `words` as CONFIG.
        """
        with tempfile.TemporaryDirectory() as place:
            file = Path(place) / "all.yaml"
            file.write_text(config, encoding="utf-8")
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
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

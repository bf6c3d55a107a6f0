"""Opens hostile bundles in a process of its own, each on one backend, and says what came of it.

    python -m tests.runtime.hostile_worker BASE FOLDER PART PARTS BACKEND

A line for each: its name, how it ended, seconds, and the process's peak memory so far in bytes.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path

from seas_runtime.backends.cores import peak_memory
from seas_runtime.errors import CheckFailed, UserError
from seas_runtime.generation.generator import Generator
from tests.runtime.hostile import attacks


def outcome(bundle: Path, backend: str) -> tuple[str, str]:
    """Open a bundle, and make a pair if that works; return how it ended and with which message."""
    try:
        ours = Generator.open(bundle, backend, threads=1)
        next(ours.generate("stain", 1, gate=False))
    except UserError as error:
        return "refused", str(error)
    except CheckFailed as error:
        return "failed", str(error)
    return "ran", ""


def main(base: Path, folder: Path, part: int, parts: int, backend: str) -> None:
    good = shutil.copytree(base, folder / "good")
    assert outcome(good, backend) == ("ran", "")
    print(json.dumps(["", "ran", 0.0, peak_memory(), ""]), flush=True)
    for place, (name, attack) in enumerate(attacks(base).items()):
        if place % parts != part:
            continue
        bundle = shutil.copytree(base, folder / f"{backend.split(':')[0]}{place}")
        attack(bundle)
        began = time.perf_counter()
        how, message = outcome(bundle, backend)
        seconds = time.perf_counter() - began
        print(json.dumps([name, how, seconds, peak_memory(), message]), flush=True)
        shutil.rmtree(bundle)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5])

"""What a placed pair costs in a photograph of 20 megapixels, beside a whole picture of the same bundle.

    python benchmarks/camera.py out/bottle/bundle --backend cpu --pairs 3

The photograph is grey grain; the placement a disc of 12 pixels in its middle. Whole pictures and placed pairs
(at strength 1, all of the steps) are made in processes of their own, one after the other; seconds are the
median of `--pairs` after one that is not counted, peak memory is that of the process. Reading the photograph
and writing the result as PNG are timed apart. Exits with 1 where a placed pair takes more than 1.3 times the
seconds or 1.5 times the memory.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from machine import result_parser, write_entry
from numpy.typing import NDArray

from seas_runtime import Generator
from seas_runtime.methods.request import Placing
from seas_runtime.methods.seas_options import SeasOptions
from seas_runtime.photographs.png import encode_png
from seas_runtime.photographs.reading import read_photograph

WIDTH, HEIGHT, ACROSS = 5472, 3648, 12
SECONDS_BAR, MEMORY_BAR = 1.3, 1.5
KINDS = ("whole", "placed")


def photograph(seed: int = 0) -> NDArray[np.uint8]:
    """Return grey grain [HEIGHT, WIDTH, 3]."""
    grain = np.random.default_rng(seed).normal(120, 6, (HEIGHT, WIDTH, 1))
    return np.broadcast_to(grain.clip(0, 255), (HEIGHT, WIDTH, 3)).astype(np.uint8)


def placement() -> NDArray[np.bool_]:
    """Return a mask [HEIGHT, WIDTH] with a disc of ACROSS pixels in its middle."""
    mask = np.zeros((HEIGHT, WIDTH), np.bool_)
    place = np.arange(ACROSS) - (ACROSS - 1) / 2
    disc = place[:, None] ** 2 + place**2 <= (ACROSS / 2) ** 2
    top, left = HEIGHT // 2, WIDTH // 2
    mask[top : top + ACROSS, left : left + ACROSS] = disc
    return mask


def measure(kind: str, file: Path, arguments: Any) -> dict[str, Any]:
    """Make pairs of one kind in this process; return seconds and the process's peak memory."""
    generator = Generator.open(arguments.bundle, backend=arguments.backend)
    defect = generator.manifest.defects[0]
    sampling = {"gate": False, **({"steps": arguments.steps} if arguments.steps else {})}
    seconds, found, mask = [], {}, placement()
    for index in range(arguments.pairs + 1):
        if kind == "whole":
            began = time.perf_counter()
            next(iter(generator.generate(defect, 1, seed=index, **sampling)))
            seconds.append(time.perf_counter() - began)
            continue
        began = time.perf_counter()
        pixels = read_photograph(file).pixels
        read = time.perf_counter()
        pair = generator.place(
            pixels, defect, mask, index, placing=Placing(), options=SeasOptions(strength=1.0), **sampling
        )
        made = time.perf_counter()
        encode_png(pair.image)
        seconds.append(made - read)
        found = {"reading_seconds": read - began, "writing_seconds": time.perf_counter() - made}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"seconds": float(np.median(seconds[1:])), "peak_gib": round(peak, 3), **found}


def main() -> int:
    """Measure both kinds, print the ratios, write the figures."""
    parser = result_parser("camera", __doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--name", default="micro", help="what the figures are kept under")
    parser.add_argument("--backend", default="cpu")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--steps", type=int, default=None, help="one of the bundle's schedules")
    parser.add_argument("--child", nargs=2, default=None, help="measure a kind in this process: KIND FILE")
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(measure(arguments.child[0], Path(arguments.child[1]), arguments)))
        return 0
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "photograph.png"
        file.write_bytes(encode_png(photograph()))
        for kind in KINDS:
            words = [sys.executable, __file__, *sys.argv[1:], "--child", kind, str(file)]
            done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
            figures[kind] = json.loads(done.stdout.splitlines()[-1])
            print(kind, figures[kind])
    ratios = {
        key: round(figures["placed"][key] / figures["whole"][key], 3) for key in ("seconds", "peak_gib")
    }
    passed = ratios["seconds"] <= SECONDS_BAR and ratios["peak_gib"] <= MEMORY_BAR
    print(f"placed by whole: {ratios}: {'passed' if passed else 'MISSED'}")
    write_entry(
        arguments.out,
        arguments.name,
        {
            "benchmark": "camera",
            "photograph": [WIDTH, HEIGHT],
            "defect_pixels": ACROSS,
            "backend": arguments.backend,
            "steps": arguments.steps,
            "pairs": arguments.pairs,
            **figures,
            "ratios": ratios,
            "bars": {"seconds": SECONDS_BAR, "peak_gib": MEMORY_BAR},
            "passed": passed,
        },
    )
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())

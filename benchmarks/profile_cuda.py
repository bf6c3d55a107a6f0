"""Where a GPU's time goes when it makes pairs: its kernels, by what they do.

    python benchmarks/profile_cuda.py BUNDLE [--batch 1 8] [--out FILE]

Pairs are made as `generate` makes them, with the backend `cuda`; PyTorch's profiler watches one batch after
two that warm up. Names are the kernels' own; kinds are told by them.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from machine import result_parser, write_result

from seas_runtime.generation.generator import Generator

KINDS = (
    ("attention", r"sdpa|flash|fmha|attention|softmax"),  # cuDNN's is called fprop, as its convolutions are
    ("convolution", r"conv(?!ert)|fprop|implicit"),
    ("group norm", r"groupnorm"),
    ("layer norm", r"layernorm"),
    ("matrix product", r"gemm|nvjet|cutlass|splitk"),
    ("copy", r"memcpy|memset"),
)
SHOWN = 20


def kind_of(name: str) -> str:
    """Return what a kernel does."""
    return next((kind for kind, words in KINDS if re.search(words, name.lower())), "elementwise and layout")


def profile(generator: Generator, batch: int) -> dict[str, Any]:
    """Return the kernels of one batch: milliseconds a pair and launches a pair, by kind and by name."""
    import torch
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as watch

    defect = generator.manifest.defects[0]

    def make(first: int) -> None:
        list(generator.generate(defect, batch, start=first * batch, batch=batch, gate=False))

    for first in range(2):
        make(first)
    with watch(activities=[ProfilerActivity.CUDA]) as seen:
        make(2)
        torch.cuda.synchronize()
    kinds: dict[str, list[float]] = {}
    names: dict[str, list[float]] = {}
    for event in seen.events():
        if event.device_type != torch.autograd.DeviceType.CUDA:
            continue
        for table, key in ((kinds, kind_of(event.name)), (names, event.name[:160])):
            entry = table.setdefault(key, [0.0, 0.0])
            entry[0] += event.device_time / 1000 / batch
            entry[1] += 1 / batch
    return {
        "batch": batch,
        "milliseconds": round(sum(entry[0] for entry in kinds.values()), 3),
        "kinds": _table(kinds),
        "kernels": _table(names, SHOWN),
    }


def _table(entries: dict[str, list[float]], most: int | None = None) -> list[dict[str, Any]]:
    ordered = sorted(entries.items(), key=lambda item: -item[1][0])[:most]
    return [
        {"name": name, "milliseconds": round(time, 3), "launches": round(count, 1)}
        for name, (time, count) in ordered
    ]


def main() -> int:
    """Measure, write, print."""
    parser = result_parser("profile_cuda", __doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--backend", default="cuda")
    options = parser.parse_args()
    import torch

    torch.zeros(1, device="cuda")  # its libraries first: the profiler has to see what comes
    generator = Generator.open(options.bundle, options.backend)
    rows = [profile(generator, batch) for batch in options.batch]
    for row in rows:
        print(f"batch {row['batch']}: {row['milliseconds']} ms of kernels a pair")
        for entry in row["kinds"]:
            print(f"  {entry['milliseconds']:9.2f} ms {entry['launches']:7.0f} x  {entry['name']}")
        for entry in row["kernels"][:10]:
            print(f"    {entry['milliseconds']:7.2f} ms {entry['launches']:7.0f} x  {entry['name'][:100]}")
    identity = generator.backend.identity(generator.bundle)
    write_result(
        options.out,
        {
            "benchmark": "profile_cuda",
            "base": generator.manifest.provenance["base"]["name"],
            "image": generator.manifest.image.width,
            "backend": {"name": generator.backend.name, **identity},
            "batches": rows,
        },
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

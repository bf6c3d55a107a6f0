"""The device's matrix rate: what no generation can exceed, measured by large matrix products."""

from __future__ import annotations

import time
from typing import Any

SIZE = 4096
REPEATS = 5
DTYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}


def matrix_rates(device: str, threads: int, precisions: tuple[str, ...]) -> dict[str, float]:
    """Return TFLOP/s of a [SIZE, SIZE] product in each precision, the best of REPEATS, by PyTorch."""
    import torch

    torch.set_num_threads(threads)
    return {name: _rate(torch, device, getattr(torch, DTYPES[name])) for name in precisions}


def _rate(torch: Any, device: str, dtype: Any) -> float:
    left = torch.randn(SIZE, SIZE, device=device).to(dtype)
    right = torch.randn(SIZE, SIZE, device=device).to(dtype)
    best = float("inf")
    with torch.inference_mode():
        for _ in range(REPEATS + 1):  # the first one warms up, and is never the best
            began = time.perf_counter()
            torch.mm(left, right)
            if device != "cpu":
                torch.cuda.synchronize()
            best = min(best, time.perf_counter() - began)
    return round(float(2 * SIZE**3 / best / 1e12), 4)

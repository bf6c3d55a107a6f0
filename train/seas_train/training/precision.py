"""Precision of training: the loop's, and bfloat16 on CPUs that compute it natively."""

from __future__ import annotations

import contextlib
from enum import Enum
from typing import Any

import torch


class Precision(str, Enum):
    """Precision of the forward pass; weights and optimizer stay in float32."""

    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"


def computes_bfloat16() -> bool:
    """Whether this CPU has instructions for bfloat16; without them it is slower than float32."""
    check = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(check is not None and check())


def native_autocast(device: torch.device, wanted: bool) -> contextlib.AbstractContextManager[Any]:
    """Autocast to bfloat16 where it is wanted and `device` is a CPU that computes it; else do nothing."""
    if wanted and device.type == "cpu" and computes_bfloat16():
        return torch.autocast("cpu", torch.bfloat16)
    return contextlib.nullcontext()

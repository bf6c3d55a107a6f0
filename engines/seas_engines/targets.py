"""What a bundle can be built for, and what follows from that choice."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from seas_runtime.errors import UserError


class Target(str, Enum):
    """The backend that runs a bundle's graphs."""

    CPU = "cpu"
    OPENVINO = "openvino"
    CUDA = "cuda"
    RTX = "rtx"
    TENSORRT = "tensorrt"


class Precision(str, Enum):
    """The dtype of weights and activations; latents and tables stay in float32."""

    FP32 = "fp32"
    FP16 = "fp16"


@dataclass(frozen=True)
class TargetSpec:
    """What a target asks of the graphs.

    Attributes:
        opset: ONNX operator set that the graphs are written in.
        precisions: which precisions it runs.
        fused_attention: whether attention in the composed graphs becomes ONNX Runtime's MultiHeadAttention.
        builds_engine: whether graphs are compiled on the device before they run.
        available: whether this version exports for it.
    """

    opset: int
    precisions: tuple[Precision, ...]
    fused_attention: bool
    builds_engine: bool
    available: bool


_BOTH = (Precision.FP32, Precision.FP16)

TARGETS: dict[Target, TargetSpec] = {
    # Opset 20 is the first with Gelu, which saves the U-Net four nodes a layer.
    Target.CPU: TargetSpec(20, _BOTH, fused_attention=True, builds_engine=False, available=True),
    Target.OPENVINO: TargetSpec(20, _BOTH, fused_attention=False, builds_engine=True, available=False),
    Target.CUDA: TargetSpec(20, _BOTH, fused_attention=False, builds_engine=False, available=False),
    Target.RTX: TargetSpec(20, _BOTH, fused_attention=False, builds_engine=True, available=False),
    Target.TENSORRT: TargetSpec(20, _BOTH, fused_attention=False, builds_engine=True, available=False),
}


def require_target(target: str, precision: str) -> tuple[Target, Precision, TargetSpec]:
    """Return target and precision as enums, with the target's spec.

    Raises:
        UserError: unknown target or precision, a target that is not supported yet, or a precision that it
        does not run.
    """
    known = ", ".join(item.value for item in Target)
    if target not in {item.value for item in Target}:
        raise UserError(f"target: expected one of {known}, found {str(target)!r}")
    chosen = Target(target)
    spec = TARGETS[chosen]
    if not spec.available:
        available = ", ".join(item.value for item, other in TARGETS.items() if other.available)
        raise UserError(f"target {chosen.value}: not supported yet; choose one of: {available}")
    if precision not in {item.value for item in Precision}:
        words = ", ".join(item.value for item in Precision)
        raise UserError(f"precision: expected one of {words}, found {str(precision)!r}")
    if Precision(precision) not in spec.precisions:
        runs = ", ".join(item.value for item in spec.precisions)
        raise UserError(f"target {chosen.value}: runs {runs}, not {precision}; choose one of those")
    return chosen, Precision(precision), spec

"""The targets that a bundle can be built for, and their properties; in words in `docs/targets.md`."""

from __future__ import annotations

import re
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
    INT8 = "int8"
    """Weights, and what goes into products where that bears it; the rest is float32."""


@dataclass(frozen=True)
class TargetSpec:
    """How export writes a target's graphs, and whether engines are built from them."""

    opset: int
    """ONNX operator set of the bundle's graphs; engines are built from that of their dialect
    (`seas_engines.targets.dialect`)."""
    precisions: tuple[Precision, ...]
    """Those that it runs; engines are built in the first where none is given."""
    fused_attention: bool
    """Whether attention in the composed graphs becomes ONNX Runtime's MultiHeadAttention."""
    split_upsampling: bool
    """Whether upsampling and its convolution in the composed graphs become four convolutions of the small
    image; measured on CPUs alone."""
    builds_engine: bool
    """Whether graphs are compiled before they run."""


_FULL_FIRST = (Precision.FP32, Precision.FP16, Precision.INT8)
_HALF_FIRST = (Precision.FP16, Precision.FP32, Precision.INT8)
_NO_INT8 = (Precision.FP16, Precision.FP32)  # ONNX Runtime's CUDA provider multiplies floats alone

# Every bundle is written in opset 20, the first with Gelu, which saves the U-Net four nodes a layer: ONNX
# Runtime 1.18, OpenVINO and TensorRT 10.3 read it, and newer compilers are given the newer operators when
# their engines are built.
TARGETS: dict[Target, TargetSpec] = {
    Target.CPU: TargetSpec(20, _FULL_FIRST, fused_attention=True, split_upsampling=True, builds_engine=False),
    Target.OPENVINO: TargetSpec(
        20, _FULL_FIRST, fused_attention=False, split_upsampling=True, builds_engine=False
    ),
    Target.CUDA: TargetSpec(20, _NO_INT8, fused_attention=True, split_upsampling=False, builds_engine=True),
    Target.RTX: TargetSpec(
        20, _HALF_FIRST, fused_attention=False, split_upsampling=False, builds_engine=True
    ),
    Target.TENSORRT: TargetSpec(
        20, _HALF_FIRST, fused_attention=False, split_upsampling=False, builds_engine=True
    ),
}

RTX_CAPABILITIES = {
    "7.5": "Turing: RTX 20, T4",
    "8.0": "Ampere: A100, A30",
    "8.6": "Ampere: RTX 30, A10, A40",
    "8.9": "Ada: RTX 40, L4, L40",
    "12.0": "Blackwell: RTX 50, RTX PRO",
    "12.1": "Blackwell: GB10",
}
"""Compute capabilities that TensorRT-RTX builds for; never a Jetson or a Hopper."""
_NOT_RTX = {
    "8.7": "Jetson Orin",
    "9.0": "Hopper: H100, H200",
    "10.0": "Blackwell: B200",
    "11.0": "Jetson Thor",
}


def require_target(target: str, precision: str) -> tuple[Target, Precision, TargetSpec]:
    """Return target and precision as enums, with the target's spec.

    Raises:
        UserError: unknown target or precision, or a precision that the target does not run.
    """
    chosen, spec = require_known_target(target)
    return chosen, require_precision(chosen, precision), spec


def require_known_target(target: str) -> tuple[Target, TargetSpec]:
    """Return a target as an enum, with its spec; UserError for an unknown one."""
    if target not in {item.value for item in Target}:
        known = ", ".join(item.value for item in Target)
        raise UserError(f"target: expected one of {known}, found {str(target)!r}")
    return Target(target), TARGETS[Target(target)]


def require_precision(target: Target, precision: str) -> Precision:
    """Return a precision as an enum; UserError for an unknown one, or one that the target does not run."""
    if precision not in {item.value for item in Precision}:
        words = ", ".join(item.value for item in Precision)
        raise UserError(f"precision: expected one of {words}, found {str(precision)!r}")
    runs = TARGETS[target].precisions
    if Precision(precision) not in runs:
        words = ", ".join(item.value for item in runs)
        raise UserError(f"target {target.value}: runs {words}, not {precision}; choose one of those")
    return Precision(precision)


def rtx_devices(text: str) -> tuple[str, ...]:
    """Read `8.6,8.9,12.0` (or `86`, `sm_86`) as compute capabilities that TensorRT-RTX builds for.

    UserError for anything else, naming what is there, and for the devices that it never builds for.
    """
    devices = []
    for word in text.split(","):
        capability = _capability(word.strip())
        if capability in _NOT_RTX:
            raise UserError(
                f"--device {capability} ({_NOT_RTX[capability]}): TensorRT-RTX does not build for it; use "
                "--target tensorrt on that machine"
            )
        if capability not in RTX_CAPABILITIES:
            known = ", ".join(RTX_CAPABILITIES)
            raise UserError(f"--device: expected compute capabilities out of {known}, found {word.strip()!r}")
        if capability not in devices:
            devices.append(capability)
    return tuple(sorted(devices, key=float))


def _capability(word: str) -> str:
    match = re.fullmatch(r"(?:sm_?)?([0-9]{1,2})\.?([0-9])", word.lower())
    return f"{int(match[1])}.{match[2]}" if match else word

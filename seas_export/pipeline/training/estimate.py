"""`train --dry-run`: memory and time of a training, estimated before anything is trained."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from seas_export.machine.machine import describe_machine
from seas_runtime.errors import UserError
from seas_runtime.units import size_words

if TYPE_CHECKING:
    from seas_train.bases.base import Base
    from seas_train.data import Product
    from seas_train.methods.contract import Estimate
    from seas_train.training.precision import Precision

_CONTEXT = 500 * 2**20
"""Device memory of a CUDA context and its libraries; between 300 and 600 MB by NVIDIA's accounts."""
_MATRIX = 2048
"""Side of the matrices that the rate is measured with; large enough to fill a card, soon done on a CPU."""


@dataclass(frozen=True)
class TrainingEstimate:
    """Bytes on the device (None without a GPU) and on the host, by part; operations and seconds of stage 1.

    Seconds are calculated: operations over the matrix rate that was measured here, which no training
    reaches; so they are the least that it takes.
    """

    product: str
    base: str
    device: str
    precision: str
    steps: int
    trained_parameters: int
    device_parts: dict[str, int] | None
    host_parts: dict[str, int]
    device_memory: int | None
    host_memory: int | None
    flops_per_step: float
    flops_per_second: float
    eight_bit: bool
    stage: str = "fine-tuning (stage 1)"

    @property
    def device_bytes(self) -> int | None:
        """All that lies on the device."""
        return None if self.device_parts is None else sum(self.device_parts.values())

    @property
    def host_bytes(self) -> int:
        """All that lies on the host."""
        return sum(self.host_parts.values())

    @property
    def seconds(self) -> float:
        """The least that stage 1 takes here."""
        return self.steps * self.flops_per_step / self.flops_per_second

    @property
    def fits(self) -> bool | None:
        """Whether there is memory for it, None where that cannot be told."""
        pairs = [(self.host_bytes, self.host_memory), (self.device_bytes, self.device_memory)]
        known = [need <= there for need, there in pairs if need is not None and there is not None]
        return all(known) if known else None

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            **asdict(self),
            "device_bytes": self.device_bytes,
            "host_bytes": self.host_bytes,
            "seconds": self.seconds,
            "fits": self.fits,
        }

    def to_text(self) -> str:
        """Lines for a person."""
        lines = [
            f"{self.product} on {self.base}: {self.stage}, {self.steps} steps in {self.precision}, "
            f"{self.trained_parameters / 1e6:.1f} million trained parameters"
        ]
        for place, parts, there in (
            (self.device, self.device_parts, self.device_memory),
            ("host", self.host_parts, self.host_memory),
        ):
            if parts is None:
                continue
            shown = ", ".join(f"{name} {size_words(size)}" for name, size in parts.items())
            free = "" if there is None else f" of {size_words(there)} free"
            lines.append(f"memory, {place}: about {size_words(sum(parts.values()))}{free} ({shown})")
        lines.append(
            f"time, calculated: {self.seconds / 3600:.2f} h or more "
            f"({self.flops_per_step / 1e12:.3g} TFLOP a step, at the "
            f"{self.flops_per_second / 1e12:.3g} TFLOP/s that large matrix products reach on {self.device})"
        )
        if self.fits is False:
            lines.append("It does not fit: try --memory medium, --memory low, or a smaller --lora.")
        return "\n".join(lines)


def estimate_training(method: str, base: Base, product: Product, config: Any) -> TrainingEstimate:
    """Estimate a training on the device that it would use here; UserError where a method has no estimate."""
    from seas_train.methods.table import find_method

    measure = find_method(method).estimate
    if measure is None:
        raise UserError(f"--dry-run: method {method} has no estimate of its training; leave it out")
    return estimated(measure(base, product, config), product, base.name, config.precision)


def estimated(found: Estimate, product: Product, base: str, precision: Precision) -> TrainingEstimate:
    """Return a method's estimate with what this machine has and how fast it computes."""
    import torch

    from seas_train.training.precision import Precision

    cuda = torch.cuda.is_available()
    kinds = {Precision.FP32: torch.float32, Precision.FP16: torch.float16}
    kind = kinds.get(precision, torch.bfloat16)
    device = torch.device("cuda" if cuda else "cpu")
    return TrainingEstimate(
        product=product.name,
        base=base,
        device=torch.cuda.get_device_name() if cuda else "the CPU",
        precision=precision.value,
        steps=found.steps,
        trained_parameters=found.trained,
        device_parts={**found.parts, "the device's context": _CONTEXT} if cuda else None,
        host_parts=dict(found.host) if cuda else {**found.parts, **found.host},
        device_memory=int(torch.cuda.mem_get_info()[0]) if cuda else None,
        host_memory=describe_machine().memory_available,
        flops_per_step=found.flops,
        flops_per_second=_matrix_rate(device, kind),
        eight_bit=found.eight_bit,
        stage=found.stage,
    )


def _matrix_rate(device: Any, kind: Any) -> float:
    """Floating-point operations per second of a large matrix product here; the best of three."""
    import torch

    a = torch.ones(_MATRIX, _MATRIX, device=device, dtype=kind)
    best = float("inf")
    for _ in range(4):  # the first one warms up
        begun = time.perf_counter()
        float((a @ a)[0, 0])  # reading a number waits for the device
        best = min(best, time.perf_counter() - begun)
    return 2.0 * _MATRIX**3 / best

"""What a pair would take on boards that nothing was measured on: operations over the published rate.

Calculated, and never reached: no program runs at a chip's peak. It tells how boards compare, and the least
that a pair can take. Rates are of dense float16 products; where a source gives sparse INT8 it is divided by
four, as in Ampere's tensor cores sparsity doubles the rate and so does INT8.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Board:
    """A board or card: dense float16 operations per second, and where the figure comes from."""

    name: str
    flops: float
    source: str


_ORIN = "sparse INT8 TOPS of its GPU, a quarter; NVIDIA Jetson AGX Orin Series Technical Brief v1.2"
_ORIN_SMALL = "sparse INT8 TOPS of its GPU, a quarter; NVIDIA Jetson Orin"
BOARDS = (
    Board("Jetson Orin Nano 8 GB, MAXN Super", 67e12 / 4, f"67 {_ORIN_SMALL} Nano Super datasheet"),
    Board("Jetson AGX Orin 32 GB", 108e12 / 4, f"108 {_ORIN}"),
    Board("Jetson AGX Orin 64 GB", 170e12 / 4, f"170 {_ORIN}"),
    Board("L4", 242e12 / 2, "242 TFLOPS with sparsity, half; NVIDIA L4 datasheet"),
    Board("GeForce RTX 4090", 165.2e12, "NVIDIA Ada GPU architecture whitepaper, FP16 with FP32 accumulate"),
    Board("H200", 1979e12 / 2, "1979 TFLOPS with sparsity, half; NVIDIA H200 datasheet"),
)


@dataclass(frozen=True)
class PairOperations:
    """Floating-point operations of one pair's parts: a step (both halves of guidance), a mask, an image."""

    step: float
    decode_mask: float
    decode_image: float
    steps: int = 25
    mask_steps: int = 3

    @property
    def total(self) -> float:
        """All of a pair's operations."""
        return self.steps * self.step + self.mask_steps * self.decode_mask + self.decode_image


def calculated_latencies(operations: PairOperations) -> list[dict[str, Any]]:
    """Return for each board the least seconds of a pair, as JSON values that say that they are calculated."""
    return [
        {**asdict(board), "seconds_per_pair": operations.total / board.flops, "calculated": True}
        for board in BOARDS
    ]

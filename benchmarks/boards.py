"""Counts a pair's operations at SD 1.4 size and calculates the least that boards take; measures nothing.

    python benchmarks/boards.py

The models are built from SD 1.4's geometry on PyTorch's meta device and run once: no weights are needed. The
least of a board is operations over its published rate, which no program reaches: it tells how boards compare.
Rates are of dense float16 products; where a source gives sparse INT8 it is divided by four, as in Ampere's
tensor cores sparsity doubles the rate and so does INT8.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from seas_runtime.methods.seas import MASK_STEPS

RESULT = Path(__file__).parent / "results" / "boards.json"
# Geometry of CompVis/stable-diffusion-v1-4, from its unet/config.json and vae/config.json.
UNET = {"sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8}
VAE = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "sample_size": 512,
}
# What comes before the first prompt is read is the same in guidance's two halves, and computed once.
FIRST = "UNet2DConditionModel.down_blocks.0"
SHARED = (
    "UNet2DConditionModel.conv_in",
    f"{FIRST}.resnets.0",
    f"{FIRST}.attentions.0.proj_in",
    f"{FIRST}.attentions.0.transformer_blocks.0.attn1",
    f"{FIRST}.attentions.0.transformer_blocks.0.attn2.to_q",
)
TAPS = {"tap_coarse_channels": 1280, "tap_fine_channels": 640, "vae_tap_channels": (512, 512, 256)}


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
    mask_steps: int = MASK_STEPS

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


def count(model: Any, *inputs: Any, module: Any = None) -> tuple[float, dict[str, float]]:
    """Return the operations of one forward pass, of the whole and by submodule."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False, depth=8) as counter, torch.no_grad():
        model(*inputs)
    modules = {str(name): float(sum(by.values())) for name, by in counter.get_flop_counts().items()}
    return float(counter.get_total_flops()), modules


def main() -> int:
    """Count, calculate and write."""
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel

    from seas_train.methods.seas.mask_head.network.architecture import MaskHeadArchitecture
    from seas_train.methods.seas.mask_head.network.head import MaskHead

    with torch.device("meta"):
        unet, vae = UNet2DConditionModel(**UNET), AutoencoderKL(**VAE)
        head = MaskHead(MaskHeadArchitecture(**TAPS)).eval()
        both, of_step = count(unet, torch.empty(2, 4, 64, 64), torch.empty(2), torch.empty(2, 77, 768))
        whole, modules = count(vae.decoder, torch.empty(1, 4, 64, 64))
        taps = [
            torch.empty(1, c, s, s) for c, s in zip(TAPS["vae_tap_channels"], (128, 256, 512), strict=True)
        ]
        masks, _ = count(head, torch.empty(1, 1280, 32, 32), torch.empty(1, 640, 64, 64), taps)
    after = sum(
        value for name, value in modules.items() if name.endswith(("Decoder.up_blocks.3", "Decoder.conv_out"))
    )
    shared = sum(value for name, value in of_step.items() if name.endswith(SHARED))
    ours = PairOperations(both - shared / 2, whole - after + masks, whole)
    authors = PairOperations(both, whole + masks, whole)
    result = {
        "what": "calculated, not measured: operations over published dense float16 rates",
        "geometry": "SD 1.4, 512 px, 25 steps with guidance, three masks and an image",
        "operations": {**asdict(ours), "total": ours.total, "mask_head": masks, "authors_way": authors.total},
        "boards": calculated_latencies(ours),
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())

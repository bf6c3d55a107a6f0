"""`--memory`: settings under which fine-tuning an SD 1.4-size base at 512 pixels is meant to fit a card."""

from __future__ import annotations

from enum import Enum
from typing import Any

LOW_RANK = 16
MEDIUM_BATCHES = 4
"""Batches a step, of one defect image and one normal: as many images as the authors' two batches of 2 + 2."""


class MemoryLevel(str, Enum):
    """Memory of the card: 8, 12 or 24 GB. Calculated (see `train --dry-run`), not measured on cards."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


def memory_values(level: MemoryLevel | None, lora: int | None = None) -> dict[str, Any]:
    """Return the training options of a level and a LoRA rank, to lay over a base's defaults.

    The numbers of images and batches are for Stable Diffusion's defaults, the authors' two batches of 2 + 2.

    high: the defaults (whole U-Net, float32, 8-bit AdamW where bitsandbytes and a CUDA device are). medium:
    bfloat16, gradient checkpointing, and batches half as large, twice as many a step. low: bfloat16, gradient
    checkpointing and LoRA, with the frozen weights in bfloat16.
    """
    finetune: dict[str, Any] = {}
    values: dict[str, Any] = {}
    if level in (MemoryLevel.MEDIUM, MemoryLevel.LOW):
        values["precision"] = "bf16"
        finetune.update(gradient_checkpointing=True, optimizer={"eight_bit": True})
    if level is MemoryLevel.MEDIUM:
        finetune.update(defect_images=1, normal_images=1)
        finetune["optimizer"]["gradient_accumulation"] = MEDIUM_BATCHES
    if level is MemoryLevel.LOW:
        finetune.update(lora_rank=LOW_RANK, half_frozen=True)
    if lora is not None:
        finetune["lora_rank"] = lora
    return {**values, **({"finetune": finetune} if finetune else {})}

"""How much memory stage 1 will take, before it takes it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch

from seas_train.bases import Base
from seas_train.finetune.config import FinetuneConfig
from seas_train.training.loop import Precision
from seas_train.training.optimizer import uses_eight_bit

_FLOAT = 4


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes per part; the activations are an estimate, the rest is exact."""

    parts: dict[str, int]

    @property
    def total(self) -> int:
        """All parts together, in bytes."""
        return sum(self.parts.values())

    def to_text(self) -> str:
        """One line for a person."""
        shown = ", ".join(f"{name} {_human(size)}" for name, size in self.parts.items())
        return f"memory for fine-tuning: about {_human(self.total)} ({shown})"


def estimate_memory(
    base: Base, config: FinetuneConfig, precision: Precision = Precision.FP32, image_size: int | None = None
) -> MemoryEstimate:
    """Estimate stage 1's memory from shapes alone.

    Activations are counted by running the U-Net once on torch's meta device, where tensors have shapes and no
    contents, and adding up what autograd would keep: the outputs of every layer, and the cross-attention's
    scores, which reading the maps materialises. With gradient checkpointing only every block's outputs are
    kept, and the layers of one block at a time.

    Args:
        base: what is trained.
        config: for the batch, the optimizer, gradient checkpointing and the average.
        precision: half precision halves the activations; weights stay float32.
        image_size: of the product, where it is not the base's own.
    """
    trained = sum(parameter.numel() for parameter in base.unet.parameters())
    frozen = sum(p.numel() for model in (base.vae, base.text_encoder) for p in model.parameters())
    moments = 2 * (1 if uses_eight_bit(config.optimizer) else _FLOAT)
    parts = {
        "weights": (trained + frozen) * _FLOAT,
        "untrained copy of the U-Net, on the host": trained * _FLOAT,
        "gradients": trained * _FLOAT,
        "optimizer": trained * moments,
        "activations": _activations(base, config, image_size or base.geometry.image_size)
        * (_FLOAT if precision is Precision.FP32 else 2),
    }
    if config.optimizer.ema > 0:
        parts["average"] = trained * _FLOAT
    return MemoryEstimate(parts)


def _activations(base: Base, config: FinetuneConfig, image_size: int) -> int:
    """How many numbers one batch's forward pass keeps for the backward pass."""
    from diffusers import UNet2DConditionModel

    geometry = base.geometry.at(image_size)
    batch = config.defect_images + config.normal_images
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(base.unet.config)
    blocks = [*unet.down_blocks, *unet.up_blocks, *([] if unet.mid_block is None else [unet.mid_block])]
    layers = _count_outputs([m for m in unet.modules() if not any(m.children())])
    scores = [
        _count_scores(m, geometry.context_length) for n, m in unet.named_modules() if n.endswith("attn2")
    ]
    ends = _count_outputs(blocks)
    within = [_count_outputs([m for m in block.modules() if not any(m.children())]) for block in blocks]
    size = geometry.latent_size
    with torch.no_grad():
        unet(
            torch.empty(batch, geometry.latent_channels, size, size, device="meta"),
            torch.empty(batch, device="meta"),
            torch.empty(batch, geometry.context_length, geometry.context_width, device="meta"),
        )
    if config.gradient_checkpointing:
        return ends.total + max(block.total for block in within)
    return layers.total + sum(counter.total for counter in scores)


class _Counter:
    """A number that hooks add to."""

    def __init__(self) -> None:
        self.total = 0


def _count_outputs(modules: Iterable[torch.nn.Module]) -> _Counter:
    """Count the numbers that these modules put out in the forward passes to come."""
    counter = _Counter()

    def count(module: torch.nn.Module, inputs: object, output: object) -> None:
        outputs = output if isinstance(output, tuple) else (output,)
        counter.total += sum(tensor.numel() for tensor in outputs if isinstance(tensor, torch.Tensor))

    for module in modules:
        module.register_forward_hook(count)
    return counter


def _count_scores(attention: Any, context_length: int) -> _Counter:
    """Count a cross-attention's scores, one per head, pixel and token, in the forward passes to come."""
    counter = _Counter()

    def count(module: torch.nn.Module, inputs: object, output: torch.Tensor) -> None:
        batch, pixels, _ = output.shape
        counter.total += batch * int(attention.heads) * pixels * context_length

    attention.register_forward_hook(count)
    return counter


def _human(size: int) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"

"""Stage 1's memory and operations, estimated before it begins."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from seas_runtime.units import size_words
from seas_train.bases.base import Base
from seas_train.methods.seas.finetune.attention import AttentionRecorder
from seas_train.methods.seas.finetune.config import FinetuneConfig
from seas_train.methods.seas.finetune.lora import add_adapters
from seas_train.training.optimizer import uses_eight_bit
from seas_train.training.precision import Precision, computes_bfloat16

_FLOAT, _HALF = 4, 2
PROCESS = 700 * 2**20
"""Python with every library that training loads, and their buffers; an estimate. Half of it is there before
a base is loaded (`process_bytes` of benchmarks/training_memory.py)."""
_OF_A_STEP = ("gradients", "activations", "their gradients", "half copies")
BASE = "the base, on the host"


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes of stage 1 by part. Activations, their gradients, half copies and the process are estimates, the
    rest is exact; memory that the allocator keeps after it is freed is left out."""

    parts: dict[str, int]
    """Where it computes: on the device, or without a GPU on the host."""
    host: dict[str, int] = field(default_factory=dict)
    """On the host beside them."""
    flops: float = 0.0
    """Floating-point operations a step."""
    trained: int = 0
    """Parameters."""

    @property
    def device_total(self) -> int:
        """Bytes that training takes where it computes."""
        return sum(self.parts.values())

    @property
    def host_total(self) -> int:
        """Bytes that stay in the host's memory where a GPU computes."""
        return sum(self.host.values())

    @property
    def total(self) -> int:
        """All parts together, in bytes: what a CPU's memory must hold."""
        return self.device_total + self.host_total

    def to_text(self) -> str:
        """One line for a person."""
        shown = ", ".join(f"{name} {size_words(size)}" for name, size in {**self.parts, **self.host}.items())
        return f"memory for fine-tuning: about {size_words(self.total)} ({shown})"


def estimate_memory(
    base: Base,
    config: FinetuneConfig,
    precision: Precision = Precision.FP32,
    image_size: int | None = None,
    *,
    alone: bool = False,
) -> MemoryEstimate:
    """Estimate stage 1's memory and operations from shapes alone.

    Activations are counted by running U-Net and text encoder once on torch's meta device, where tensors have
    shapes and no contents, and adding up the distinct tensors that autograd saves, the recorded attention's
    among them. With gradient checkpointing, of every residual and attention layer only its inputs are kept,
    and all of one at a time. On the way back the gradients of one layer's activations are there as well: as
    much as the layer that saves the most has saved.

    Args:
        base: what is trained.
        config: for the batch, the optimizer, gradient checkpointing, LoRA and the average.
        precision: half precision halves the activations, and keeps a half copy of the weights for a step.
        image_size: of the product, where it is not the base's own.
        alone: the U-Net is trained without the prompts, and its attention is not recorded.
    """
    unet = _meta_unet(base, config)
    trained = sum(p.numel() for p in unet.parameters() if p.requires_grad)
    frozen = sum(p.numel() for p in unet.parameters() if not p.requires_grad)
    others = sum(p.numel() for model in (base.vae, base.text_encoder) for p in model.parameters())
    whole = sum(p.numel() for p in base.unet.parameters())
    text = sum(p.numel() for p in base.text_encoder.parameters())
    cuda = torch.cuda.is_available()
    half = precision is not Precision.FP32 or (config.half_precision and not cuda and computes_bfloat16())
    moments = 2 * (1 if uses_eight_bit(config.optimizer) else _FLOAT)
    saved, largest, flops = _activations(unet, base, config, image_size or base.geometry.image_size, alone)
    number = _HALF if half else _FLOAT
    parts = {
        "weights": trained * _FLOAT + frozen * (_HALF if config.half_frozen else _FLOAT) + others * _FLOAT,
        "gradients": trained * _FLOAT,
        "optimizer": trained * moments,
        "activations": (saved + (0 if alone else _text_activations(base, config))) * number,
        "their gradients": largest * number,
    }
    if half:  # autocast casts float32 weights once a batch, and the way back through them needs the copies
        table = base.text_encoder.get_input_embeddings().weight.numel()  # is looked up in, not multiplied by
        copied = trained + (0 if config.half_frozen else frozen) + text - table
        parts["half copies"] = copied * _HALF
    if config.optimizer.ema > 0:
        parts["average"] = trained * _FLOAT
    host = {BASE: (whole + text) * _FLOAT, "the process": PROCESS}
    # A state is put together whole before it is written; by then what a step needs alone is free again.
    free = 0 if cuda else sum(parts.get(name, 0) for name in _OF_A_STEP)
    if (more := trained * max(_FLOAT, moments) - free) > 0:
        host["a state that is saved"] = more
    passes = 4 if config.gradient_checkpointing else 3  # forward, twice that backward, forward again
    return MemoryEstimate(parts, host, passes * flops * config.optimizer.gradient_accumulation, trained)


def _meta_unet(base: Base, config: FinetuneConfig) -> Any:
    """The U-Net as it will be trained, without contents."""
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(base.unet.config)
        if config.lora_rank:
            add_adapters(unet, config.lora_rank, half_frozen=False)
    return unet


def _text_activations(base: Base, config: FinetuneConfig) -> int:
    """Numbers kept by encoding a batch's prompts, if no two of its defect images share a defect."""
    with torch.device("meta"):
        encoder = type(base.text_encoder)(base.text_encoder.config).requires_grad_(False)
        length = min(base.geometry.context_length, encoder.config.max_position_embeddings)
        prompts = torch.zeros(config.defect_images + 1, length, dtype=torch.long)
    encoder.get_input_embeddings().register_forward_hook(lambda *call: call[-1].requires_grad_())
    counter = _SavedNumbers(encoder)
    with counter.counting(), _flash_attention():
        encoder(prompts)
    return counter.total


def _activations(
    unet: Any, base: Base, config: FinetuneConfig, image_size: int, alone: bool
) -> tuple[int, int, float]:
    """Of one batch's forward pass: numbers kept for the backward pass, by all layers and by the largest, and
    operations."""
    from torch.utils.flop_counter import FlopCounterMode

    geometry = base.geometry.at(image_size)
    batch, size = config.defect_images + config.normal_images, geometry.latent_size
    layers = [layer for block in _blocks(unet) for layer in _checkpointed(block)]
    counter = _SavedNumbers(unet)
    recorder = None if alone else AttentionRecorder(unet, config.attention)
    kept, inside, largest = 0, 0, 0

    def before(module: Any, inputs: tuple[Any, ...]) -> None:
        module.saved_before = counter.total

    def after(module: Any, inputs: tuple[Any, ...], output: Any) -> None:
        nonlocal kept, inside, largest
        grown = counter.total - module.saved_before
        kept += sum(tensor.numel() for tensor in inputs if isinstance(tensor, Tensor))
        inside += grown
        largest = max(largest, grown)

    for layer in layers:
        layer.register_forward_pre_hook(before)
        layer.register_forward_hook(after)
    unet.train()
    context = torch.empty(batch, geometry.context_length, geometry.context_width, device="meta")
    with FlopCounterMode(display=False) as flops, counter.counting(), _flash_attention():
        if recorder is not None:
            recorder.start()
        unet(
            # The context asks for a gradient, as the prompts' tokens do: frozen layers save what leads there.
            torch.empty(batch, geometry.latent_channels, size, size, device="meta"),
            torch.empty(batch, device="meta"),
            context.requires_grad_(not alone),
        )
        if recorder is not None:
            recorder.stop()
    saved = counter.total - inside + kept + largest if config.gradient_checkpointing else counter.total
    return saved, largest, float(flops.get_total_flops())


def _blocks(unet: Any) -> list[Any]:
    return [*unet.down_blocks, *([] if unet.mid_block is None else [unet.mid_block]), *unet.up_blocks]


def _checkpointed(block: Any) -> list[Any]:
    """The layers that checkpointing runs again on the way back, each by itself: residual and attention."""
    return [*block.resnets, *getattr(block, "attentions", [])]


class _SavedNumbers:
    """Counts the numbers of the distinct tensors that autograd saves, parameters left out."""

    def __init__(self, model: Any) -> None:
        self.total = 0
        self._seen = {parameter.untyped_storage()._cdata for parameter in model.parameters()}
        self._alive: list[Tensor] = []  # a storage that is freed could be taken for a later one

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Count what is saved in the block."""
        with torch.autograd.graph.saved_tensors_hooks(self._pack, lambda tensor: tensor):
            yield

    def _pack(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in self._seen:
            self._seen.add(storage._cdata)
            self._alive.append(tensor)
            self.total += storage.nbytes() // tensor.element_size()
        return tensor


class _FlashAttention(torch.autograd.Function):
    """Attention as devices run it: it saves its inputs, its output and a number for each query, no scores."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        # The two products are computed for the operations' count.
        output = (query @ key.transpose(-1, -2)) @ value
        ctx.save_for_backward(query, key, value, output, query[..., 0].clone())
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        raise NotImplementedError("only counted, never run back")


@contextmanager
def _flash_attention() -> Iterator[None]:
    """Let attention save what a fused kernel saves; the meta device would run it in the open."""

    def attend(query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        result: Tensor = _FlashAttention.apply(query, key, value)  # type: ignore[no-untyped-call]
        return result

    usual: Any = functional.scaled_dot_product_attention
    functional.scaled_dot_product_attention = attend
    try:
        yield
    finally:
        functional.scaled_dot_product_attention = usual

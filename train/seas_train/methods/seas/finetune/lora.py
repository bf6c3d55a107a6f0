"""Low-rank adapters on the U-Net's attention: a hundredth of the parameters, merged before export."""

from __future__ import annotations

import copy
from typing import Any

from seas_runtime.errors import UserError
from seas_runtime.installing import install

TARGETS = ("to_q", "to_k", "to_v", "to_out.0")
"""The projections of every attention layer, as diffusers' LoRA training scripts adapt them."""
_ADAPTER = "default"


def add_adapters(unet: Any, rank: int, *, half_frozen: bool) -> None:
    """Freeze a U-Net and give its attention layers trainable float32 adapters of `rank`, in place.

    With `half_frozen` the frozen weights are kept in bfloat16; `merged` puts the adapters on the originals.
    Raises UserError where peft is not installed.
    """
    try:
        from peft import LoraConfig
    except ImportError as error:
        raise UserError(
            "finetune.lora_rank: low-rank adapters need the package peft, which is not installed here. "
            f"Install it: {install('lora')}"
        ) from error
    unet.requires_grad_(False)
    if half_frozen:
        for parameter in unet.parameters():
            parameter.data = parameter.data.bfloat16()
    unet.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=list(TARGETS)), _ADAPTER)
    for parameter in unet.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def merged(original: Any, adapted: Any) -> Any:
    """Return a copy of the U-Net `original` with what the adapters of `adapted` have learnt added to it.

    The sum is in float32 and on the original weights, whatever `adapted` kept its frozen ones in.
    """
    result = copy.deepcopy(original)
    plain = dict(result.named_modules())
    for name, module in adapted.named_modules():
        if _ADAPTER in getattr(module, "lora_A", ()):
            weight = plain[name].weight
            up, down = module.lora_B[_ADAPTER].weight, module.lora_A[_ADAPTER].weight
            delta = module.scaling[_ADAPTER] * (up.detach().float() @ down.detach().float())
            weight.data += delta.to(weight.device, weight.dtype)
    return result

"""Kinds of single-file models, told by the names and shapes of tensors before anything large is read."""

from __future__ import annotations

from collections.abc import Mapping

from seas_runtime.errors import UserError
from seas_train.bases.model_folders import TEXT2IMG_LARGE

_UNET = "model.diffusion_model."
_VAE = "first_stage_model."
_TEXT = "cond_stage_model.transformer."
KEPT = (_UNET, _VAE, _TEXT)
"""The prefixes of what is read of a file."""
_FIRST = f"{_UNET}input_blocks.0.0.weight"
_CHANNELS = {
    9: "an inpainting model: its U-Net takes 9 channels. Use the plain model it was made from",
    8: "an image-editing model (instruct-pix2pix): its U-Net takes 8 channels",
    5: "a depth model: its U-Net takes 5 channels",
    7: "an upscaler: its U-Net takes 7 channels",
}
# Told by a part of a name, in this order.
_OTHERS = (
    (
        "cond_stage_model.transformer.attn_layers.",
        f"{TEXT2IMG_LARGE}. Train the method on Stable Diffusion 1.x or micro",
    ),
    ("conditioner.embedders.", "SDXL: it has two text encoders and other U-Net inputs"),
    (
        "joint_blocks.",
        "Stable Diffusion 3, a transformer without the U-Net's features that the mask head reads",
    ),
    ("double_blocks.", "Flux, a transformer without the U-Net's features that the mask head reads"),
    ("lora_", "a LoRA: changes to a model, not one. Merge it into its model first"),
    (".lora", "a LoRA: changes to a model, not one. Merge it into its model first"),
    ("control_model.", "a ControlNet"),
    (
        "cond_stage_model.model.",
        "Stable Diffusion 2, of which a single file does not say whether it predicts noise or v: "
        "give it as a folder in diffusers' format",
    ),
    ("down_blocks.", "one part in diffusers' naming, not a whole model: give the folder that it lies in"),
)


def check_kind(shapes: Mapping[str, tuple[int, ...]], what: str) -> None:
    """Check that the tensors of these names and shapes make a whole Stable Diffusion 1.x.

    Raises:
        UserError: they make something else, told by name, or a part is missing.
    """
    channels = shapes[_FIRST][1] if len(shapes.get(_FIRST, ())) == 4 else 4
    if channels != 4:
        kind = _CHANNELS.get(channels, f"another model: its U-Net takes {channels} channels, expected 4")
        raise UserError(f"{what}: expected Stable Diffusion 1.x, this is {kind}")
    for part, kind in _OTHERS:
        if any(part in name for name in shapes):
            raise UserError(f"{what}: expected Stable Diffusion 1.x, this is {kind}")
    parts = {_UNET: "U-Net", _VAE: "VAE", _TEXT: "text encoder"}
    missing = [
        f"no {part} ({prefix}*)"
        for prefix, part in parts.items()
        if not any(name.startswith(prefix) for name in shapes)
    ]
    if missing:
        raise UserError(
            f"{what}: expected a whole Stable Diffusion 1.x, found {' and '.join(missing)}; "
            "use the file with everything in it"
        )

"""Parts and composed graphs: SeaS's without its mask head."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import onnx_ir as ir

from seas_export.graphs.trace import UNET, VAE_DECODER, VAE_ENCODER, Part
from seas_export.methods.seas.compose import compose_decode_image, compose_encode_image, compose_step
from seas_export.methods.seas.parts import make_parts
from seas_runtime.manifest.types import DECODE_IMAGE, ENCODE_IMAGE, STEP, STEP_UNGUIDED
from seas_train import Checkpoint
from seas_train.bases.base import Geometry

PARTS = (UNET, VAE_ENCODER, VAE_DECODER)


def base_parts(checkpoint: Checkpoint) -> Iterator[Part]:
    """Yield U-Net, encoder and decoder."""
    return make_parts(checkpoint, names=PARTS)


def compose_base(
    parts: Mapping[str, ir.Model], geometry: Geometry, dtype: ir.DataType, opset: int, *, noisy: bool
) -> dict[str, ir.Model]:
    """Return `step`, with and without guidance, and both codecs; `noisy` for a sampler that adds noise."""
    return {
        STEP: compose_step(parts[UNET], geometry, dtype, opset, noisy=noisy),
        STEP_UNGUIDED: compose_step(parts[UNET], geometry, dtype, opset, guided=False, noisy=noisy),
        DECODE_IMAGE: compose_decode_image(parts[VAE_DECODER], geometry, opset),
        ENCODE_IMAGE: compose_encode_image(parts[VAE_ENCODER], geometry, opset),
    }

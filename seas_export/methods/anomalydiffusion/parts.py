"""The parts that are traced, and the graphs that generation runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import onnx_ir as ir
import torch

from seas_engines.targets.targets import TargetSpec
from seas_export.extras import Extras
from seas_export.graphs.finishing import finish
from seas_export.graphs.graph_builder import GraphBuilder
from seas_export.graphs.trace import VAE_DECODER, Part
from seas_export.graphs.weights import WeightStore
from seas_export.methods.anomalydiffusion.reweighting import AuthorsWeights, PaperWeights, ReweightedUNet
from seas_export.methods.inpainting.graphs import PARTS as BASE_PARTS
from seas_export.methods.inpainting.graphs import base_parts, compose_base
from seas_export.methods.seas.compose import compose_step, unscaled
from seas_runtime.manifest.types import BATCH
from seas_runtime.methods.anomalydiffusion.method import CONTEXT, SHAPE, TOKENS
from seas_runtime.methods.anomalydiffusion.options import STEP_AUTHORS, STEP_PAPER
from seas_runtime.methods.anomalydiffusion.reweighting import LOOK, PHOTOGRAPH, PIXEL_MASK
from seas_train import Checkpoint
from seas_train.bases.base import Geometry
from seas_train.methods.anomalydiffusion.model import context_model
from seas_train.methods.inpainting.words import PLACE

UNET_REWEIGHTED, AUTHORS_WEIGHTS, PAPER_WEIGHTS = "unet_reweighted", "weights_authors", "weights_paper"
PARTS = (*BASE_PARTS, CONTEXT, UNET_REWEIGHTED, AUTHORS_WEIGHTS, PAPER_WEIGHTS)
LOGITS, ROWS = "logit_weights", "row_weights"


def placeholder_columns(checkpoint: Checkpoint) -> range:
    """Return the places of learned tokens in a context."""
    config = checkpoint.meta["training"]["anomalydiffusion"]
    return range(PLACE, PLACE + config["anomaly_tokens"] + config["spatial_tokens"])


def make_parts(checkpoint: Checkpoint, batch: int = 2) -> Iterator[Part]:
    """Yield the base's parts, the encoder of contexts, and what re-weighting needs."""
    yield from base_parts(checkpoint)
    geometry = checkpoint.geometry
    size, side = geometry.latent_size, geometry.image_size
    config = checkpoint.meta["training"]["anomalydiffusion"]
    width = checkpoint.text_encoder.get_input_embeddings().weight.shape[1]
    tokens = torch.randn(batch, config["anomaly_tokens"], width)
    mask = torch.rand(batch, 1, side, side)
    yield Part(CONTEXT, context_model(checkpoint), {TOKENS: tokens, SHAPE: mask}, (CONTEXT,), (TOKENS, SHAPE))
    latents = torch.randn(batch, geometry.latent_channels, size, size)
    cells = torch.rand(batch, 1, size, size)
    inputs = {
        "latents": latents,
        "timestep": torch.tensor([500.0]),
        "context": torch.randn(batch, geometry.context_length, geometry.context_width),
        LOGITS: cells,
        ROWS: torch.rand(batch, 1, size, size),
    }
    unet = ReweightedUNet(checkpoint.unet, placeholder_columns(checkpoint)).eval()
    batched = tuple(name for name in inputs if name != "timestep")
    yield Part(UNET_REWEIGHTED, unet, inputs, ("noise_prediction", "tap_coarse", "tap_fine"), batched)
    looked = {"latents": latents, "noised": torch.randn_like(latents), LOOK: cells}
    yield Part(AUTHORS_WEIGHTS, AuthorsWeights().eval(), looked, ("weights",), tuple(looked))
    pixels = torch.rand(batch, 3, side, side)
    seen = {
        "decoded": pixels,
        PHOTOGRAPH: torch.rand_like(pixels),
        PIXEL_MASK: mask,
        "step_index": torch.tensor([1]),
    }
    paper = PaperWeights(geometry.latent_factor).eval()
    yield Part(PAPER_WEIGHTS, paper, seen, ("weights",), ("decoded", PHOTOGRAPH, PIXEL_MASK))


def compose(
    parts: Mapping[str, ir.Model],
    geometry: Geometry,
    dtype: ir.DataType,
    spec: TargetSpec,
    store: WeightStore,
    extras: Extras,
) -> dict[str, ir.Model]:
    """Return the graphs that generation runs; see `ExportMethod.compose`."""
    opset, float32 = spec.opset, ir.DataType.FLOAT
    size, side = geometry.latent_size, geometry.image_size

    def ones(build: GraphBuilder, like: ir.Value) -> ir.Value:
        (nothing,) = build.op("Sub", like, like)
        return build.op("Exp", nothing)[0]

    def authors(build: GraphBuilder, known: Mapping[str, ir.Value]) -> dict[str, ir.Value]:
        look = build.input(LOOK, float32, [BATCH, 1, size, size])
        feeds = {"latents": known["latents"], "noised": known["noised"], LOOK: look}
        weights = build.inline(parts[AUTHORS_WEIGHTS], feeds)["weights"]
        return {LOGITS: weights, ROWS: ones(build, weights)}

    def paper(build: GraphBuilder, known: Mapping[str, ir.Value]) -> dict[str, ir.Value]:
        photograph = build.input(PHOTOGRAPH, float32, [BATCH, 3, side, side])
        mask = build.input(PIXEL_MASK, float32, [BATCH, 1, side, side])
        latents = unscaled(build, known["previous_x0"], geometry)
        decoded = build.inline(parts[VAE_DECODER], {"latents": latents})["image"]
        feeds = {
            "decoded": decoded,
            PHOTOGRAPH: photograph,
            PIXEL_MASK: mask,
            "step_index": known["step_index"],
        }
        weights = build.inline(parts[PAPER_WEIGHTS], feeds)["weights"]
        return {LOGITS: ones(build, weights), ROWS: weights}

    composed = compose_base(parts, geometry, dtype, opset, noisy=True)
    for name, attention in ((STEP_AUTHORS, authors), (STEP_PAPER, paper)):
        composed[name] = compose_step(
            parts[UNET_REWEIGHTED],
            geometry,
            dtype,
            opset,
            guided=False,
            noisy=True,
            name=name,
            attention=attention,
        )
    return finish(composed, spec, store)

"""The trained modules: tokens and a spatial encoder in front of a frozen base, and the masks' tokens."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from seas_runtime.errors import UserError
from seas_runtime.manifest.types import GOOD, UNCONDITIONAL
from seas_train.bases.base import Base, Geometry, frozen_unet
from seas_train.checkpoint import Checkpoint
from seas_train.methods.anomalydiffusion.config import AnomalyDiffusionConfig, Encoder, MaskModelConfig
from seas_train.methods.anomalydiffusion.encoder import make_encoder
from seas_train.methods.inpainting.words import encode_rows, template, word_rows

TOKENS, ENCODER, MASK_TOKENS = "anomaly_tokens", "spatial_encoder", "mask_tokens"
"""The artifacts: [k, W] a defect; the encoder's tensors; [k', W] a defect, or none at all."""


class ContextModel(nn.Module):
    """Tokens [B, k, W] of defects and masks [B, 1, S, S] -> contexts [B, L, D]."""

    ids: Tensor

    def __init__(self, text_encoder: Any, tokenizer: Any, encoder: nn.Module, rows: int, length: int) -> None:
        super().__init__()
        self.text_encoder, self.encoder = text_encoder, encoder
        self.register_buffer("ids", template(tokenizer, rows, length), persistent=False)

    def forward(self, tokens: Tensor, pixel_mask: Tensor) -> Tensor:
        """Put both kinds of tokens into the template's place, and encode it."""
        rows = torch.cat([tokens, self.encoder(pixel_mask)], dim=1)
        return encode_rows(self.text_encoder, self.ids, rows)


class SpatialModel(nn.Module):
    """Predicts noise from a defect's tokens and a mask's. The base is frozen."""

    def __init__(self, base: Base, defects: int, config: AnomalyDiffusionConfig, size: int) -> None:
        super().__init__()
        self.unet = frozen_unet(base)
        text_encoder = base.text_encoder.requires_grad_(False).eval()
        width = text_encoder.get_input_embeddings().weight.shape[1]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # the same encoder to begin with, whatever ran before
            encoder = make_encoder(config.encoder, config.spatial_tokens, width, size)
        rows = config.anomaly_tokens + config.spatial_tokens
        self.context = ContextModel(text_encoder, base.tokenizer, encoder, rows, base.geometry.context_length)
        first = word_rows(base.tokenizer, text_encoder, config.word)
        self.tokens = nn.Parameter(first.repeat(defects, config.anomaly_tokens, 1))

    def train(self, mode: bool = True) -> SpatialModel:
        """The base stays in evaluation mode."""
        super().train(mode)
        self.unet.eval()
        self.context.text_encoder.eval()
        return self

    def forward(self, noisy: Tensor, timesteps: Tensor, defects: Tensor, masks: Tensor) -> Tensor:
        """Predict the noise [B, C, h, w]; masks: [B, 1, S, S]."""
        eps: Tensor = self.unet(noisy, timesteps, self.context(self.tokens[defects], masks)).sample
        return eps


class MaskModel(nn.Module):
    """Predicts the noise of masks as pictures from a defect's mask tokens. The base is frozen."""

    ids: Tensor

    def __init__(self, base: Base, defects: int, config: MaskModelConfig) -> None:
        super().__init__()
        self.unet = frozen_unet(base)
        self.text_encoder = base.text_encoder.requires_grad_(False).eval()
        weight: Tensor = self.text_encoder.get_input_embeddings().weight
        if config.start == "random":
            generator = torch.Generator().manual_seed(0)
            shape = (defects, config.tokens, weight.shape[1])
            rows = torch.randn(shape, generator=generator) * weight.detach().std()
        else:
            first = word_rows(base.tokenizer, base.text_encoder, config.start)
            rows = first.repeat(defects, config.tokens, 1)
        self.tokens = nn.Parameter(rows)
        ids = template(base.tokenizer, config.tokens, base.geometry.context_length)
        self.register_buffer("ids", ids, persistent=False)

    def train(self, mode: bool = True) -> MaskModel:
        """The base stays in evaluation mode."""
        super().train(mode)
        self.unet.eval()
        self.text_encoder.eval()
        return self

    def forward(self, noisy: Tensor, timesteps: Tensor, defects: Tensor) -> Tensor:
        """Predict the noise [B, C, h, w]."""
        contexts = encode_rows(self.text_encoder, self.ids, self.tokens)
        eps: Tensor = self.unet(noisy, timesteps, contexts[defects]).sample
        return eps


def context_model(checkpoint: Checkpoint) -> ContextModel:
    """Return a checkpoint's encoder of contexts, in evaluation mode."""
    config, geometry = _config(checkpoint), checkpoint.geometry
    encoder = _encoder(checkpoint, geometry)
    rows = int(config["anomaly_tokens"]) + int(config["spatial_tokens"])
    model = ContextModel(
        checkpoint.text_encoder, checkpoint.tokenizer, encoder, rows, geometry.context_length
    )
    return model.requires_grad_(False).eval()


def anomaly_tokens(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Return the tokens [k, W] of each defect, and of `good` those that they started as."""
    config = _config(checkpoint)
    first = word_rows(checkpoint.tokenizer, checkpoint.text_encoder, str(config["word"]))
    good = first.repeat(int(config["anomaly_tokens"]), 1)
    return {GOOD: good, **{name: checkpoint.artifacts[TOKENS][name] for name in checkpoint.defects}}


def contexts(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Return contexts [L, D] of the defects with a mask in the middle, which stand for those of real masks,
    of `good`, and of guidance's other half."""
    model, size = context_model(checkpoint), checkpoint.geometry.image_size
    mask = torch.zeros(1, 1, size, size)
    mask[..., size // 3 : size - size // 3, size // 3 : size - size // 3] = 1
    tokens = anomaly_tokens(checkpoint)
    with torch.inference_mode():
        made = {name: model(rows[None], mask)[0] for name, rows in tokens.items()}
        return {**made, UNCONDITIONAL: checkpoint.context("")[0]}


def mask_contexts(checkpoint: Checkpoint) -> dict[str, Tensor]:
    """Return the contexts [L, D] that masks are generated from, by defect; none without a mask model."""
    learned = checkpoint.artifacts[MASK_TOKENS]
    made = {}
    with torch.inference_mode():
        for name, rows in learned.items():
            ids = template(checkpoint.tokenizer, len(rows), checkpoint.geometry.context_length)
            made[name] = encode_rows(checkpoint.text_encoder, ids, rows[None])[0]
    return made


def check_checkpoint(checkpoint: Checkpoint) -> None:
    """Raise UserError where tokens and encoder do not fit the base and the defects."""
    where = f"checkpoint {checkpoint.path}"
    trained = checkpoint.meta["training"].get("anomalydiffusion")
    kinds = {"anomaly_tokens": int, "spatial_tokens": int, "word": str, "encoder": str}
    if not isinstance(trained, dict) or any(
        not isinstance(trained.get(key), kind) for key, kind in kinds.items()
    ):
        raise UserError(f"{where}: expected training.anomalydiffusion with {', '.join(kinds)}; train again")
    width = checkpoint.text_encoder.get_input_embeddings().weight.shape[1]
    tokens = checkpoint.artifacts[TOKENS]
    if set(tokens) != set(checkpoint.defects):
        raise UserError(
            f"{where}: {TOKENS}: expected {sorted(checkpoint.defects)}, found {sorted(tokens)}; train again"
        )
    shape = (trained["anomaly_tokens"], width)
    for name, tensor in tokens.items():
        if tuple(tensor.shape) != shape:
            raise UserError(
                f"{where}: {TOKENS}: {name}: expected {list(shape)}, found {list(tensor.shape)}; train again"
            )
    for name, tensor in checkpoint.artifacts[MASK_TOKENS].items():
        if name not in checkpoint.defects or tensor.ndim != 2 or tensor.shape[1] != width:
            raise UserError(
                f"{where}: {MASK_TOKENS}: {name}: expected [tokens, {width}] of a defect, found "
                f"{list(tensor.shape)}; train again"
            )
    _encoder(checkpoint, checkpoint.geometry)


def _encoder(checkpoint: Checkpoint, geometry: Geometry) -> nn.Module:
    config = _config(checkpoint)
    width = checkpoint.text_encoder.get_input_embeddings().weight.shape[1]
    known = [kind.value for kind in Encoder]
    if config["encoder"] not in known:
        raise UserError(
            f"checkpoint {checkpoint.path}: encoder: expected {' or '.join(known)}, found "
            f"{config['encoder']!r}"
        )
    encoder = make_encoder(
        Encoder(config["encoder"]), int(config["spatial_tokens"]), width, geometry.image_size
    )
    try:
        encoder.load_state_dict(checkpoint.artifacts[ENCODER])
    except RuntimeError as error:
        raise UserError(
            f"checkpoint {checkpoint.path}: {ENCODER}: expected the tensors of the encoder "
            f"{config['encoder']}, found others ({str(error).splitlines()[0]}); train again"
        ) from error
    return encoder


def _config(checkpoint: Checkpoint) -> dict[str, Any]:
    config: dict[str, Any] = checkpoint.meta["training"]["anomalydiffusion"]
    return config

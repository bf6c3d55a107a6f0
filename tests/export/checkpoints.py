"""A tiny checkpoint: random weights, but whole, as training leaves it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

from seas_runtime.files import write_json
from seas_runtime.photographs.png import encode_png
from seas_runtime.placement.masks.shapes import Shape, pack_shapes
from seas_train.bases.base import Base, load_base
from seas_train.methods.seas.checkpoint import save_checkpoint
from seas_train.methods.seas.mask_head.network.architecture import MaskHeadArchitecture
from seas_train.methods.seas.mask_head.network.head import MaskHead
from seas_train.methods.seas.prompts import FineTuned, Prompts, extend, write_back
from seas_train.methods.seas.taps import TapGeometry
from tests.bases import IMAGE_SIZE, LATENT_SIZE, write_tiny_base

DEFECTS = ("chip", "scratch")


def write_tiny_checkpoint(
    folder: Path, seed: int = 0, change: Callable[[Base, MaskHead], None] | None = None
) -> Path:
    """Write a checkpoint `folder / "checkpoint"` of two defects on the tiny base, with three references.

    `change` is given base and mask head before they are written.
    """
    base = load_base(write_tiny_base(folder / "base", seed=seed))
    prompts = Prompts(DEFECTS, anomaly_tokens=2)
    write_back(base.text_encoder, extend(base.tokenizer, base.text_encoder, prompts))
    geometry, taps = base.geometry, TapGeometry.of(base.unet, base.vae)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed + 1)
        head = MaskHead(
            MaskHeadArchitecture(
                taps.coarse,
                taps.fine,
                taps.vae,
                coarse_width=8,
                fine_width=8,
                heads=2,
                groups=4,
                depth=1,
            )
        )
        references = torch.randn(3, geometry.latent_channels, LATENT_SIZE, LATENT_SIZE)
        # Norms that do something, and an output layer that is sure of itself: otherwise every probability is
        # near a half.
        for name, buffer in head.named_buffers():
            buffer.copy_(torch.rand_like(buffer) + 0.5 if "var" in name else 0.1 * torch.randn_like(buffer))
        head.out_layer[2].weight.data.mul_(20)
    if change is not None:
        change(base, head)
    return _save(folder / "checkpoint", FineTuned(base, prompts, "stage 1"), head.eval(), references)


def _save(path: Path, fine_tuned: FineTuned, head: MaskHead, references: torch.Tensor) -> Path:
    description = {
        "product": "widget",
        "preprocessing": {"size": IMAGE_SIZE, "fit": "crop"},
        "layout": "mvtec",
        "data_fingerprint": "0" * 64,
        "normals": 3,
        "shots": dict.fromkeys(DEFECTS, 1),
        "training": {"seed": 0},
        "losses": {},
        "generation": {"guidance": 3.0, "tau": 0.5},
        "fingerprint": "1" * 64,
    }
    save_checkpoint(path, fine_tuned, head, references, description)
    return path


def write_placement(checkpoint: Path, backgrounds: list[np.ndarray], regions: bool = True) -> None:
    """Add what placed pairs need to a checkpoint: a shape a defect, views, and these photographs."""
    folder = checkpoint / "placement"
    (folder / "backgrounds").mkdir(parents=True)
    shapes = {name: [Shape(np.ones((5, 9), bool), (40, 60), (0.5, 0.25), 1.0)] for name in DEFECTS}
    save_file(pack_shapes(shapes, False), folder / "shapes.safetensors")
    seen = np.random.default_rng(0).integers(0, 256, (2, IMAGE_SIZE, IMAGE_SIZE, 3)).astype(np.uint8)
    masks = {f"{name}/masks": (seen[..., 0] > 128).astype(np.uint8) for name in DEFECTS}
    images = {f"{name}/images": seen for name in (*DEFECTS, "good")}
    save_file({**images, **masks}, folder / "regions.safetensors")
    write_json(folder / "placement.json", {"schema": 1, "regions": regions})
    for index, pixels in enumerate(backgrounds):
        (folder / f"backgrounds/{index:03d}.png").write_bytes(encode_png(pixels))

"""A second method to train by: it learns the mean of the normals' latents, and keeps it in its own file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from seas_runtime.errors import UserError
from seas_runtime.manifest.types import GOOD
from seas_train.bases.base import Base
from seas_train.checkpoint import Checkpoint, save_checkpoint
from seas_train.data import Product
from seas_train.diffusion.examples import Examples
from seas_train.methods.contract import Method
from seas_train.settings import Positive, Settings


@dataclass(frozen=True)
class ToyConfig(Settings):
    """The toy's only option."""

    scale: Positive = 1.0


def _check_base(base: Base) -> None:
    if base.geometry.latent_channels != 4:
        raise UserError(f"base {base.name}: the toy expects 4 latent channels")


def _train(
    product: Product,
    base: Base,
    out: Path,
    run_dir: Path,
    config: ToyConfig,
    *,
    resume: bool = False,
    progress: bool = True,
) -> None:
    examples = Examples(product, base.geometry, rotate=False, flip=False)
    examples.use(base.vae)
    references = examples.references()
    names = [defect.name for defect in product.defects]
    mean = {"mean": config.scale * references.mean(0)}

    def write(folder: Path) -> None:
        folder.mkdir()
        save_file(mean, folder / "mean.safetensors")

    prompts = {
        "method": "toy",
        "defects": [{"name": name} for name in names],
        "prompts": {name: name for name in (GOOD, *names)},
    }
    description: dict[str, Any] = {
        "product": product.name,
        "preprocessing": product.preprocessing.to_dict(),
        "layout": product.layout.value,
        "data_fingerprint": product.fingerprint,
        "normals": len(product.normals),
        "shots": {},
        "training": config.to_dict(),
        "losses": {},
        "generation": {},
        "fingerprint": "0" * 64,
    }
    save_checkpoint(out, base, references, {"mean": write}, prompts, description)


def _read(folder: Path) -> Tensor:
    tensor: Tensor = load_file(folder / "mean.safetensors")["mean"]
    return tensor


def _check(checkpoint: Checkpoint) -> None:
    if checkpoint.artifacts["mean"].shape != checkpoint.references.shape[1:]:
        raise UserError(f"checkpoint {checkpoint.path}: its mean has another shape than its references")


METHOD = Method(
    check_base=_check_base,
    defaults=lambda base, product, rules: ToyConfig(scale=len(product.defects)),
    train=_train,
    artifacts={"mean": _read},
    check_checkpoint=_check,
)

"""Loading a single file through diffusers' own loader, without a network."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from seas_runtime.errors import UserError
from seas_runtime.packages import broken_import, excerpt
from seas_train.bases.model_folders import check_vocabulary, quiet_transformers
from seas_train.bases.single_file.kinds import KEPT, check_kind
from seas_train.bases.single_file.tokenizer import clip_tokenizer
from seas_train.bases.tensor_files import is_pickle, read_pickle, read_shapes, write_safetensors
from seas_train.optional_packages import hide_broken_packages

CONFIGS = Path(__file__).parent / "configs"
"""The shapes and the noise schedule of Stable Diffusion 1.x, which a file does not hold."""


def load_single_file(path: Path, what: str, *, allow_pickle: bool = False) -> dict[str, Any]:
    """Tokenizer, text encoder, VAE, U-Net (float32, evaluation mode) and noise schedule from one file.

    Args:
        path: `.safetensors`, or a pickle (`.ckpt` and others).
        what: the base, for messages.
        allow_pickle: take pickles too. Nothing of them is executed; see `seas_train.bases.tensor_files`.

    Raises:
        UserError: it is a pickle and those are not allowed, it is no Stable Diffusion 1.x (what it is instead
            is told), or it is broken.
    """
    hide_broken_packages()
    from diffusers import DDPMScheduler, StableDiffusionPipeline

    if path.suffix.lower() != ".safetensors" and not is_pickle(path):
        raise UserError(f"{what}: {path}: expected a .safetensors or .ckpt file, found {path.suffix or path}")
    if is_pickle(path) and not allow_pickle:
        raise UserError(
            f"{what}: {path} is a pickle, which is not read without --allow-pickle "
            "(nothing of it is executed then either); better, use the model's .safetensors file"
        )
    with _as_safetensors(path, what) as file:
        tokenizer = clip_tokenizer(path.parent, what)
        try:
            with quiet_transformers():
                pipeline = StableDiffusionPipeline.from_single_file(
                    str(file),
                    config=str(CONFIGS),
                    local_files_only=True,
                    tokenizer=tokenizer,
                    scheduler=DDPMScheduler.from_pretrained(str(CONFIGS / "scheduler")),
                    safety_checker=None,
                    feature_extractor=None,
                )
        except Exception as error:  # diffusers raises anything for weights that do not fit
            if culprit := broken_import(error):
                raise UserError(f"{culprit}. It is not the base's fault: {what}") from error
            reason = excerpt(str(error))
            if "meta tensor" in reason:  # how PyTorch says that nothing was put into one
                reason = "some of its weights are missing; is it whole?"
            raise UserError(
                f"{what}: {path} could not be loaded as Stable Diffusion 1.x: {reason}"
            ) from error
    components: dict[str, Any] = {"tokenizer": pipeline.tokenizer, "scheduler": pipeline.scheduler}
    for name in ("text_encoder", "vae", "unet"):
        model = getattr(pipeline, name)
        missing = [key for key, value in model.named_parameters() if value.is_meta]
        if missing:
            raise UserError(
                f"{what}: {path}: {len(missing)} weights of the {name} are missing: {', '.join(missing[:5])}"
            )
        components[name] = model.float().eval()
    check_vocabulary(components, what)
    return components


@contextlib.contextmanager
def _as_safetensors(path: Path, what: str) -> Iterator[Path]:
    """The checked file, or a temporary one with the same tensors where it is a pickle."""
    if not is_pickle(path):
        check_kind(read_shapes(path), what)
        yield path
        return
    tensors = read_pickle(path)
    check_kind({name: tuple(tensor.shape) for name, tensor in tensors.items()}, what)
    with tempfile.TemporaryDirectory(prefix="seas-export-") as made:
        file = Path(made) / "model.safetensors"
        write_safetensors({name: value for name, value in tensors.items() if name.startswith(KEPT)}, file)
        del tensors
        yield file

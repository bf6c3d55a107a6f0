"""Puts the trained parts together as a Stable Diffusion 1.x folder for diffusers, in half precision."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from diffusers import AutoencoderKL, PNDMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from seas_train.bases.micro.tokens import LENGTH

Model = TypeVar("Model", bound=torch.nn.Module)

TEXT_WIDTH = 96
SIZE_LIMIT = 25_000_000  # bytes of everything we ship


def new_unet() -> UNet2DConditionModel:
    """An untrained U-Net: Stable Diffusion's blocks, 48 to 144 channels, one layer each, 8.3 M parameters."""
    return UNet2DConditionModel(
        sample_size=32,
        in_channels=4,
        out_channels=4,
        down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        block_out_channels=(48, 96, 144, 144),
        layers_per_block=1,
        # The number of heads, as in Stable Diffusion 1.x's own config. One at full resolution: a head of 12
        # channels there costs a CPU as much as one of 48, and four of them were half of a training step.
        attention_head_dim=(1, 2, 4, 4),
        norm_num_groups=16,
        cross_attention_dim=TEXT_WIDTH,
    )


def new_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """An untrained CLIP text encoder for the tokenizer's vocabulary: three layers of width 96."""
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_WIDTH,
        projection_dim=TEXT_WIDTH,
        intermediate_size=4 * TEXT_WIDTH,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=LENGTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config)


def new_scheduler() -> PNDMScheduler:
    """Stable Diffusion 1.4's noise schedule."""
    scheduler = PNDMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        skip_prk_steps=True,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type="epsilon",
        timestep_spacing="linspace",  # what generation uses; PNDM's own default would be saved as said
    )
    # PNDM never clips; DDIM and DPM-Solver built from this configuration read it and would.
    scheduler.register_to_config(clip_sample=False)
    return scheduler


def assemble(
    vae: AutoencoderKL,
    unet: UNet2DConditionModel,
    text_encoder: CLIPTextModel,
    tokenizer: CLIPTokenizer,
    out: Path,
) -> None:
    """Write the base to `out`, float16 safetensors; what was there is replaced, a model card kept.

    The models are copied before they are cast, so they may be in training.
    """
    beside = out.with_name(out.name + ".new")
    shutil.rmtree(beside, ignore_errors=True)
    from diffusers import StableDiffusionPipeline  # warns of torchvision, which nothing here needs

    pipeline = StableDiffusionPipeline(
        vae=_half(vae, AutoencoderKL.from_config(_public(vae.config))),
        unet=_half(unet, UNet2DConditionModel.from_config(_public(unet.config))),
        text_encoder=_half(text_encoder, CLIPTextModel(text_encoder.config)),
        tokenizer=tokenizer,
        scheduler=new_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(beside, safe_serialization=True)
    _write_slow_tokenizer(tokenizer, beside / "tokenizer")
    _load_as_float32(beside / "text_encoder" / "config.json")
    for path in beside.rglob("*.safetensors"):
        path.chmod(0o644)
    card = out / "README.md"
    if card.exists():
        shutil.copy(card, beside / card.name)
    size = sum(path.stat().st_size for path in beside.rglob("*") if path.is_file())
    if size > SIZE_LIMIT:
        raise ValueError(f"the assembled base has {size} bytes, more than the {SIZE_LIMIT} it may have")
    old = out.with_name(out.name + ".old")
    if out.exists():
        out.replace(old)
    beside.replace(out)
    shutil.rmtree(old, ignore_errors=True)


def _public(config: Mapping[str, Any]) -> dict[str, Any]:
    """A model's configuration without what diffusers notes of where it was loaded from."""
    return {name: value for name, value in config.items() if not name.startswith("_")}


def _half(trained: Model, fresh: Model) -> Model:
    fresh.load_state_dict(trained.state_dict())
    return fresh.half().eval()


def _write_slow_tokenizer(tokenizer: CLIPTokenizer, folder: Path) -> None:
    """Put `vocab.json` and `merges.txt` beside: other tools read Stable Diffusion's tokenizer from these."""
    source = Path(tokenizer.name_or_path)
    for name in ("vocab.json", "merges.txt", "special_tokens_map.json"):
        shutil.copy(source / name, folder / name)


def _load_as_float32(config: Path) -> None:
    """Let transformers load the text encoder in float32 by default, as diffusers does the rest."""
    content = json.loads(config.read_text(encoding="utf-8"))
    content["dtype"] = "float32"
    config.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

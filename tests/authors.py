"""What the authors' code leaves behind, with random weights: written from its description."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from tests.bases import write_tiny_base

TAPS, VAE_TAPS = (32, 16), (16, 16, 8)
"""Channels of the tiny base's features."""
COARSE, FINE = 48, 16
"""A width that the authors' 32 groups and 8 heads divide."""
# The scheduler of Stable Diffusion 1.4, as published.
SCHEDULER = {
    "_class_name": "PNDMScheduler",
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "clip_sample": False,
    "num_train_timesteps": 1000,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "trained_betas": None,
}


def head_shapes(
    low: int, mid: int, vae: tuple[int, int, int], coarse: int = 128, fine: int = 64
) -> dict[str, tuple[int, ...]]:
    """Every key of the authors' mask head with its shape."""
    width = coarse + fine
    shapes: dict[str, tuple[int, ...]] = {
        "low_feature_conv.0.weight": (coarse, low, 1, 1),
        "mid_feature_conv.0.weight": (fine, mid, 1, 1),
    }
    attention = "mid_attn_block.attentions.0."
    shapes |= {f"{attention}norm.{name}": (width,) for name in ("weight", "bias")}
    for name in ("proj_in", "proj_out"):
        shapes |= {f"{attention}{name}.weight": (width, width, 1, 1), f"{attention}{name}.bias": (width,)}
    for layer in range(4):
        block = f"{attention}transformer_blocks.{layer}."
        shapes |= {
            f"{block}{norm}.{name}": (width,) for norm in ("norm1", "norm3") for name in ("weight", "bias")
        }
        shapes |= {f"{block}attn1.{name}.weight": (width, width) for name in ("to_q", "to_k", "to_v")}
        shapes |= {f"{block}attn1.to_out.0.weight": (width, width), f"{block}attn1.to_out.0.bias": (width,)}
        shapes |= {
            f"{block}ff.net.0.proj.weight": (8 * width, width),
            f"{block}ff.net.0.proj.bias": (8 * width,),
        }
        shapes |= {f"{block}ff.net.2.weight": (width, 4 * width), f"{block}ff.net.2.bias": (width,)}
    for module, channels in enumerate(vae, start=1):
        for conv in range(1, 10):
            kernel = 3 if conv in (3, 6, 8) else 1
            name = f"MRM{module}.conv{conv}."
            shapes[f"{name}0.weight"] = (width, channels if conv == 1 else width, kernel, kernel)
            shapes |= {f"{name}1.{part}": (width,) for part in _NORM}
    shapes |= {f"out_layer.0.{part}": (width,) for part in _NORM}
    return {**shapes, "out_layer.2.weight": (2, width, 3, 3), "out_layer.2.bias": (2,)}


_NORM = ("gain", "bias", "stored_mean", "stored_var")


def random_state(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> dict[str, Tensor]:
    """Random tensors of these shapes, of sizes that keep features alive through the whole head."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in shapes.items():
        values = torch.randn(shape, generator=generator)
        if len(shape) > 1:
            state[name] = values * (2.0 if name.startswith("out_layer") else 1.4) / values[0].numel() ** 0.5
        elif name.endswith(("gain", "stored_var", "norm.weight", "norm1.weight", "norm3.weight")):
            state[name] = 1 + 0.2 * values.clamp(-2, 2)
        else:
            state[name] = 0.1 * values
    return state


def reference_head(
    state: dict[str, Tensor], low: Tensor, mid: Tensor, vae: list[Tensor], *, measure: bool = False
) -> Tensor:
    """The defect's probability [B, H, W]: the authors' forward as it is described, with diffusers'
    transformer.

    With `measure` the state's stored statistics become those of these features, as training would leave them:
    without it random weights make numbers too large to compare.
    """
    from diffusers import Transformer2DModel

    def conv(x: Tensor, name: str) -> Tensor:
        weight = state[f"{name}.weight"]
        return functional.conv2d(x, weight, state.get(f"{name}.bias"), padding=weight.shape[-1] // 2)

    def norm_relu(x: Tensor, name: str) -> Tensor:
        if measure:
            state[f"{name}.stored_mean"] = x.mean(dim=(0, 2, 3))
            state[f"{name}.stored_var"] = x.var(dim=(0, 2, 3))
        gain, bias, mean, var = (state[f"{name}.{part}"].view(1, -1, 1, 1) for part in _NORM)
        return functional.relu((x - mean) / torch.sqrt(var + 1e-5) * gain + bias)

    def block(x: Tensor, name: str) -> Tensor:
        return norm_relu(conv(x, f"{name}.0"), f"{name}.1")

    width = state["out_layer.0.gain"].shape[0]
    transformer = Transformer2DModel(
        num_attention_heads=8,
        attention_head_dim=width // 8,
        in_channels=width,
        num_layers=4,
        norm_num_groups=32,
    )
    prefix = "mid_attn_block.attentions.0."
    own = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    transformer.load_state_dict(own, strict=True)
    with torch.no_grad():
        larger = functional.interpolate(low, size=mid.shape[2:], mode="bilinear", align_corners=False)
        x = torch.cat([conv(larger, "low_feature_conv.0"), conv(mid, "mid_feature_conv.0")], dim=1)
        x = transformer.eval()(x).sample
        for number, tap in enumerate(vae, start=1):
            x = functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)
            m = f"MRM{number}.conv"
            s = block(block(block(x, f"{m}2"), f"{m}3"), f"{m}4")
            y = s + block(x, f"{m}5") + block(block(block(s, f"{m}7"), f"{m}8"), f"{m}9")
            x = block(tap, f"{m}1") * y + x
        return conv(norm_relu(x, "out_layer.0"), "out_layer.2").softmax(dim=1)[:, 1]


def random_features(
    taps: tuple[int, int], vae: tuple[int, int, int], latent: int, batch: int = 2
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Random features of a base with these channels: coarse, fine and the VAE's."""
    generator = torch.Generator().manual_seed(1)

    def random(channels: int, size: int) -> Tensor:
        return torch.randn(batch, channels, size, size, generator=generator)

    refining = [random(channels, latent * 2**number) for number, channels in enumerate(vae, start=1)]
    return random(taps[0], latent // 2), random(taps[1], latent), refining


def trained_state(
    taps: tuple[int, int], vae: tuple[int, int, int], coarse: int = 128, fine: int = 64, seed: int = 0
) -> dict[str, Tensor]:
    """A head's random weights with statistics that fit random features."""
    state = random_state(head_shapes(*taps, vae, coarse, fine), seed)
    reference_head(state, *random_features(taps, vae, 8), measure=True)
    return state


def write_authors(folder: Path, *, defects: int = 2, seed: int = 0) -> Path:
    """Write `base`, `generation-checkpoint` (weights as .bin) and `mask-checkpoint/rmp` into `folder`."""
    base = write_tiny_base(folder / "base", seed=seed)
    other = write_tiny_base(folder / "other", seed=seed + 1)
    generation = folder / "generation-checkpoint"
    for name in ("unet", "text_encoder", "tokenizer", "scheduler", "feature_extractor"):
        (generation / name).mkdir(parents=True)
    index = json.loads((other / "model_index.json").read_text())
    index |= {
        "_diffusers_version": "0.19.0",
        "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
        "feature_extractor": ["transformers", "CLIPImageProcessor"],
    }
    (generation / "model_index.json").write_text(json.dumps(index))
    (generation / "scheduler" / "scheduler_config.json").write_text(json.dumps(SCHEDULER))
    (generation / "feature_extractor" / "preprocessor_config.json").write_text("{}")
    count = _write_tokenizer(other / "tokenizer", generation / "tokenizer", defects)
    _write_text_encoder(other / "text_encoder", generation / "text_encoder", count)
    (generation / "unet" / "config.json").write_bytes((other / "unet" / "config.json").read_bytes())
    weights = _read(other / "unet" / "diffusion_pytorch_model.safetensors")
    torch.save(weights, generation / "unet" / "diffusion_pytorch_model.bin")
    (folder / "mask-checkpoint").mkdir()
    state = trained_state(TAPS, VAE_TAPS, COARSE, FINE, seed)
    torch.save(state, folder / "mask-checkpoint" / "rmp")
    assert base.is_dir()
    return folder


def _read(file: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    tensors: dict[str, Tensor] = load_file(file)
    return tensors


def _write_tokenizer(source: Path, target: Path, defects: int) -> int:
    """The tokenizer with `ob1` and `sks1..` as transformers 4.2x saved added tokens; returns their number."""
    for file in source.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    first = len(json.loads((source / "vocab.json").read_text()))
    words = ["ob1", *(f"sks{number}" for number in range(1, 4 * defects + 1))]
    (target / "added_tokens.json").write_text(json.dumps({word: first + i for i, word in enumerate(words)}))
    return len(words)


def _write_text_encoder(source: Path, target: Path, added: int) -> None:
    """The text encoder with rows for the added tokens, its keys as transformers 4.2x called them."""
    config = json.loads((source / "config.json").read_text())
    state = {
        f"text_model.{k.removeprefix('text_model.')}": v
        for k, v in _read(source / "model.safetensors").items()
    }
    embedding = "text_model.embeddings.token_embedding.weight"
    rows = torch.randn(added, state[embedding].shape[1], generator=torch.Generator().manual_seed(7))
    state[embedding] = torch.cat([state[embedding], rows])
    state["text_model.embeddings.position_ids"] = torch.arange(config["max_position_embeddings"])[None]
    config["vocab_size"] = state[embedding].shape[0]
    (target / "config.json").write_text(json.dumps(config))
    torch.save(state, target / "pytorch_model.bin")

"""The plain parts in the layout of Hugging Face's optimum, for its ONNX Runtime pipeline and its like.

No taps: optimum 0.1 moves the U-Net's noise behind every other output and then takes the first one for it.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import onnx_ir as ir
import torch
from torch import Tensor, nn

from seas_engines.targets.targets import Precision, require_target
from seas_export.graphs.trace import TEXT_ENCODER, UNET, VAE_DECODER, VAE_ENCODER, Part, trace_or_fail
from seas_export.graphs.weights import WeightStore
from seas_runtime.errors import UserError
from seas_runtime.files import require_space, write_json
from seas_runtime.outputs.checking import check_out
from seas_runtime.outputs.kinds import Kind
from seas_runtime.outputs.replacing import replace_directory
from seas_train import Checkpoint, load_checkpoint
from seas_train.bases.model_folders import model_index, quiet_transformers
from seas_train.diffusion.consistency import LCM, lcm_scheduler
from seas_train.diffusion.solver import SolverRules, dpm_solver

GRAPH_FILE, WEIGHTS_FILE = "model.onnx", "model.onnx_data"
INDEX_FILE = "model_index.json"
DTYPES = {Precision.FP32: torch.float32, Precision.FP16: torch.float16}
Progress = Callable[[str], None]

OPTIMUM = Kind("an export in optimum's layout")
"""Known by its list alone: anybody's export for optimum has the same names."""


def export_optimum(
    checkpoint: Path,
    out: Path,
    *,
    precision: str = "fp32",
    force: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Write the text encoder, the U-Net and both halves of the VAE as optimum expects them, or nothing.

    Args:
        checkpoint: folder that `seas-export train` wrote.
        out: the folder to make.
        precision: fp32 or fp16: of weights, activations, inputs and outputs.
        force: replace such a folder that is there.
        progress: is told what is done, line by line.

    Raises:
        UserError: the checkpoint cannot be read, something is in the way, or the disk has no room.
        CheckFailed: a part cannot be traced.
    """
    say = progress or (lambda line: None)
    _, chosen, spec = require_target("cpu", precision)
    if chosen not in DTYPES:
        raise UserError(
            f"--precision: expected one of {', '.join(item.value for item in DTYPES)} with --layout optimum, "
            f"found {chosen.value}; choose one, or export a bundle, without --layout"
        )
    check_out(out, OPTIMUM, "--out", force=force, inputs={"CHECKPOINT": checkpoint})
    loaded = load_checkpoint(checkpoint)
    dtype = DTYPES[chosen]
    models = (loaded.unet, loaded.vae, loaded.text_encoder)
    count = sum(parameter.numel() for model in models for parameter in model.parameters())
    require_space(out, count * dtype.itemsize, "this export")
    with replace_directory(out, OPTIMUM) as folder:
        for part in plain_parts(loaded, dtype):
            say(f"trace {part.name}")
            _save(trace_or_fail(part, spec.opset), folder / part.name)
            del part
        _write_configurations(loaded, folder)
    return out


def plain_parts(checkpoint: Checkpoint, dtype: torch.dtype, batch: int = 2) -> Iterator[Part]:
    """Yield the four parts under optimum's names for inputs and outputs, in its order."""
    geometry = checkpoint.geometry
    side, latent, channels = geometry.image_size, geometry.latent_size, geometry.latent_channels
    ids = torch.randint(0, len(checkpoint.tokenizer), (batch, geometry.context_length))
    yield _part(
        TEXT_ENCODER,
        _TextEncoder(_cast(checkpoint.text_encoder, dtype)),
        {"input_ids": ids},
        ("last_hidden_state", "pooler_output"),
    )
    latents = torch.randn(batch, channels, latent, latent).to(dtype)
    context = torch.randn(batch, geometry.context_length, geometry.context_width).to(dtype)
    yield _part(
        UNET,
        _UNet(_cast(checkpoint.unet, dtype)),
        {"sample": latents, "timestep": torch.tensor(500.0).to(dtype), "encoder_hidden_states": context},
        ("out_sample",),
    )
    image = (torch.rand(batch, 3, side, side) * 2 - 1).to(dtype)
    yield _part(
        VAE_ENCODER,
        _VAEEncoder(_cast(checkpoint.vae, dtype)),
        {"sample": image},
        ("latent_parameters",),
    )
    yield _part(
        VAE_DECODER, _VAEDecoder(_cast(checkpoint.vae, dtype)), {"latent_sample": latents}, ("sample",)
    )


def _part(name: str, module: nn.Module, inputs: dict[str, Tensor], outputs: tuple[str, ...]) -> Part:
    return Part(name, module.eval(), inputs, outputs, tuple(key for key in inputs if key != "timestep"))


def _cast(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Return the module itself at float32, else a copy in `dtype`, made without a float32 copy in between."""
    if dtype == torch.float32:
        return module
    known: dict[int, Any] = {}
    for tensor in (*module.parameters(), *module.buffers()):
        made = tensor.detach().to(dtype) if tensor.is_floating_point() else tensor.detach()
        parameter = isinstance(tensor, nn.Parameter)
        known[id(tensor)] = nn.Parameter(made, requires_grad=False) if parameter else made
    return copy.deepcopy(module, known)


class _Wrapped(nn.Module):
    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model


class _TextEncoder(_Wrapped):
    def forward(self, input_ids: Tensor) -> tuple[Tensor, Tensor]:
        made = self.model(input_ids)
        return made.last_hidden_state, made.pooler_output


class _UNet(_Wrapped):
    def forward(self, sample: Tensor, timestep: Tensor, encoder_hidden_states: Tensor) -> Tensor:
        predicted: Tensor = self.model(sample, timestep, encoder_hidden_states, return_dict=False)[0]
        return predicted


class _VAEEncoder(_Wrapped):
    def forward(self, sample: Tensor) -> Tensor:
        moments: Tensor = self.model.encoder(sample)
        return moments if self.model.quant_conv is None else self.model.quant_conv(moments)


class _VAEDecoder(_Wrapped):
    def forward(self, latent_sample: Tensor) -> Tensor:
        vae = self.model
        hidden = latent_sample if vae.post_quant_conv is None else vae.post_quant_conv(latent_sample)
        pixels: Tensor = vae.decoder(hidden)
        return pixels


def _save(model: ir.Model, folder: Path) -> None:
    """Write the graph, and its large weights beside it under the name that optimum gives them."""
    with WeightStore(folder, WEIGHTS_FILE) as store:
        store.move([model])
    ir.save(model, folder / GRAPH_FILE)


def _write_configurations(checkpoint: Checkpoint, folder: Path) -> None:
    """Write the parts' configurations, tokenizer and scheduler; images have the checkpoint's size."""
    geometry = checkpoint.geometry
    unet = {**checkpoint.unet.config, "sample_size": geometry.latent_size}
    vae = {**checkpoint.vae.config, "sample_size": geometry.image_size}
    for name, values in ((UNET, unet), (VAE_ENCODER, vae), (VAE_DECODER, vae)):
        public = {key: value for key, value in values.items() if not key.startswith("_")}
        kind = "UNet2DConditionModel" if name == UNET else "AutoencoderKL"
        write_json(folder / name / "config.json", {"_class_name": kind, **public})
    text = json.loads(checkpoint.text_encoder.config.to_json_string())
    write_json(folder / TEXT_ENCODER / "config.json", {**text, "architectures": ["CLIPTextModel"]})
    # The authors' sampler, or a student's, which their pipelines take from here.
    generation, config = checkpoint.meta["generation"], checkpoint.scheduler.config
    student = generation.get("sampler") == LCM
    rules = SolverRules.of(generation)
    solver = lcm_scheduler(config, generation["steps"]) if student else dpm_solver(config, 25, rules)
    solver.save_pretrained(folder / "scheduler")
    with quiet_transformers():
        checkpoint.tokenizer.save_pretrained(folder / "tokenizer")
    _write_slow_tokenizer(folder / "tokenizer")
    write_json(folder / INDEX_FILE, model_index(type(solver).__name__))


def _write_slow_tokenizer(folder: Path) -> None:
    """Put beside `tokenizer.json` what transformers 4, which optimum needs, reads in its place."""
    content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in content["model"]["merges"]]
    write_json(folder / "vocab.json", content["model"]["vocab"])
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]) + "\n", encoding="utf-8")
    config = folder / "tokenizer_config.json"
    added = {
        str(token["id"]): {key: value for key, value in token.items() if key != "id"}
        for token in content["added_tokens"]
    }
    values = json.loads(config.read_text(encoding="utf-8"))
    write_json(config, {**values, "added_tokens_decoder": added})

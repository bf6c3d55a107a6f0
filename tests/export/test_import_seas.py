"""`import-seas`, and the authors' whole loop: what they trained gives, exported, what their loop gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from seas_export.export import export_bundle
from seas_export.methods.seas.reference import ReferenceLoop
from seas_runtime.generation.generator import Generator
from seas_runtime.manifest.types import SCHEMA
from seas_runtime.methods.noise import PairNoise, Stream
from seas_runtime.methods.request import PairRequest
from seas_train import load_checkpoint
from tests.authors import reference_head, write_authors
from tests.export.commands import Run
from tests.products import write_tiny_product

STEPS, GUIDANCE, PAIRS, SEED = 25, 8.0, 2, 3


@pytest.fixture(scope="module")
def authors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return write_authors(tmp_path_factory.mktemp("authors"))


def words(authors: Path, product: Path, out: Path, **changed: Any) -> list[object]:
    options = {
        "--generation": authors / "generation-checkpoint",
        "--mask": authors / "mask-checkpoint" / "rmp",
        "--base": authors / "base",
        "--product": product.name,
        "--data": product.parent,
        "--out": out,
    }
    options.update({f"--{name}": value for name, value in changed.items()})
    return [word for name, value in options.items() if value is not None for word in (name, value)]


def described_loop(
    authors: Path, prompt: str, reference: Tensor, fresh: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Final latents, mean probability and pixels, by the authors' loop as it is described.

    Args:
        authors: their folders.
        prompt: of the defect.
        reference: [B, C, h, w], unscaled latents of normal images.
        fresh: [B, C, h, w], standard normal.
    """
    from diffusers import AutoencoderKL, DPMSolverMultistepScheduler, UNet2DConditionModel
    from safetensors.torch import save_file
    from transformers import CLIPTextModel, CLIPTokenizer

    folder = authors / "generation-checkpoint"
    state = torch.load(folder / "unet/diffusion_pytorch_model.bin", weights_only=True)
    unet = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(folder / "unet")).eval()
    unet.load_state_dict(state)
    weights = folder / "text_encoder/model.safetensors"
    save_file(
        torch.load(folder / "text_encoder/pytorch_model.bin", weights_only=True), weights, {"format": "pt"}
    )
    text = CLIPTextModel.from_pretrained(folder / "text_encoder").eval()
    weights.unlink()
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    vae = AutoencoderKL.from_pretrained(authors / "base/vae").eval()
    head = torch.load(authors / "mask-checkpoint/rmp", weights_only=True)
    config = json.loads((folder / "scheduler/scheduler_config.json").read_text())
    solver = DPMSolverMultistepScheduler.from_config(config, final_sigmas_type="sigma_min")
    solver.set_timesteps(STEPS)

    taps: dict[str, Tensor] = {}
    blocks = {"low": unet.up_blocks[1], "mid": unet.up_blocks[2]}
    blocks |= {f"vae{number}": vae.decoder.up_blocks[number] for number in range(3)}
    for name, block in blocks.items():
        block.register_forward_hook(lambda _m, _i, out, name=name: taps.__setitem__(name, out))

    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1500, dtype=torch.float64) ** 2
    final = torch.cumprod(1 - betas, dim=0)[-1]
    latents = (final.sqrt() * reference + (1 - final).sqrt() * fresh).float()
    batch = len(latents)
    with torch.no_grad():
        ids = tokenizer(["", prompt], padding="max_length", max_length=16, return_tensors="pt").input_ids
        context = text(ids)[0].repeat_interleave(batch, dim=0)
        maps = []
        for number, timestep in enumerate(solver.timesteps):
            both = unet(torch.cat([latents, latents]), timestep, context).sample
            without, conditional = both.chunk(2)
            if number >= STEPS - 3:
                low, mid = (taps[name].chunk(2)[1] for name in ("low", "mid"))
                vae.decode(latents / vae.config.scaling_factor)
                maps.append(reference_head(head, low, mid, [taps[f"vae{n}"] for n in range(3)]))
            predicted = without + GUIDANCE * (conditional - without)
            latents = solver.step(predicted, timestep, latents).prev_sample
        pixels = vae.decode(latents / vae.config.scaling_factor).sample
    return latents, torch.stack(maps).mean(dim=0), pixels


@pytest.mark.slow
def test_the_authors_loop(authors: Path, run: Run, toy_product: Path, tmp_path: Path) -> None:
    out = tmp_path / "checkpoint"
    ended = run("import-seas", *words(authors, toy_product, out), "--keep-statistics", "--json")
    assert ended.code == 0, ended.err
    assert ended.json["spacing"] == "linspace"
    assert ended.json["tokens"]["spot"] == ["sks1", "sks2", "sks3", "sks4"]
    checkpoint = load_checkpoint(out)
    prompt = "a ob1 with sks5 sks6 sks7 sks8"
    assert checkpoint.prompts["dark_line"] == prompt

    references = checkpoint.references
    noises = [PairNoise(SEED, index, 0, "dark_line", SCHEMA) for index in range(PAIRS)]
    chosen = [noise.choice(Stream.REFERENCE, len(references)) for noise in noises]
    shape = tuple(references.shape[1:])
    fresh = torch.from_numpy(np.stack([noise.normal(Stream.START, shape) for noise in noises]))
    latents, probability, pixels = described_loop(authors, prompt, references[chosen], fresh)
    tau = round(float(probability.median()), 4)  # where a difference would show most
    expected = (probability >= tau).numpy()
    assert 0.2 < expected.mean() < 0.8
    assert float(probability.std()) > 0.05

    loop = list(ReferenceLoop(checkpoint, STEPS).generate("dark_line", PAIRS, SEED, batch=PAIRS, tau=tau))
    assert np.abs(np.stack([pair.latents for pair in loop]) - latents.numpy()).max() <= 1e-3
    assert iou(np.stack([pair.mask for pair in loop]) > 0, expected) >= 0.999

    bundle = export_bundle(out, tmp_path / "bundle").bundle
    generator = Generator.open(bundle, threads=1)
    request = generator.request("dark_line", SEED, tau=tau, gate=False)
    batch = generator._loop.run([PairRequest(request, index) for index in range(PAIRS)], 0)
    assert np.abs(batch.latents - latents.numpy()).max() <= 1e-3
    made = list(generator.generate("dark_line", PAIRS, SEED, tau=tau, gate=False))
    assert iou(np.stack([pair.mask for pair in made]) > 0, expected) >= 0.999
    image = ((pixels / 2 + 0.5).clamp(0, 1) * 255).round().permute(0, 2, 3, 1).numpy()
    assert np.abs(np.stack([pair.image for pair in made]) - image).max() <= 1


def iou(found: np.ndarray, expected: np.ndarray) -> float:
    return float((found & expected).sum() / (found | expected).sum())


def test_no_photographs_say_what_to_give(authors: Path, run: Run, toy_product: Path, tmp_path: Path) -> None:
    ended = run("import-seas", *words(authors, toy_product, tmp_path / "out", data=tmp_path))
    assert ended.code == 2
    assert f"with {toy_product.name}/train/good: --data ROOT" in ended.err


def test_what_is_in_the_way_stays(authors: Path, run: Run, toy_product: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    ended = run("import-seas", *words(authors, toy_product, tmp_path / "out"))
    assert ended.code == 2
    assert "Only what a command of ours wrote is ever replaced" in ended.err
    assert (tmp_path / "out" / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("option", "value"), [("guidance", -0.5), ("guidance", 1000), ("tau", 0), ("tau", 1.5)]
)
def test_numbers_out_of_range_are_refused(
    authors: Path, run: Run, toy_product: Path, tmp_path: Path, option: str, value: float
) -> None:
    ended = run("import-seas", *words(authors, toy_product, tmp_path / "out", **{option: value}))
    assert ended.code == 2
    assert f"--{option}: expected" in ended.err


def test_defects_are_named_on_the_command_line(authors: Path, run: Run, tmp_path: Path) -> None:
    product = write_tiny_product(tmp_path / "data" / "plate", pairs=0)
    command = words(authors, product, tmp_path / "out")
    assert run("import-seas", *command).code == 2
    ended = run("import-seas", *command, "--defect", "b", "--defect", "a", "--guidance", "5")
    assert ended.code == 0, ended.err
    assert "a: sks1 sks2 sks3 sks4" in ended.out
    assert "guidance 5" in ended.out

"""optimum's own pipeline, in the peers' environment, against diffusers' on the same models."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from seas_export.export.optimum import export_optimum
from seas_train import Checkpoint

ROOT = Path(__file__).parents[2]
PYTHON = Path(os.environ.get("SEAS_PEERS_PYTHON", ROOT / "benchmarks" / "peers" / ".venv" / "bin" / "python"))
STEPS, GUIDANCE = 5, 4.0
SCRIPT = """
import sys
import numpy as np
import torch
from optimum.onnxruntime import ORTStableDiffusionPipeline

folder, latents, prompt, out = sys.argv[1:]
pipeline = ORTStableDiffusionPipeline.from_pretrained(folder)
made = pipeline(
    prompt,
    latents=torch.from_numpy(np.load(latents)),
    num_inference_steps=%d,
    guidance_scale=%f,
    output_type="np",
)
np.save(out, made.images)
"""


@pytest.mark.slow
@pytest.mark.skipif(
    not PYTHON.is_file(), reason="no peers' environment: make it with benchmarks/peers/make.py"
)
def test_optimums_pipeline_draws_what_diffusers_does(
    checkpoint: Checkpoint, checkpoint_folder: Path, tmp_path: Path
) -> None:
    from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline

    folder = export_optimum(checkpoint_folder, tmp_path / "plain")
    latents = np.random.default_rng(0).standard_normal((1, 4, 8, 8)).astype(np.float32)
    np.save(tmp_path / "latents.npy", latents)
    prompt = checkpoint.prompts[checkpoint.defects[0]]
    command = [
        str(PYTHON),
        "-c",
        SCRIPT % (STEPS, GUIDANCE),
        str(folder),
        str(tmp_path / "latents.npy"),
        prompt,
    ]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    subprocess.run([*command, str(tmp_path / "made.npy")], check=True, env=environment)
    pipeline = StableDiffusionPipeline(
        vae=checkpoint.vae,
        text_encoder=checkpoint.text_encoder,
        tokenizer=checkpoint.tokenizer,
        unet=checkpoint.unet,
        scheduler=DPMSolverMultistepScheduler.from_pretrained(folder / "scheduler"),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    expected = pipeline(
        prompt,
        latents=torch.from_numpy(latents),
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        output_type="np",
    ).images
    made = np.load(tmp_path / "made.npy")
    assert made.shape == expected.shape == (1, 64, 64, 3)
    assert np.abs(made - expected).max() < 2 / 255
    assert made.std() > 0.01

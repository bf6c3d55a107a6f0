"""The base as it is shipped: small, whole, and loaded by diffusers as any Stable Diffusion 1.x is."""

import json

import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline

from seas_train.bases.micro import MICRO_PATH
from seas_train.bases.micro.assemble import SIZE_LIMIT

pytestmark = pytest.mark.skipif(
    not (MICRO_PATH / "model_index.json").exists(), reason=f"no weights in {MICRO_PATH}"
)


def test_it_is_small_and_holds_no_pickle_and_no_foreign_paths() -> None:
    files = [path for path in MICRO_PATH.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= SIZE_LIMIT
    assert {path.suffix for path in files} <= {".json", ".safetensors", ".txt", ".md"}
    for path in files:
        if path.suffix == ".json":
            assert "/tmp" not in path.read_text(encoding="utf-8"), path


def test_its_configuration_is_stable_diffusions() -> None:
    scheduler = json.loads((MICRO_PATH / "scheduler" / "scheduler_config.json").read_text(encoding="utf-8"))
    expected = {
        "_class_name": "PNDMScheduler",
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "num_train_timesteps": 1000,
        "steps_offset": 1,
        "clip_sample": False,
        "skip_prk_steps": True,
        "set_alpha_to_one": False,
        "prediction_type": "epsilon",
    }
    assert {key: scheduler[key] for key in expected} == expected
    vae = json.loads((MICRO_PATH / "vae" / "config.json").read_text(encoding="utf-8"))
    assert vae["scaling_factor"] == 0.18215


def test_diffusers_makes_an_image_with_it() -> None:
    pipeline = StableDiffusionPipeline.from_pretrained(MICRO_PATH, safety_checker=None)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.scheduler = DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config)
    eos = pipeline.tokenizer.convert_tokens_to_ids("<|endoftext|>")
    assert pipeline.text_encoder.config.eos_token_id == eos
    assert pipeline.text_encoder.config.vocab_size == len(pipeline.tokenizer)
    generator = torch.Generator().manual_seed(0)
    image = pipeline(
        "a photo of an object", num_inference_steps=3, generator=generator, output_type="np"
    ).images[0]
    assert image.shape == (256, 256, 3)
    assert image.std() > 0.01

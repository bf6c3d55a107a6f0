"""Peers: Hugging Face's optimum pipelines, in their own environment. They make the image, and no masks.

Both read the plain parts that `seas-export export --layout optimum` wrote, and start from the latents and the
prompts' embeddings that every contestant has, so that their image is the same image.
"""

from __future__ import annotations

import importlib.metadata
import time
from pathlib import Path
from typing import Any

import numpy as np

from comparison.task import Outcome, Task

PARTS = ("text_encoder", "unet", "vae_encoder", "vae_decoder")
NO_MASKS = "image only: N steps and one decode; it makes no masks"


def run_onnxruntime(task: Task) -> Outcome:
    """Run optimum's ORTStableDiffusionPipeline on the CPU."""
    began = time.perf_counter()
    import onnxruntime
    from optimum.onnxruntime import ORTStableDiffusionPipeline

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = task.threads
    assert task.plain is not None
    pipeline = ORTStableDiffusionPipeline.from_pretrained(task.plain, session_options=options)
    packages = ("optimum", "optimum-onnx", "onnxruntime", "diffusers", "transformers", "torch")
    return _measure(task, began, pipeline, packages, [NO_MASKS])


def run_openvino(task: Task, precision: str) -> Outcome:
    """Run optimum-intel's OVStableDiffusionPipeline, computing in `precision` (f32 or bf16)."""
    began = time.perf_counter()
    import openvino
    from optimum.intel import OVStableDiffusionPipeline

    assert task.plain is not None
    folder = Path(task.plain)
    for part in PARTS:
        converted = folder / part / "openvino_model.xml"
        if not converted.is_file():
            openvino.save_model(openvino.convert_model(folder / part / "model.onnx"), converted, False)
    config = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": str(task.threads)}
    pipeline = OVStableDiffusionPipeline.from_pretrained(task.plain, ov_config=config, compile=False)
    side = task.starts.shape[2] * pipeline.vae_scale_factor
    pipeline.reshape(batch_size=task.batch, height=side, width=side, num_images_per_prompt=1)
    pipeline.compile()
    packages = ("optimum", "optimum-intel", "openvino", "diffusers", "transformers", "torch")
    return _measure(task, began, pipeline, packages, [NO_MASKS, f"inference precision {precision}"])


def _measure(task: Task, began: float, pipeline: Any, packages: tuple[str, ...], notes: list[str]) -> Outcome:
    import torch
    from diffusers import DPMSolverMultistepScheduler

    torch.set_num_threads(task.threads)
    pipeline.scheduler = DPMSolverMultistepScheduler.from_config(task.scheduler)
    pipeline.set_progress_bar_config(disable=True)
    loaded = time.perf_counter()

    def make(first: int, count: int) -> np.ndarray[Any, Any]:
        repeated = [
            torch.from_numpy(np.repeat(array[None], count, axis=0)) for array in (task.context, task.negative)
        ]
        made = pipeline(
            prompt_embeds=repeated[0],
            negative_prompt_embeds=repeated[1],
            latents=torch.from_numpy(task.starts[first : first + count].copy()),
            num_inference_steps=task.steps,
            guidance_scale=task.guidance,
            output_type="np",
        ).images
        return np.round(made * 255).astype(np.uint8)

    for first in range(0, task.warm_up, task.batch):
        make(first, task.batch)
    warm = time.perf_counter()
    seconds: list[float] = []
    processor: list[float] = []
    images = []
    for first in range(task.warm_up, task.warm_up + task.pairs, task.batch):
        count = min(task.batch, task.warm_up + task.pairs - first)
        before, spent = time.perf_counter(), time.process_time()
        images.append(make(first, count))
        seconds += [(time.perf_counter() - before) / count] * count
        processor += [(time.process_time() - spent) / count] * count
    return Outcome(
        seconds=seconds,
        processor_seconds=processor,
        load_seconds=loaded - began,
        warm_up_seconds=warm - loaded,
        images=np.concatenate(images),
        probabilities=None,
        packages={name: importlib.metadata.version(name) for name in packages},
        notes=notes,
    )

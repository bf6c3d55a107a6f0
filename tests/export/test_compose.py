"""The composed graphs, run by ONNX Runtime against the parts they are made of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
import torch

from seas_export.export import ExportResult
from seas_runtime.bundle.reading import Bundle
from seas_train import Checkpoint
from tests.export.test_weights import places
from tests.schedules import apply_step, scaled_input

Run = Callable[..., list[np.ndarray]]
SHAPE = (4, 8, 8)


@pytest.fixture(scope="module")
def content(exported: ExportResult) -> Bundle:
    return Bundle.read(exported.bundle)


@pytest.fixture(scope="module")
def run(exported: ExportResult) -> Run:
    sessions: dict[str, onnxruntime.InferenceSession] = {}

    def run_graph(name: str, **feed: np.ndarray) -> list[np.ndarray]:
        if name not in sessions:
            file = exported.bundle / "graphs" / f"{name}.onnx"
            sessions[name] = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        return list(sessions[name].run(None, feed))

    return run_graph


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def step_feed(content: Bundle, batch: int, index: int, guidance: float = 3.0) -> dict[str, np.ndarray]:
    words = content.tables["embeddings"]
    context = np.stack([words["chip"], words["good"]] * batch)[:batch]
    return {
        "latents": noise(batch, *SHAPE),
        "previous_x0": noise(batch, *SHAPE, seed=1),
        "schedule": content.schedule().table,
        "step_index": np.array([index]),
        "guidance": np.array([guidance], np.float32),
        "context": context,
        "negative_context": words["unconditional"][None],
        "mask": np.ones((batch, 1, *SHAPE[1:]), np.float32),
        "background": np.zeros((batch, *SHAPE), np.float32),
        "blend_noise": np.zeros((batch, *SHAPE), np.float32),
    }


@pytest.mark.parametrize("batch", [1, 2, 5])
@pytest.mark.parametrize("index", [0, 4, 9])
def test_step_is_guidance_and_the_table_around_the_unet(
    run: Run, content: Bundle, batch: int, index: int
) -> None:
    feed = step_feed(content, batch, index)
    following, x0, tap_coarse, tap_fine, blended = run("step", **feed)
    assert np.array_equal(blended, feed["latents"])
    schedule = content.schedule()
    given = {
        "latents": scaled_input(schedule, index, feed["latents"]),
        "timestep": schedule.table[index, :1],
    }
    negative = np.repeat(feed["negative_context"], batch, axis=0)
    unconditional, _, _ = run("unet", **given, context=negative)
    conditional, coarse, fine = run("unet", **given, context=feed["context"])
    prediction = unconditional + 3.0 * (conditional - unconditional)
    expected, expected_x0 = apply_step(schedule, index, feed["latents"], feed["previous_x0"], prediction)
    for found, wanted in ((following, expected), (x0, expected_x0), (tap_coarse, coarse), (tap_fine, fine)):
        assert found.shape == wanted.shape
        assert np.abs(found - wanted).max() < 2e-5 * max(1.0, np.abs(wanted).max())


@pytest.mark.parametrize("graph", ["step", "step_unguided"])
@pytest.mark.parametrize("index", [0, 4, 9])
def test_a_step_starts_from_the_latents_inside_and_the_noised_background_outside(
    run: Run, content: Bundle, checkpoint: Checkpoint, graph: str, index: int
) -> None:
    """Noised by diffusers' own forward process at the step's timestep."""
    feed = step_feed(content, 3, index)
    if graph == "step_unguided":
        del feed["guidance"], feed["negative_context"]
    background, fresh = noise(3, *SHAPE, seed=2), noise(3, *SHAPE, seed=3)
    mask = np.zeros((3, 1, *SHAPE[1:]), np.float32)
    mask[0, :, 2:5, 1:7], mask[1, :, 0, 0], mask[2] = 1, 0.25, 1
    made = run(graph, **{**feed, "mask": mask, "background": background, "blend_noise": fresh})
    timestep = torch.tensor(round(float(feed["schedule"][index, 0])))
    tensors = [torch.from_numpy(array).double() for array in (background, fresh)]
    noised = checkpoint.scheduler.add_noise(*tensors, timestep).numpy()
    expected = np.where(mask == 1, feed["latents"], noised)
    expected[1, :, 0, 0] = 0.25 * feed["latents"][1, :, 0, 0] + 0.75 * noised[1, :, 0, 0]
    assert np.abs(made[-1] - expected).max() < 1e-5
    assert np.array_equal(made[-1][2], feed["latents"][2])
    alone = run(graph, **{**feed, "latents": made[-1]})  # the rest of the step is that of what was blended
    for one, other in zip(made, alone, strict=True):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("batch", [1, 3])
def test_encode_image_is_the_posteriors_mean_as_the_unet_sees_it(
    run: Run, checkpoint: Checkpoint, batch: int
) -> None:
    side = checkpoint.geometry.image_size
    image = np.random.default_rng(5).integers(0, 256, (batch, side, side, 3), dtype=np.uint8)
    (latents,) = run("encode_image", image=image)
    pixels = torch.from_numpy(image).permute(0, 3, 1, 2).float() / 255 * 2 - 1
    with torch.inference_mode():
        expected = checkpoint.vae.encode(pixels).latent_dist.mode() * checkpoint.vae.config.scaling_factor
    assert latents.shape == (batch, *SHAPE)
    assert np.abs(latents - expected.numpy()).max() < 1e-5 * expected.abs().max()


def test_encoding_reads_the_encoders_own_weights(exported: ExportResult) -> None:
    names = ("encode_image", "vae_encoder")
    composed, part = (places(exported.bundle / f"graphs/{name}.onnx") for name in names)
    assert composed
    assert set(composed.values()) == set(part.values())


def test_schedule_and_guidance_are_inputs(run: Run, content: Bundle) -> None:
    """The same graph takes a table of other length, and no guidance where it is one."""
    feed = step_feed(content, 1, 3, guidance=1.0) | {"schedule": content.schedule("ddim", 50).table}
    following = run("step", **feed)[0]
    timestep = feed["schedule"][3, :1]
    conditional = run("unet", latents=feed["latents"], timestep=timestep, context=feed["context"])[0]
    expected, _ = apply_step(
        content.schedule("ddim", 50), 3, feed["latents"], feed["previous_x0"], conditional
    )
    assert np.abs(following - expected).max() < 1e-4


@pytest.mark.parametrize("batch", [1, 3])
def test_a_step_without_guidance_is_a_step_with_guidance_one(run: Run, content: Bundle, batch: int) -> None:
    feed = step_feed(content, batch, 4, guidance=1.0)
    expected = run("step", **feed)
    del feed["guidance"], feed["negative_context"]
    for found, wanted in zip(run("step_unguided", **feed), expected, strict=True):
        assert found.shape == wanted.shape
        assert np.abs(found - wanted).max() < 2e-5 * max(1.0, np.abs(wanted).max())


def test_a_step_without_guidance_reads_the_same_weights(exported: ExportResult) -> None:
    guided, plain = (places(exported.bundle / f"graphs/{name}.onnx") for name in ("step", "step_unguided"))
    assert plain
    assert set(plain.values()) <= set(guided.values())


def test_mask_decoding_never_computes_pixels(exported: ExportResult) -> None:
    """Decision 2: the decoder stops at the last up-block that the head reads."""
    graphs = {
        name: ir.load(exported.bundle / f"graphs/{name}.onnx") for name in ("decode_mask", "decode_image")
    }
    convolutions = {
        name: sum(node.op_type == "Conv" for node in model.graph) for name, model in graphs.items()
    }
    head = sum(node.op_type == "Conv" for node in ir.load(exported.bundle / "graphs/mask_head.onnx").graph)
    assert convolutions["decode_mask"] - head < convolutions["decode_image"]
    last_block = set(places(exported.bundle / "graphs/decode_image.onnx").values())
    assert last_block - set(places(exported.bundle / "graphs/decode_mask.onnx").values())


def test_decode_image_is_the_decoder_clamped_and_rounded(run: Run, content: Bundle) -> None:
    latents = noise(2, *SHAPE) * 3
    scaling = np.float32(content.manifest.latent.scaling_factor)
    pixels = run("vae_decoder", latents=latents / scaling)[0]
    expected = np.round(np.clip(pixels / 2 + 0.5, 0, 1) * 255).astype(np.uint8).transpose(0, 2, 3, 1)
    (image,) = run("decode_image", latents=latents)
    assert image.dtype == np.uint8
    assert np.abs(image.astype(int) - expected).max() <= 1
    assert (image != expected).mean() < 1e-3
    assert {0, 255} & set(image.ravel().tolist())  # some pixels were clamped


def test_graphs_hold_no_paths_of_the_exporting_machine(exported: ExportResult) -> None:
    home = str(Path.home()).encode()
    for file in (exported.bundle / "graphs").glob("*.onnx"):
        content = file.read_bytes()
        assert b".py" not in content
        assert home not in content
        assert b"site-packages" not in content

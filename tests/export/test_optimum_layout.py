"""Names, orders and configurations that optimum's pipelines read; benchmarks/compare.py runs them."""

from __future__ import annotations

import json
from collections import namedtuple
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from seas_export.export.optimum import export_optimum
from seas_runtime.errors import UserError
from seas_train import Checkpoint

SIGNATURES = {
    "text_encoder": (["input_ids"], ["last_hidden_state", "pooler_output"]),
    "unet": (["sample", "timestep", "encoder_hidden_states"], ["out_sample"]),
    "vae_encoder": (["sample"], ["latent_parameters"]),
    "vae_decoder": (["latent_sample"], ["sample"]),
}
Usage = namedtuple("Usage", "total used free")


@pytest.fixture(scope="module")
def folder(checkpoint_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_optimum(checkpoint_folder, tmp_path_factory.mktemp("optimum") / "out")


def session(folder: Path, part: str) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(str(folder / part / "model.onnx"))


@pytest.mark.parametrize("part", SIGNATURES)
def test_inputs_and_outputs_are_optimums(folder: Path, part: str) -> None:
    """The U-Net has no output beside the noise: the pipeline would take it for the noise."""
    loaded = session(folder, part)
    inputs, outputs = SIGNATURES[part]
    assert [entry.name for entry in loaded.get_inputs()] == inputs
    assert [entry.name for entry in loaded.get_outputs()] == outputs
    external = {
        entry.value
        for tensor in onnx.load(folder / part / "model.onnx", load_external_data=False).graph.initializer
        for entry in tensor.external_data
        if entry.key == "location"
    }
    assert external == {"model.onnx_data"}


def test_the_timestep_is_a_scalar(folder: Path) -> None:
    shapes = {entry.name: entry.shape for entry in session(folder, "unet").get_inputs()}
    assert shapes["timestep"] == []
    assert shapes["sample"] == ["batch", 4, 8, 8]


def test_parts_compute_what_diffusers_does(folder: Path, checkpoint: Checkpoint) -> None:
    random = np.random.default_rng(0)
    latents = random.standard_normal((3, 4, 8, 8)).astype(np.float32)
    context = random.standard_normal((3, 16, 16)).astype(np.float32)
    image = random.standard_normal((3, 3, 64, 64)).astype(np.float32)
    made = {
        "unet": session(folder, "unet").run(
            None,
            {"sample": latents, "timestep": np.array(321, np.float32), "encoder_hidden_states": context},
        )[0],
        "vae_decoder": session(folder, "vae_decoder").run(None, {"latent_sample": latents})[0],
        "vae_encoder": session(folder, "vae_encoder").run(None, {"sample": image})[0],
    }
    with torch.no_grad():
        expected = {
            "unet": checkpoint.unet(torch.from_numpy(latents), 321, torch.from_numpy(context)).sample,
            "vae_decoder": checkpoint.vae.decode(torch.from_numpy(latents)).sample,
            "vae_encoder": checkpoint.vae.encode(torch.from_numpy(image)).latent_dist.parameters,
        }
    for name, tensor in expected.items():
        assert np.abs(made[name] - tensor.numpy()).max() < 1e-4 * float(tensor.abs().max()), name


def test_configurations_are_those_of_the_models(folder: Path, checkpoint: Checkpoint) -> None:
    def read(*parts: str) -> dict[str, object]:
        content: dict[str, object] = json.loads(folder.joinpath(*parts).read_text())
        return content

    index = read("model_index.json")
    assert index["_class_name"] == "StableDiffusionPipeline"
    assert index["scheduler"] == ["diffusers", "DPMSolverMultistepScheduler"]
    assert read("scheduler", "scheduler_config.json")["final_sigmas_type"] == "sigma_min"
    assert read("unet", "config.json")["sample_size"] == 8
    assert read("vae_decoder", "config.json")["scaling_factor"] == checkpoint.vae.config.scaling_factor
    assert read("text_encoder", "config.json")["num_hidden_layers"] == 2
    added = read("tokenizer", "tokenizer_config.json")["added_tokens_decoder"]
    assert "<chip_1>" in {token["content"] for token in added.values()}  # type: ignore[attr-defined]
    assert read("tokenizer", "vocab.json")
    assert (folder / "tokenizer" / "merges.txt").read_text().startswith("#version")


def test_refusals(
    folder: Path, checkpoint_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="there is an export in optimum's layout already; give --force"):
        export_optimum(checkpoint_folder, folder)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="found other files"):
        export_optimum(checkpoint_folder, tmp_path)
    with pytest.raises(UserError, match="found a file"):
        export_optimum(checkpoint_folder, tmp_path / "notes.txt")
    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage(0, 0, 2**20))
    with pytest.raises(UserError, match="this export takes"):
        export_optimum(checkpoint_folder, tmp_path / "new")
    assert not (tmp_path / "new").exists()

"""A second method end to end: checkpoint, composed bundle, engines' measurement, the loop, a data set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from seas_engines.building.prepare import Preparer
from seas_engines.targets.dialect import dialect_of
from seas_engines.targets.targets import Precision, Target
from seas_export.bundles.describe import describe_bundle, in_words
from seas_export.export import export_bundle
from seas_export.graphs.schedules import make_scheduler
from seas_runtime import DatasetRequest, Generator, Sampling, write_dataset
from seas_runtime.bundle.reading import Bundle
from seas_runtime.errors import UserError
from seas_runtime.generation.records import GeneratedPair
from seas_runtime.manifest.types import SCHEMA
from seas_runtime.methods.noise import PairNoise, Stream
from seas_runtime.methods.request import PairRequest
from seas_train import Checkpoint, load_checkpoint
from seas_train.diffusion.taps import decode_image, to_uint8
from tests.methods.toy_export import OFFSET
from tests.methods.toy_runtime import METHOD, ToyOptions


@pytest.fixture(scope="module")
def generator(bundle: Bundle) -> Generator:
    return Generator.open(bundle.path, threads=1)


def torch_image(loaded: Checkpoint, pair: GeneratedPair, steps: int, side: float) -> np.ndarray:
    """Return a pair's image by the toy's formulas, in PyTorch."""
    record, request = pair.record, pair.record.request
    noise = PairNoise(request.seed, record.index, 0, request.defect, SCHEMA)
    background = loaded.references[record.origin["background"]] * loaded.geometry.scaling_factor
    shape = tuple(background.shape)
    mask = torch.zeros(1, *shape[1:])
    mask[:, : round(side * shape[1]), : round(side * shape[2])] = 1
    x = torch.from_numpy(noise.normal(Stream.START, shape))
    solver = make_scheduler("ddim", loaded.scheduler.config, steps)
    words = loaded.context(loaded.prompts[request.defect])
    with torch.inference_mode():
        for step, timestep in enumerate(solver.timesteps):
            fresh = torch.from_numpy(noise.normal(Stream.BLEND, shape, step))
            here = solver.alphas_cumprod[timestep]
            x = mask * x + (1 - mask) * (here.sqrt() * background + (1 - here).sqrt() * fresh)
            part = step / (steps - 1)
            context = (1 - 0.1 * part) * words + OFFSET * part
            e = loaded.unet(x[None], timestep, context, return_dict=False)[0]
            x = solver.step(e, timestep, x[None]).prev_sample[0]
        return np.asarray(to_uint8(decode_image(loaded.vae, x[None]))[0])


def test_the_loop_is_the_formula(generator: Generator, checkpoint: Path) -> None:
    loaded = load_checkpoint(checkpoint)
    options: dict[str, Any] = {"sampler": "ddim", "steps": 5, "options": ToyOptions(0.75)}
    made = list(generator.generate("spot", 3, 4, batch=2, gate=False, **options))
    for pair in made:
        expected = torch_image(loaded, pair, 5, 0.75)
        assert np.abs(pair.image.astype(int) - expected).max() <= 1
        side = pair.mask.shape[0] * 3 // 4
        assert (pair.mask[:side, :side] == 255).all()
        assert np.count_nonzero(pair.mask) == side * side
        assert pair.probability is None
        assert set(pair.record.times.graphs) == {"step", "decode_image"}
    assert np.std([pair.image for pair in made]) > 10


@pytest.mark.parametrize("steps", [5, 10])
def test_openvino_makes_the_same_pairs(generator: Generator, bundle: Bundle, steps: int) -> None:
    """For each batch size its graphs are made static: steps are no batch there."""
    pytest.importorskip("openvino")
    ours = Generator.open(bundle.path, "openvino:fp32", threads=1)
    options: dict[str, Any] = {"steps": steps, "gate": False, "batch": 3}
    made, expected = (list(item.generate("dark_line", 4, **options)) for item in (ours, generator))
    for one, other in zip(made, expected, strict=True):
        assert np.abs(one.image.astype(int) - other.image).max() <= 1
        assert np.array_equal(one.mask, other.mask)


def test_a_batch_is_cut_along_each_inputs_own_dimension(
    generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`contexts` [steps, batch, L, D] has its batch second, `offsets` [steps, L, D] none."""
    requests = [generator.request(defect, gate=False) for defect in ("spot", "dark_line")]
    batch = [PairRequest(requests[index % 2], index) for index in range(5)]
    (whole,) = generator.generate_batches([batch])
    monkeypatch.setattr(generator.backend, "most_at_once", lambda pixels: 2)
    (parts,) = generator.generate_batches([batch])
    for one, other in zip(whole, parts, strict=True):
        assert np.abs(one.image.astype(int) - other.image).max() <= 1
    assert np.abs(whole[0].image.astype(int) - whole[1].image).max() > 5


def test_a_dataset_records_the_methods_own(generator: Generator, tmp_path: Path) -> None:
    request = DatasetRequest(("spot",), 3, sampling=Sampling(gate=False), options=ToyOptions(0.25))
    write_dataset(generator, request, tmp_path / "out")
    assert json.loads((tmp_path / "out/dataset.json").read_text())["options"] == {"side": 0.25}
    record = json.loads((tmp_path / "out/records.jsonl").read_text().splitlines()[0])
    assert record["background"] == record["attempts"][0]["background"] in range(4)
    assert record["tau"] is None
    assert record["attempts"][0]["mask_area"] == 1 / 16
    other = DatasetRequest(("spot",), 3, sampling=Sampling(gate=False), options=ToyOptions(0.5))
    with pytest.raises(UserError, match="another options"):
        write_dataset(generator, other, tmp_path / "out")


def test_engines_are_measured(bundle: Bundle, tmp_path: Path) -> None:
    preparer = Preparer(bundle, dialect_of(Target.RTX, "1.7"), Precision.FP16, tmp_path, threads=1)
    chosen = preparer.choose(METHOD.graphs, {})
    assert set(chosen) == {"step", "decode_image"}
    assert chosen["step"]["loop"]["psnr"] >= 30
    assert chosen["step"]["loop"]["iou"] == 1.0
    assert preparer.prepare("step", chosen["step"]).file.is_file()


def test_half_precision_is_chosen_and_runs(
    checkpoint: Path, bundle: Bundle, generator: Generator, tmp_path: Path
) -> None:
    half = export_bundle(checkpoint, tmp_path / "half", precision="fp16", steps=5, parity=False).bundle
    manifest = Bundle.read(half).manifest
    dtypes = {spec.name: spec.dtype for spec in manifest.graphs["step"].inputs}
    assert (dtypes["contexts"], dtypes["latents"]) == ("float16", "float32")
    (made,) = Generator.open(half, threads=1).generate("spot", 1, gate=False)
    (expected,) = generator.generate("spot", 1, gate=False)
    assert np.abs(made.image.astype(int) - expected.image).mean() < 3


def test_it_is_described_and_refused_in_its_own_words(bundle: Bundle, tmp_path: Path) -> None:
    words = in_words(describe_bundle(bundle.path))
    assert "by the method toy" in words
    assert "Number of backgrounds to draw into: 4." in words
    file = bundle.path / "manifest.json"
    manifest = json.loads(file.read_text())
    assert manifest["generation"] == {"offset": OFFSET}
    assert next(iter(bundle.schedules.values())).table.shape[1] == 10


def test_parity_says_that_it_has_no_reference(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="method toy is nowhere written in PyTorch"):
        export_bundle(checkpoint, tmp_path / "bundle", steps=5)
    assert list(tmp_path.iterdir()) == []

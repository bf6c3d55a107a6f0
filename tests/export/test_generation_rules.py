"""Rules of generation that a checkpoint may choose over ours, from `seas.json` to the pairs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from seas_export.export.bundle import ExportResult
from seas_export.graphs.schedules import make_schedule
from seas_export.methods.seas.expected import make_inputs
from seas_export.methods.seas.reference import ReferenceLoop
from seas_runtime.bundle.reading import Bundle
from seas_runtime.errors import UserError
from seas_runtime.generation.generator import Generator
from seas_runtime.manifest.fields import Fields
from seas_runtime.manifest.types import SamplerDefaults
from seas_runtime.methods.seas import check_generation, clean, defective
from seas_train import Checkpoint, load_checkpoint

Export = Callable[..., ExportResult]


def changed(checkpoint: Path, folder: Path, **generation: Any) -> Path:
    """A copy of a checkpoint with other rules, its references scaled where the rules say so."""
    copy = Path(shutil.copytree(checkpoint, folder / "checkpoint"))
    file = copy / "seas.json"
    meta = json.loads(file.read_text())
    meta["generation"] |= generation
    file.write_text(json.dumps(meta))
    if generation.get("references") == "scaled":
        factor = load_checkpoint(copy).geometry.scaling_factor
        tensors = load_file(copy / "references.safetensors")
        save_file({"latents": tensors["latents"] * factor}, copy / "references.safetensors")
    return copy


def test_scaled_references_are_not_scaled_again(
    checkpoint_folder: Path, checkpoint: Checkpoint, generator: Generator, traced: Export, tmp_path: Path
) -> None:
    """`--reproduce paper` stores them scaled; what is measured and compared takes them as they are."""
    scaled = changed(checkpoint_folder, tmp_path, references="scaled")
    made = traced(scaled, tmp_path / "bundle", steps=10)
    assert made.parity is not None  # measured, and within its bounds
    bundle = Bundle.read(made.bundle)
    assert bundle.manifest.generation["references"] == "scaled"
    factor = checkpoint.geometry.scaling_factor
    assert factor != 1
    wanted = checkpoint.references[1:2].numpy() * factor
    assert np.allclose(clean(bundle, 1), wanted, atol=1e-6)
    assert np.allclose(clean(generator.bundle, 1), wanted, atol=1e-6)

    loaded = load_checkpoint(scaled)
    schedule = make_schedule("dpmpp_2m", checkpoint.scheduler.config, 10)
    ours, theirs = (make_inputs(each, schedule, 3, 2) for each in (checkpoint, loaded))
    for graph in ours:
        for name, value in ours[graph].items():
            assert np.allclose(value, theirs[graph][name], atol=1e-4), (graph, name)


def test_start_photographs_in_order_and_a_threshold_that_is_not_reached(
    checkpoint_folder: Path, traced: Export, tmp_path: Path
) -> None:
    """The first ten of the folder one after the other (there are three), and above tau alone."""
    rules = {"start": "in_order", "threshold": "above", "timestep_spacing": "leading"}
    folder = changed(checkpoint_folder, tmp_path, **rules, short_schedules="first_order")
    bundle = traced(folder, tmp_path / "bundle", steps=10).bundle
    generator = Generator.open(bundle, threads=1)
    pairs = list(generator.generate("chip", 5, 7, gate=False))
    assert [pair.record.origin["reference"] for pair in pairs] == [0, 1, 2, 0, 1]

    offset = load_checkpoint(folder).scheduler.config.steps_offset
    table = generator.bundle.schedule("dpmpp_2m", 10).table
    assert table[-1, 6] == 0
    assert table[0, 0] == 900 + offset

    loop = list(ReferenceLoop(load_checkpoint(folder), 10).generate("chip", 5, 7))
    assert max(np.abs(a.image.astype(int) - b.image).max() for a, b in zip(loop, pairs, strict=True)) <= 1


def test_a_pixel_at_tau_itself() -> None:
    at = np.array([0.2, np.nextafter(np.float32(0.2), 1)], np.float32)
    tau = np.float32(0.2)
    assert defective({}, at, tau).tolist() == [True, True]
    assert defective({"threshold": "at_least"}, at, tau).tolist() == [True, True]
    assert defective({"threshold": "above"}, at, tau).tolist() == [False, True]


def test_parts_under_a_speck_are_no_defect() -> None:
    probability = np.zeros((8, 8), np.float32)
    probability[1, 1:3] = probability[4:7, 4:7] = 0.5
    assert defective({}, probability, 0.2).sum() == 11
    assert np.array_equal(
        defective({"speck": 3}, probability, 0.2), probability * (np.indices((8, 8))[0] > 3) > 0
    )


@pytest.mark.parametrize("key", ["references", "start", "threshold"])
def test_a_rule_that_is_not_known_is_refused(key: str) -> None:
    values = {"mask_steps": 3, "tau": 0.2, key: "sideways"}
    with pytest.raises(UserError, match=f"{key}: expected one of .*, found 'sideways'"):
        check_generation(Fields(values, "manifest.json: generation"), SamplerDefaults("dpmpp_2m", 25, 8.0))


def test_our_own_rules_are_not_written(exported: ExportResult) -> None:
    """A bundle says what it said before, so that older runtimes read it."""
    assert set(Bundle.read(exported.bundle).manifest.generation) == {"mask_steps", "tau", "blend"}

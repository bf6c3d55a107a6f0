"""Bundles of students, and of samplers that add noise, against diffusers' schedulers in PyTorch."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from seas_export.export import ExportResult
from seas_export.extras import Extras
from seas_export.graphs.schedules import LCM_COUNTS
from seas_export.methods.seas.expected import make_placed
from seas_export.methods.seas.reference import ReferenceLoop
from seas_runtime.errors import UserError
from seas_runtime.generation.generator import Generator
from seas_runtime.generation.records import GeneratedPair
from seas_runtime.manifest.types import DECODE_MASK, STEP_UNGUIDED
from seas_runtime.methods.request import PairRequest
from seas_runtime.methods.seas_options import SeasOptions
from seas_train import Checkpoint, load_checkpoint
from tests.export.conftest import already_traced

STUDENT = {"guidance": 1.0, "tau": 0.5, "sampler": "lcm", "steps": 4, "mask_steps": 1, "decoded": "x0"}


@pytest.fixture(scope="module")
def student_folder(checkpoint_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny checkpoint, as distillation describes one."""
    folder = tmp_path_factory.mktemp("student") / "checkpoint"
    shutil.copytree(checkpoint_folder, folder)
    file = folder / "seas.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "generation": STUDENT}))
    return folder


@pytest.fixture(scope="module")
def student(student_folder: Path) -> Checkpoint:
    return load_checkpoint(student_folder)


@pytest.fixture(scope="module")
def distilled(
    student_folder: Path, exported: ExportResult, tmp_path_factory: pytest.TempPathFactory
) -> ExportResult:
    from seas_export.export import export_bundle

    with already_traced(exported.bundle):
        return export_bundle(student_folder, tmp_path_factory.mktemp("bundles") / "student")


@pytest.fixture(scope="module")
def generating(distilled: ExportResult) -> Generator:
    return Generator.open(distilled.bundle, threads=1)


def alike(made: GeneratedPair, expected: object) -> None:
    assert np.abs(made.image.astype(int) - expected.image).max() <= 1
    assert np.abs(made.probability - expected.probability).max() < 1e-3


def test_its_bundle_takes_its_steps_without_guidance(distilled: ExportResult, generating: Generator) -> None:
    assert distilled.parity is not None
    assert distilled.parity.placed == 1, "one pair in a background was compared, and one whole"
    manifest = generating.manifest
    assert (manifest.sampler.name, manifest.sampler.steps, manifest.sampler.guidance) == ("lcm", 4, 1.0)
    assert manifest.generation["mask_steps"] == 1
    assert {*generating.bundle.schedules} == {f"lcm/{steps}" for steps in LCM_COUNTS}
    assert manifest.graphs[STEP_UNGUIDED].input("noise") is not None
    used: set[str] = set()
    whole = generating._loop._step_graph

    def watched(request: object) -> str:
        used.add(whole(request))
        return whole(request)

    generating._loop._step_graph = watched
    (pair,) = generating.generate("chip", 1, gate=False)
    assert used == {STEP_UNGUIDED}
    assert (pair.record.request.sampling.sampler, pair.record.request.sampling.steps) == ("lcm", 4)
    assert DECODE_MASK in pair.record.times.graphs


@pytest.mark.parametrize("steps", [1, 2, 4, 8])
def test_whole_pictures_are_diffusers(student: Checkpoint, generating: Generator, steps: int) -> None:
    count = min(steps, 3)
    loop = ReferenceLoop(student, steps, "lcm", mask_steps=count)
    theirs = list(loop.generate("scratch", 2, seed=4, batch=2))
    options = SeasOptions(mask_steps=count)
    ours = list(generating.generate("scratch", 2, seed=4, batch=2, steps=steps, gate=False, options=options))
    for made, expected in zip(ours, theirs, strict=True):
        alike(made, expected)


@pytest.mark.parametrize(("steps", "strength"), [(4, 1.0), (4, 0.4), (8, 0.5)])
def test_placed_pairs_are_diffusers(
    student: Checkpoint, generating: Generator, steps: int, strength: float
) -> None:
    drawn = [make_placed(student, seed) for seed in range(2)]
    loop = ReferenceLoop(student, steps, "lcm", mask_steps=1, strength=strength)
    theirs = list(loop.generate("chip", 2, seed=7, batch=2, placed=drawn))
    options = SeasOptions(strength=strength)
    request = generating.request("chip", 7, options=options, steps=steps, gate=False)
    (ours,) = generating.generate_batches(
        [[PairRequest(request, row, item) for row, item in enumerate(drawn)]]
    )
    for made, expected in zip(ours, theirs, strict=True):
        alike(made, expected)


def test_its_mask_is_read_of_x0(student: Checkpoint, generating: Generator, checkpoint: Checkpoint) -> None:
    """The same weights, whose masks are read of what the U-Net saw, give another."""
    (ours,) = generating.generate("chip", 1, seed=3, gate=False)
    (noisy,) = ReferenceLoop(checkpoint, 4, "lcm", mask_steps=1).generate("chip", 1, seed=3, guidance=1.0)
    assert np.abs(ours.image.astype(int) - noisy.image).max() <= 1
    assert np.abs(ours.probability - noisy.probability).max() > 0.01


def test_other_samplers_beside_the_default(
    checkpoint: Checkpoint, checkpoint_folder: Path, traced: Callable[..., ExportResult], tmp_path: Path
) -> None:
    names = ("unipc_1", "dpmpp_2m_sde", "dpmpp_2m_karras", "dpmpp_2m_sde_karras", "lcm")
    made = traced(
        checkpoint_folder, tmp_path / "bundle", steps=10, parity=False, extras=Extras(samplers=names)
    )
    generator = Generator.open(made.bundle, threads=1)
    for name in ("dpmpp_2m", *names):
        steps = 4 if name == "lcm" else 10
        (theirs,) = ReferenceLoop(checkpoint, steps, name).generate("chip", 1, seed=2)
        (ours,) = generator.generate("chip", 1, seed=2, sampler=name, steps=steps, gate=False)
        alike(ours, theirs)


def test_a_sampler_that_no_table_holds(
    checkpoint_folder: Path, traced: Callable[..., ExportResult], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=r"found 'dpm_sde': a table holds what is linear"):
        traced(checkpoint_folder, tmp_path / "bundle", extras=Extras(samplers=("dpm_sde",)))
    assert not (tmp_path / "bundle").exists()


def test_plain_bundles_have_no_lcm_and_say_so(generator: Generator) -> None:
    with pytest.raises(UserError, match=r"lcm"):
        generator.request("chip", sampler="lcm", steps=4)

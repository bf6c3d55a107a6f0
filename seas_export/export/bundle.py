"""Export: from a checkpoint to a bundle."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx_ir as ir
import torch
from safetensors.numpy import save_file

from seas_engines.graphs.upsampling import split_parameters
from seas_engines.precision.evaluator import Case
from seas_engines.targets.targets import Precision, TargetSpec, require_target
from seas_export.export import parity as parity_figures
from seas_export.export.backgrounds import copy_backgrounds
from seas_export.export.int8 import write_int8_graphs
from seas_export.export.parity.report import ParityReport
from seas_export.export.precision import choose_half, write_half_graphs, write_half_tables
from seas_export.export.provenance import licences, provenance
from seas_export.extras import NONE, Extras
from seas_export.graphs.schedules import checked_samplers, make_schedules
from seas_export.graphs.signatures import GRAPHS_FOLDER, signatures
from seas_export.graphs.trace import trace_or_fail
from seas_export.graphs.weights import WeightStore, save_graphs
from seas_export.methods.contract import ExportMethod
from seas_export.methods.table import find_method
from seas_runtime.bundle.kind import BUNDLE
from seas_runtime.bundle.placement.backgrounds import FOLDER as BACKGROUNDS_FOLDER
from seas_runtime.bundle.reading import Bundle, hash_files, write_manifest
from seas_runtime.errors import UserError
from seas_runtime.files import require_space
from seas_runtime.manifest.types import (
    SCHEDULE,
    ImageGeometry,
    LatentGeometry,
    Manifest,
    SamplerDefaults,
)
from seas_runtime.outputs.checking import check_out
from seas_runtime.outputs.replacing import replace_directory
from seas_train import Checkpoint, load_checkpoint
from seas_train.bases.base import Geometry
from seas_train.diffusion.consistency import LCM
from seas_train.diffusion.solver import SolverRules

TABLES_FOLDER = "tables"
_FLOAT32 = ".float32"  # in the new bundle's folder, while it is made
Progress = Callable[[str], None]


@dataclass(frozen=True)
class ExportResult:
    """What export made."""

    bundle: Path
    """Its folder."""
    fingerprint: str
    """Sha256 of its manifest."""
    parity: ParityReport | None
    """The figures, or None where they were not asked for."""

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        return {
            "bundle": str(self.bundle),
            "fingerprint": self.fingerprint,
            "parity": self.parity.to_dict() if self.parity else None,
        }

    def to_text(self) -> str:
        """Return the result in words."""
        figures = self.parity.to_text() if self.parity else "Parity with PyTorch was not measured."
        return f"{self.bundle}: bundle {self.fingerprint[:12]}\n{figures}"


def export_bundle(
    checkpoint: Path,
    out: Path,
    *,
    precision: str = "fp32",
    target: str = "cpu",
    steps: int | None = None,
    parity: bool = True,
    force: bool = False,
    extras: Extras = NONE,
    progress: Progress | None = None,
) -> ExportResult:
    """Export a checkpoint as a bundle, checked against PyTorch; it appears whole or not at all.

    Args:
        checkpoint: folder that `seas-export train` wrote.
        out: folder of the bundle.
        precision: fp32, fp16 or int8: of weights and activations; in fp16 and int8 but for those that
            measuring finds to need float32.
        target: what it is for.
        steps: denoising steps of the default schedule; None for the method's.
        parity: whether to compare with PyTorch.
        force: replace a bundle that is there.
        extras: what it has beside what every bundle has.
        progress: is told what is done, line by line.

    Raises:
        UserError: an option or the checkpoint cannot be used, `out` is taken or cannot be written.
        CheckFailed: a part cannot be traced, cannot be in half, or lies outside the parity bounds; an older
            bundle stays.
    """
    say = progress or (lambda line: None)
    _, chosen, spec = require_target(target, precision)
    check_out(out, BUNDLE, "--out", force=force, inputs={"CHECKPOINT": checkpoint})
    loaded = load_checkpoint(checkpoint)
    method = find_method(loaded.method)
    generation = loaded.meta["generation"]
    sampler = str(generation.get("sampler", method.sampler))
    steps = int(generation.get("steps", method.steps)) if steps is None else steps
    _check_steps(steps, loaded, int(generation.get("mask_steps", method.fewest_steps)))
    extras = replace(extras, samplers=checked_samplers((sampler, *extras.samplers)))
    half, rewritten = chosen is Precision.FP16, chosen is not Precision.FP32
    size = weight_bytes(loaded, split=spec.split_upsampling)
    # The float32 graphs, and in half those that are measured, lie on the disk until the others are written.
    require_space(out, 2 * size if rewritten else size, "this bundle")
    with replace_directory(out, BUNDLE) as folder:
        full = folder / _FLOAT32 if rewritten else folder
        first = replace(spec, fused_attention=False, split_upsampling=False) if half else spec
        manifest = _write(loaded, method, full, first, target, steps, extras, say)
        fingerprint = write_manifest(full, manifest)
        expected, report = None, None
        if parity:
            say("compare with PyTorch: run PyTorch")
            expected = parity_figures.expect(full, loaded)
        cases, geometry = method.part_cases(loaded) if half else {}, loaded.geometry
        del loaded  # PyTorch's weights are freed before the graphs' are loaded:
        gc.collect()  # what tracing leaves are cycles that hold them
        if rewritten:
            whole = Bundle.read(full, verify=False)
            if half:
                manifest = _in_half(whole, method, folder, cases, geometry, spec, extras, say)
            else:
                manifest = _in_int8(whole, folder, say)
            fingerprint = write_manifest(folder, manifest)
        if expected is not None:
            say("compare with PyTorch: run the graphs")
            report = parity_figures.compare(folder, expected)
            report.require()
            fingerprint = write_manifest(folder, replace(manifest, parity=report.to_dict()))
    return ExportResult(out, fingerprint, report)


def _check_steps(steps: int, checkpoint: Checkpoint, fewest: int) -> None:
    most = int(checkpoint.scheduler.config.num_train_timesteps) - 1
    if not fewest <= steps <= most:
        raise UserError(f"steps: expected {fewest} to {most}, found {steps}")


def _write(
    checkpoint: Checkpoint,
    method: ExportMethod,
    folder: Path,
    spec: TargetSpec,
    target: str,
    steps: int,
    extras: Extras,
    say: Progress,
) -> Manifest:
    """Write graphs and tables in float32 into `folder`; return their manifest, without parity figures."""
    with WeightStore(folder / GRAPHS_FOLDER) as store:
        graphs = _make_graphs(checkpoint, method, spec, store, extras, say)
    spacing = SolverRules.of(checkpoint.meta["generation"]).spacing
    default = extras.samplers[0]
    spaced = "" if default == LCM else f"; {default} spaces its timesteps by {spacing}"
    say(f"write graphs and tables{spaced}")
    save_graphs(graphs, folder / GRAPHS_FOLDER)
    tables = _write_tables(checkpoint, method, folder, steps, extras)
    if checkpoint.placement is not None:
        copy_backgrounds(checkpoint.placement.backgrounds, folder, extras.backgrounds, say)
    geometry, meta = checkpoint.geometry, checkpoint.meta
    return Manifest(
        method=method.name,
        product=checkpoint.product,
        defects=checkpoint.defects,
        image=ImageGeometry(geometry.image_size, geometry.image_size),
        latent=LatentGeometry(
            geometry.latent_channels, geometry.latent_size, geometry.latent_size, geometry.scaling_factor
        ),
        preprocessing=meta["preprocessing"],
        prompts=checkpoint.prompts,
        unconditional="",
        sampler=SamplerDefaults(extras.samplers[0], steps, float(meta["generation"].get("guidance", 1.0))),
        generation=method.generation(checkpoint, extras),
        precision=Precision.FP32.value,
        opset=spec.opset,
        target=target,
        graphs=signatures(graphs),
        tables=tables,
        parity={},
        files=hash_files(folder),
        provenance=provenance(meta),
        licences=licences(meta),
        product_label=checkpoint.product_label,
        labels=checkpoint.labels,
    )


def _make_graphs(
    checkpoint: Checkpoint,
    method: ExportMethod,
    spec: TargetSpec,
    store: WeightStore,
    extras: Extras,
    say: Progress,
) -> dict[str, ir.Model]:
    """Trace the parts, writing each one's weights before the next, and compose what generation runs."""
    models = {}
    for part in method.parts(checkpoint):
        say(f"trace {part.name}")
        models[part.name] = trace_or_fail(part, spec.opset)
        store.move([models[part.name]])
        del part
    say("compose what generation runs")
    return {**models, **method.compose(models, checkpoint.geometry, ir.DataType.FLOAT, spec, store, extras)}


def _in_half(
    full: Bundle,
    method: ExportMethod,
    folder: Path,
    cases: Mapping[str, Sequence[Case]],
    geometry: Geometry,
    spec: TargetSpec,
    extras: Extras,
    say: Progress,
) -> Manifest:
    """Write a float32 bundle in half precision into `folder` and remove it; return the new manifest."""
    choice = choose_half(full, method, cases, full.path, say)
    say(f"half precision: nodes that stay in float32: {choice.count}; write graphs and tables")
    with WeightStore(folder / GRAPHS_FOLDER) as store:
        graphs = write_half_graphs(full, method, choice, geometry, spec, store, extras)
    save_graphs(graphs, folder / GRAPHS_FOLDER)
    write_half_tables(full, method, folder)
    return _instead(full, folder, graphs, precision=Precision.FP16.value, half=choice.to_dict())


def _in_int8(full: Bundle, folder: Path, say: Progress) -> Manifest:
    """Write a float32 bundle in int8 into `folder` and remove it; return the new manifest."""
    graphs, choice = write_int8_graphs(full, folder, say)
    (full.path / TABLES_FOLDER).rename(folder / TABLES_FOLDER)
    return _instead(full, folder, graphs, precision=Precision.INT8.value, int8=choice.to_dict())


def _instead(full: Bundle, folder: Path, graphs: Mapping[str, ir.Model], **changes: Any) -> Manifest:
    """Remove a float32 bundle whose graphs and tables lie in `folder` in another precision."""
    if len(full.backgrounds):
        (full.path / BACKGROUNDS_FOLDER).rename(folder / BACKGROUNDS_FOLDER)
    shutil.rmtree(full.path)
    return replace(full.manifest, graphs=signatures(graphs), files=hash_files(folder), **changes)


def weight_bytes(checkpoint: Checkpoint, *, split: bool) -> int:
    """Bytes of a float32 bundle's weights: what its graphs take on the disk, but for kilobytes.

    With `split`, the kernels of split upsampling are among them.
    """
    modules = (checkpoint.unet, checkpoint.vae, checkpoint.text_encoder, *checkpoint.artifacts.values())
    count: int = sum(
        p.numel() for one in modules if isinstance(one, torch.nn.Module) for p in one.parameters()
    )
    if split:
        count += sum(split_parameters(module) for module in (checkpoint.unet, checkpoint.vae.decoder))
    return count * torch.float32.itemsize


def _write_tables(
    checkpoint: Checkpoint, method: ExportMethod, folder: Path, steps: int, extras: Extras
) -> dict[str, str]:
    """Write the method's tables and every schedule; return their files."""
    rules = SolverRules.of(checkpoint.meta["generation"])
    schedules = make_schedules(
        checkpoint.scheduler.config,
        steps,
        rules=rules,
        blend=method.blend,
        sampler=extras.samplers[0],
        samplers=extras.samplers[1:],
        counts=method.step_counts,
        add_noise_step=extras.add_noise_step,
    )
    tables = {
        **method.tables(checkpoint, extras),
        SCHEDULE: {key: array for made in schedules.values() for key, array in made.to_tensors().items()},
    }
    (folder / TABLES_FOLDER).mkdir()
    files = {name: f"{TABLES_FOLDER}/{name}.safetensors" for name in tables}
    for name, arrays in tables.items():
        save_file(dict(arrays), folder / files[name])
    return files

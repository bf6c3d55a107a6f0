"""`distill`: a checkpoint and its product's folder to the checkpoint of a student of few steps."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seas_export.pipeline.training.training import Trained, check_way, photographs_by
from seas_runtime.errors import UserError
from seas_runtime.manifest.types import GOOD
from seas_train.data import PhotographsConfig, load_product
from seas_train.data.published import as_published
from seas_train.settings import COMMAND_LINE, merge, overlay, parse_assignments, read_yaml

if TYPE_CHECKING:
    from seas_export.pipeline.training.estimate import TrainingEstimate
    from seas_train import Checkpoint
    from seas_train.data import Product
    from seas_train.methods.contract import Distillation, MadePicture


@dataclass(frozen=True)
class DistillRequest:
    """Options of `distill`."""

    checkpoint: Path
    directory: Path
    out: Path
    run: Path
    """The folder for saves, losses and previews."""
    photographs: PhotographsConfig
    generated: Path | None = None
    """A data set of whole pictures that the checkpoint's bundle made, to train on as well."""
    resume: bool = False
    force: bool = False
    memory: str | None = None
    lora: int | None = None
    preset: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    """Top-level options of the command line."""


def distill_checkpoint(
    request: DistillRequest, *, file: Path | None, assignments: Sequence[str], say: Callable[[str], None]
) -> Trained:
    """Check everything, then distill, and train the student's mask head.

    Raises:
        UserError: the checkpoint, the product or an option is not usable, or something is in the way.
        CheckFailed: training went wrong, a loss that is not finite for one.
    """
    inputs = {"CHECKPOINT": request.checkpoint, "DIR": request.directory}
    if request.generated is not None:
        inputs["--generated"] = request.generated
    check_way(request.out, request.run, inputs, resume=request.resume, force=request.force)
    begun = time.perf_counter()
    checkpoint, product, way, config = _inputs(request, file, assignments, say)
    generated = () if request.generated is None else made_pictures(request.generated, product)
    base = str(checkpoint.meta["base"]["name"])
    way.run(
        checkpoint,
        product,
        request.out,
        request.run,
        config,
        generated=generated,
        resume=request.resume,
        progress=sys.stderr.isatty(),
    )
    names = tuple(product.labels.get(defect.name, defect.name) for defect in product.defects)
    return Trained(request.out, request.run, product.label, base, names, time.perf_counter() - begun)


def estimate_distillation(
    request: DistillRequest, *, file: Path | None, assignments: Sequence[str], say: Callable[[str], None]
) -> TrainingEstimate:
    """Estimate memory and time of `distill_checkpoint`; nothing is trained or written."""
    from seas_export.pipeline.training.estimate import estimated

    checkpoint, product, way, config = _inputs(request, file, assignments, say)
    found = way.estimate(checkpoint, product, config)
    return estimated(found, product, str(checkpoint.meta["base"]["name"]), config.precision)


def made_pictures(dataset: Path, product: Product) -> tuple[MadePicture, ...]:
    """Return the whole pictures of a data set, as a distillation takes them.

    Raises:
        UserError: there is no finished data set, it is another product's, its pairs are drawn into
            photographs, or a picture cannot be read or has not the size of the base's.
    """
    from seas_runtime.dataset.formats.finished import read_finished
    from seas_train.methods.contract import MadePicture

    found = read_finished(dataset)
    what, advice = f"--generated {dataset}", "make one with `generate --from noise` of the teacher's bundle"
    if found.product != product.name:
        raise UserError(f"{what}: expected pictures of {product.name}, found {found.product}; {advice}")
    if "placing" in found.description:
        raise UserError(
            f"{what}: expected whole pictures, found defects drawn into photographs, which the teacher did "
            f"not make; {advice}"
        )
    numbers = {GOOD: None, **{defect.name: number for number, defect in enumerate(product.defects)}}
    size = product.preprocessing.size
    for one in found.pictures:
        if one.defect not in numbers:
            raise UserError(
                f"{what}: expected pictures of {', '.join(numbers)}, found {one.defect}; {advice}"
            )
        if one.size != (size, size):
            raise UserError(
                f"{one.image}: expected a picture of {size} x {size} as the base makes them, found "
                f"{one.size[0]} x {one.size[1]}; {advice}"
            )
    return tuple(MadePicture(one.image, one.mask, numbers[one.defect]) for one in found.pictures)


def _inputs(
    request: DistillRequest, file: Path | None, assignments: Sequence[str], say: Callable[[str], None]
) -> tuple[Checkpoint, Product, Distillation, Any]:
    """The checked inputs of a distillation."""
    from seas_train import load_checkpoint
    from seas_train.methods.table import find_method

    values = read_yaml(file) if file is not None else {}
    checkpoint = load_checkpoint(request.checkpoint)
    way = find_method(checkpoint.method).distillation
    if way is None:
        raise UserError(
            f"checkpoint {request.checkpoint}: method {checkpoint.method} leaves its base as it is: there is "
            "no U-Net of its own to distill; give a checkpoint of method seas"
        )
    geometry = checkpoint.geometry
    photographs = photographs_by(None, request.preset, request.photographs, checkpoint.method)
    product = load_product(
        request.directory, photographs, size=geometry.image_size, latent_factor=geometry.latent_factor
    )
    product = as_published(product, request.preset)
    for line in product.report.warning_lines():
        say(line)
    way.check(checkpoint, product)
    config = overlay(way.defaults(checkpoint, product), values, str(file or "defaults"), "distill")
    given = merge(dict(way.memory(request.memory, request.lora)), parse_assignments(assignments))
    return checkpoint, product, way, overlay(config, {**given, **request.options}, COMMAND_LINE)

"""`train`: a product's folder and options to a checkpoint."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seas_export.config.build import REPRODUCED
from seas_runtime.errors import UserError
from seas_runtime.outputs.checking import check_out, check_writable, holds_ours, refuse_overlap
from seas_train.data import PhotographsConfig, Regions, load_product
from seas_train.data.published import as_published
from seas_train.settings import COMMAND_LINE, merge, overlay, parse_assignments, read_yaml, require

if TYPE_CHECKING:
    from seas_export.pipeline.training.estimate import TrainingEstimate
    from seas_train.bases.base import Base
    from seas_train.data import Product


@dataclass(frozen=True)
class TrainRequest:
    """Options of `train`."""

    directory: Path
    base: str
    out: Path
    run: Path
    """The folder for saves, losses and previews."""
    photographs: PhotographsConfig
    resume: bool = False
    force: bool = False
    stand_for: Mapping[str, Any] = field(default_factory=dict)
    """Training options that others of the command line stand for, over the base's defaults and the file."""
    allow_pickle: bool = False
    reproduce: str | None = None
    preset: str | None = None
    """The published data set that the photographs are of, whatever their layout."""
    method: str = "seas"


@dataclass(frozen=True)
class Trained:
    """A trained checkpoint."""

    checkpoint: Path
    run: Path
    product: str
    base: str
    defects: tuple[str, ...]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "checkpoint": str(self.checkpoint), "run": str(self.run)}


def train_checkpoint(
    request: TrainRequest,
    *,
    file: Path | None,
    assignments: Sequence[str],
    given: Mapping[str, Any],
    say: Callable[[str], None],
) -> Trained:
    """Check everything, then train both stages. `given` are top-level training options of the command line.

    Raises:
        UserError: the product, the base or an option is not usable, or something is in the way.
        CheckFailed: training went wrong, a loss that is not finite for one.
    """
    from seas_train import train_product

    inputs = {"DIR": request.directory, "--base": Path(request.base).expanduser()}
    check_way(request.out, request.run, inputs, resume=request.resume, force=request.force)
    begun = time.perf_counter()
    base, product, config = _inputs(request, file, assignments, given, say)
    train_product(
        product,
        base,
        request.out,
        request.run,
        config,
        method=request.method,
        resume=request.resume,
        progress=sys.stderr.isatty(),
    )
    names = tuple(product.labels.get(defect.name, defect.name) for defect in product.defects)
    return Trained(request.out, request.run, product.label, base.name, names, time.perf_counter() - begun)


def estimate(
    request: TrainRequest,
    *,
    file: Path | None,
    assignments: Sequence[str],
    given: Mapping[str, Any],
    say: Callable[[str], None],
) -> TrainingEstimate:
    """Estimate memory and time of `train_checkpoint`; nothing is trained or written.

    Raises:
        UserError: as `train_checkpoint`.
    """
    from seas_export.pipeline.training.estimate import estimate_training

    return estimate_training(request.method, *_inputs(request, file, assignments, given, say))


def _inputs(
    request: TrainRequest,
    file: Path | None,
    assignments: Sequence[str],
    given: Mapping[str, Any],
    say: Callable[[str], None],
) -> tuple[Base, Product, Any]:
    """The checked inputs of a training."""
    rules = request.reproduce
    require(rules in (*REPRODUCED, None), "--reproduce", " | ".join(REPRODUCED), rules)
    values = read_yaml(file) if file is not None else {}
    options = merge(request.stand_for, parse_assignments(assignments))
    base = load_trainable(request.base, request.allow_pickle, request.method)
    geometry = base.geometry
    photographs = photographs_by(rules, request.preset, request.photographs, request.method)
    product = load_product(
        request.directory, photographs, size=geometry.image_size, latent_factor=geometry.latent_factor
    )
    product = as_published(product, request.preset)
    say(product.report.regions_line())
    for line in product.report.warning_lines():
        say(line)
    config = training_config(base, product, values, str(file or "defaults"), rules, request.method)
    return base, product, overlay(config, {**options, **given}, COMMAND_LINE)


def photographs_by(
    rules: str | None, preset: str | None, photographs: PhotographsConfig, method: str = "seas"
) -> PhotographsConfig:
    """How the method reads photographs by the rules of `--reproduce`, and of a published data set: whole."""
    from seas_train.methods.table import find_method

    if preset is not None and photographs.regions is Regions.AUTO:
        photographs = replace(photographs, regions=Regions.OFF)
    return find_method(method).photographs(photographs, rules)


def load_trainable(base: str, allow_pickle: bool, method: str) -> Base:
    """Load a base that the method can train; UserError where it cannot be read, or not be trained so."""
    from seas_train import load_base
    from seas_train.methods.table import find_method

    found = find_method(method)
    loaded = load_base(base, allow_pickle=allow_pickle)
    found.check_base(loaded)
    return loaded


def training_config(
    base: Base,
    product: Product,
    values: Mapping[str, Any],
    source: str,
    reproduce: str | None = None,
    method: str = "seas",
) -> Any:
    """The method's defaults for a base and a product, by the rules of `reproduce`, with `values` over them.

    Raises:
        UserError: an unknown option, or one out of range.
    """
    from seas_train.methods.table import find_method

    return overlay(find_method(method).defaults(base, product, reproduce), values, source, "train")


def check_way(out: Path, run: Path, inputs: Mapping[str, Path], *, resume: bool, force: bool) -> None:
    """Refuse to write over a checkpoint or a run, unless asked to, and over anything else."""
    from seas_train.checkpoint import CHECKPOINT
    from seas_train.training.state import RUN, is_first_process

    if resume and force:
        raise UserError("--resume: continues a run, and --force starts it over. Give one of them.")
    if not is_first_process():
        return  # of several processes the first one asks
    advice = "continue with --resume, replace it with --force, or choose another"
    refuse_overlap(run, {"--out": out}, "--run", missing=True)
    for option, path, kind in (("--out", out, CHECKPOINT), ("--run", run, RUN)):
        if resume:  # other files are left alone
            refuse_overlap(path, inputs, option)
            holds_ours(path, kind, option)
            check_writable(path, option)
        else:
            check_out(path, kind, option, force=force, advice=advice, inputs=inputs)

"""What `build` is asked to do, in frozen dataclasses: defaults, then a YAML file, then the command line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from seas_export.config.layers import merge, overlay, read_yaml
from seas_runtime.errors import UserError
from seas_runtime.manifest.types import MASK_STEPS, PRECISIONS


class ExportLayout(str, Enum):
    """How an export's files lie: as a bundle, or as Hugging Face's optimum expects the plain parts."""

    BUNDLE = "bundle"
    OPTIMUM = "optimum"


LAYOUTS = ("mvtec", "visa", "mvtec3d")
FITS = ("crop", "pad", "stretch")
REPRODUCED = ("paper", "authors")


@dataclass(frozen=True)
class PhotographsConfig:
    """How the product's photographs are read and split.

    layout: mvtec | visa | mvtec3d, or None to detect it. fit: crop | pad | stretch. shots: training pairs of
    each defect, None for the first third. normals: training normals at most. defects: the ones to use, None
    for all.
    """

    layout: str | None = None
    fit: str = "crop"
    shots: int | None = None
    normals: int = 60
    defects: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        _one_of("photographs.layout", self.layout, (*LAYOUTS, None))
        _one_of("photographs.fit", self.fit, FITS)
        _at_least("photographs.shots", self.shots, 1)
        _at_least("photographs.normals", self.normals, 1)


@dataclass(frozen=True)
class EvaluateConfig:
    """How the mask head is scored: at most so many held-out pairs of each defect, and held-out normals."""

    pairs: int = 6
    normals: int = 6

    def __post_init__(self) -> None:
        _at_least("evaluate.pairs", self.pairs, 1)
        _at_least("evaluate.normals", self.normals, 0)


@dataclass(frozen=True)
class ExportConfig:
    """What the bundle holds: precision fp32 | fp16, the target it is for, and the sampler's steps.

    device: for target rtx, the compute capabilities to build engines for; None for this machine's GPU.
    """

    precision: str = "fp32"
    target: str = "cpu"
    device: str | None = None
    steps: int = 25

    def __post_init__(self) -> None:
        _one_of("export.precision", self.precision, PRECISIONS)
        _between("export.steps", self.steps, MASK_STEPS, 1000)


@dataclass(frozen=True)
class GenerateConfig:
    """What is generated: `pairs` of each defect and as many normals, `batch` at a time.

    guidance, tau (threshold on the mask's probability): None for the bundle's own, which training sets by the
    layout (guidance 8; VisA 2; MVTec 3D AD 5; on `micro` at most 3.5). backend: what runs the graphs, `auto`
    for the fastest here; what was begun on one is continued on it.
    """

    pairs: int = 8
    batch: int = 4
    guidance: float | None = None
    tau: float | None = None
    gate: bool = True
    backend: str = "auto"

    def __post_init__(self) -> None:
        from seas_runtime.backends.contract import AUTO, BACKENDS

        _at_least("generate.pairs", self.pairs, 1)
        _one_of("generate.backend", self.backend.partition(":")[0], (*BACKENDS, AUTO))
        _between("generate.batch", self.batch, 1, 64)
        _between("generate.guidance", self.guidance, 0.0, 100.0)
        _between("generate.tau", self.tau, 0.0, 1.0)


@dataclass(frozen=True)
class BuildConfig:
    """Everything that `seas-export build` is asked for.

    product: its folder's name. data: the folder of products, None for `data/` or the sample. base: `micro`, a
    folder, a file or a hub name. allow_pickle: of its weights. reproduce: whose rules, `paper` or `authors`,
    None for ours. out: None for out/PRODUCT. seed: of training and generation. train: options of
    seas_train.TrainConfig over its defaults for the base; they are checked once the base is known.
    """

    product: str = ""
    data: Path | None = None
    base: str = "micro"
    allow_pickle: bool = False
    reproduce: str | None = None
    out: Path | None = None
    seed: int = 0
    threads: int | None = None
    photographs: PhotographsConfig = field(default_factory=PhotographsConfig)
    train: Mapping[str, Any] = field(default_factory=dict)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    export: ExportConfig = field(default_factory=ExportConfig)
    generate: GenerateConfig = field(default_factory=GenerateConfig)

    def __post_init__(self) -> None:
        if self.product and (not re.fullmatch(r"[\w.-]+", self.product) or self.product in (".", "..")):
            raise UserError(
                f"product: expected the name of a product's folder, such as bottle; found {self.product!r}. "
                "Give the folder that it lies in with --data."
            )
        if "seed" in self.train:
            raise UserError(
                "train.seed: a build has one seed, of training and generation. Set `seed` instead."
            )
        _one_of("reproduce", self.reproduce, (*REPRODUCED, None))
        _at_least("seed", self.seed, 0)
        _at_least("threads", self.threads, 1)

    @property
    def folder(self) -> Path:
        """Where everything is made."""
        return self.out if self.out is not None else Path("out") / self.product

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as build.json records them."""
        made: dict[str, Any] = asdict(self)
        made["data"] = None if self.data is None else str(self.data)
        made["out"] = str(self.folder)
        return made


def load_config(file: Path | None, options: Mapping[str, Any]) -> BuildConfig:
    """Layer defaults, the YAML `file` and the command line's `options`, and check the result once.

    Raises:
        UserError: an unknown key, a value of the wrong type or out of range, or no product.
    """
    config = BuildConfig()
    if file is not None:
        config = overlay(config, read_yaml(file), str(file))
    train = options.get("train", {})
    config = overlay(config, {**options, "train": merge(config.train, train)}, "the command line")
    if not config.product:
        raise UserError("build: expected the name of a product, found none. Give it: --product bottle")
    return config


def _one_of(name: str, value: Any, known: tuple[Any, ...]) -> None:
    """Refuse a word that is not among `known`."""
    if value not in known:
        words = " | ".join(str(word) for word in known if word is not None)
        raise UserError(f"{name}: expected {words}, found {value!r}.")


def _at_least(name: str, value: float | None, least: float) -> None:
    """Refuse a number under `least`."""
    if value is not None and value < least:
        raise UserError(f"{name}: expected {least} or more, found {value}.")


def _between(name: str, value: float | None, least: float, most: float) -> None:
    """Refuse a number outside [least, most]; a NaN is outside."""
    if value is not None and not least <= value <= most:
        raise UserError(f"{name}: expected {least} to {most}, found {value}.")

"""The contract of a method of training. Nothing outside of a method's room asks which method it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from seas_train.bases.base import Base
from seas_train.checkpoint import Checkpoint
from seas_train.data import PhotographsConfig, Product


class Train(Protocol):
    """Trains a base on a product and writes the checkpoint folder `out`."""

    def __call__(
        self,
        product: Product,
        base: Base,
        out: Path,
        run_dir: Path,
        config: Any,
        *,
        resume: bool = False,
        progress: bool = True,
    ) -> None:
        """See `train_product`."""


@dataclass(frozen=True)
class Estimate:
    """What the stage takes that takes most."""

    stage: str
    """In words."""
    steps: int
    trained: int
    """Parameters."""
    parts: Mapping[str, int]
    """Bytes where it computes, by what they are for."""
    host: Mapping[str, int]
    """Bytes on the host besides."""
    flops: float
    """Operations of a step."""
    eight_bit: bool
    """Whether the optimizer keeps its state in eight bits."""


@dataclass(frozen=True)
class MadePicture:
    """A whole picture that a checkpoint's bundle made, and of a defect its mask."""

    image: Path
    mask: Path | None = None
    defect: int | None = None
    """Its defect's index in the product, None for a normal."""


class Distill(Protocol):
    """Distills a checkpoint and writes the checkpoint folder `out`."""

    def __call__(
        self,
        checkpoint: Checkpoint,
        product: Product,
        out: Path,
        run_dir: Path,
        config: Any,
        *,
        generated: Sequence[MadePicture] = (),
        resume: bool = False,
        progress: bool = True,
    ) -> None:
        """Train a student of the checkpoint on its own product, and on pictures that the checkpoint made."""


@dataclass(frozen=True)
class Distillation:
    """How a method's checkpoints become those of students, which take few steps without guidance."""

    check: Callable[[Checkpoint, Product], None]
    """Raises UserError for a checkpoint that cannot be a teacher, or photographs that are not its own."""
    defaults: Callable[[Checkpoint, Product], Any]
    """The configuration, a `Settings` dataclass."""
    blank: Any
    """A configuration of that class, to check options by before there is a checkpoint."""
    run: Distill
    estimate: Callable[[Checkpoint, Product, Any], Estimate]
    memory: Callable[[str | None, int | None], Mapping[str, Any]]
    """As `Method.memory`."""


@dataclass(frozen=True)
class Method:
    """A way to train a base on a product, as `METHOD` of the module that the table names."""

    check_base: Callable[[Base], None]
    """Raises UserError where a base lacks what the method needs of it."""
    defaults: Callable[[Base, Product, str | None], Any]
    """Its configuration, a `Settings` dataclass, for a base and a product; the third argument says whose
    rules to follow, `paper` or `authors`, None for ours."""
    train: Train
    artifacts: Mapping[str, Callable[[Path], Any]]
    """Name of each artifact of its checkpoints -> reads it from its folder."""
    check_checkpoint: Callable[[Checkpoint], None]
    """Raises UserError where a loaded checkpoint's parts do not fit together."""
    photographs: Callable[[PhotographsConfig, str | None], PhotographsConfig] = lambda config, rules: config
    """How photographs are read by the rules that the second argument says, as `defaults`' third does."""
    stages: Mapping[str, str] = field(default_factory=dict)
    """Name of each stage's folder in a run, in their order -> what it trains, in words."""
    later: tuple[str, ...] = ("generation",)
    """Sections of its configuration that the first stage does not follow from: its state serves on."""
    memory: Callable[[str | None, int | None], Mapping[str, Any]] | None = None
    """Training options that `--memory` and `--lora` stand for; None for a method that has no such levels."""
    estimate: Callable[[Base, Product, Any], Estimate] | None = None
    """Memory and operations of the stage that takes most, before it is trained; None where nothing tells."""
    distillation: Distillation | None = None
    """None for a method that has no U-Net of its own."""
    longer: str = "finetune.steps"
    """The key of its configuration, with dots, by which it trains longer."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Command-line option of files that it also learns from -> the key of its configuration, with dots."""
    read: Callable[[Product, Any], Mapping[str, Any]] = lambda product, config: {}
    """Return what it reads besides photographs and base, as JSON values that say when to train again."""

"""What a bundle says about itself: `manifest.json`."""

from __future__ import annotations

import dataclasses
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from seas_runtime.errors import UserError
from seas_runtime.printable import printable

SCHEMA = 2
"""What is written. 2 has a `generation` section of the method's own, and noise that differs by defect."""
SCHEMAS = (1, 2)
"""What is read."""
GOOD = "good"
"""The prompt, embedding and folder of normal images."""
UNCONDITIONAL = "unconditional"
"""The key of the empty prompt's embedding."""
DTYPES = ("float32", "float16", "int64", "int32", "uint8", "bool")
PRECISIONS = ("fp32", "fp16", "int8")
STEP, DECODE_MASK, DECODE_IMAGE = "step", "decode_mask", "decode_image"
ENCODE_IMAGE = "encode_image"
"""Pixels to latents, for pairs drawn into a picture. Bundles of earlier versions have none."""
STEP_UNGUIDED = "step_unguided"
"""`step` without the unconditional half, for guidance 1. Bundles of earlier versions have none."""
SCHEDULE = "schedule"
"""The table that every method has; its tensors are schedules."""
TEXT_ENCODER, TOKENIZER = "text_encoder", "tokenizer"
"""The graph and the table that prompts of one's own need; bundles may lack the table."""
BATCH, STEPS = "batch", "steps"
"""Names of dynamic dimensions: pairs made together, and rows of a schedule."""
Shape = tuple[int | str, ...]
"""Sizes of a tensor; a name where one is dynamic."""


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of a graph."""

    name: str
    dtype: str
    shape: Shape

    def sized(self, **sizes: int) -> Shape:
        """Return the shape with the sizes of dynamic dimensions, given by name; others stay dynamic."""
        return tuple(sizes.get(size, size) if isinstance(size, str) else size for size in self.shape)


def known_sizes(shape: Shape) -> tuple[int, ...]:
    """Return a shape of numbers; UserError for a dynamic dimension, where sizes must be known beforehand."""
    sizes = tuple(size for size in shape if isinstance(size, int))
    if len(sizes) != len(shape):
        raise UserError(
            f"manifest.json: expected no dynamic sizes but {BATCH!r} and {STEPS!r} for a GPU, found "
            f"{list(shape)}; export the bundle again"
        )
    return sizes


@dataclass(frozen=True)
class GraphSpec:
    """A graph's file, relative to the bundle, and its signature."""

    file: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def input(self, name: str) -> TensorSpec | None:
        """Return the input called `name`, or None."""
        return next((spec for spec in self.inputs if spec.name == name), None)

    def output(self, name: str) -> TensorSpec | None:
        """Return the output called `name`, or None."""
        return next((spec for spec in self.outputs if spec.name == name), None)

    def has(self, dimension: str) -> bool:
        """Whether an input has a dynamic dimension of this name."""
        return any(dimension in spec.shape for spec in self.inputs)

    def sizes(self, shapes: Mapping[str, Shape]) -> dict[str, int]:
        """Return the sizes of the dynamic dimensions by name, as shapes of all inputs tell them."""
        found: dict[str, int] = {}
        for spec in self.inputs:
            for name, size in zip(spec.shape, shapes[spec.name], strict=True):
                if isinstance(name, str) and isinstance(size, int) and found.setdefault(name, size) != size:
                    raise ValueError(f"{spec.name!r}: expected {found[name]} for {name!r}, found {size}")
        return found


@dataclass(frozen=True)
class ImageGeometry:
    """Pixels of a generated image."""

    height: int
    width: int

    @property
    def pixels(self) -> int:
        """How many it has."""
        return self.height * self.width


@dataclass(frozen=True)
class LatentGeometry:
    """Channels and size of a latent; `scaling_factor` takes the VAE's latents to the U-Net's."""

    channels: int
    height: int
    width: int
    scaling_factor: float


@dataclass(frozen=True)
class SamplerDefaults:
    """What a request gets by default: a schedule and guidance."""

    name: str
    steps: int
    guidance: float


@dataclass(frozen=True)
class FileEntry:
    """A file's hash (64 lowercase hexadecimal digits) and size in bytes."""

    sha256: str
    size: int


@dataclass(frozen=True)
class Licence:
    """A licence that generated pairs inherit, and from what."""

    name: str
    applies_to: str
    text: str | None = None


@dataclass(frozen=True)
class Manifest:
    """A bundle's manifest. Make one to write a bundle; `bundle.manifest_reading` alone reads one."""

    product: str
    defects: tuple[str, ...]
    image: ImageGeometry
    latent: LatentGeometry
    preprocessing: Mapping[str, Any]
    prompts: Mapping[str, str]
    unconditional: str
    sampler: SamplerDefaults
    precision: str
    opset: int
    target: str
    graphs: Mapping[str, GraphSpec]
    tables: Mapping[str, str]
    parity: Mapping[str, Any]
    files: Mapping[str, FileEntry]
    provenance: Mapping[str, Any]
    licences: tuple[Licence, ...]
    generation: Mapping[str, Any]
    """What its method generates by, as JSON values that the method has checked."""
    method: str = "seas"
    half: Mapping[str, Any] = field(default_factory=dict)
    """Of an fp16 bundle: which nodes stay in float32, and the figures that say why."""
    int8: Mapping[str, Any] = field(default_factory=dict)
    """Of an int8 bundle: the layers of each graph whose input stays in float, and how far pairs stray."""
    product_label: str = ""
    """The product's name as its people spell it, where that is no safe name for a folder."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Of defects, the same."""
    schema: int = field(default=SCHEMA)

    @property
    def tau(self) -> float | None:
        """The threshold on a mask's probability, 0 to 1; None where the method measures no mask."""
        tau: float | None = self.generation.get("tau")
        return tau

    def label(self, defect: str) -> str:
        """Return a defect's name as its people spell it."""
        return self.labels.get(defect, defect)

    @property
    def shown_product(self) -> str:
        """The product's name as its people spell it."""
        return self.product_label or self.product

    def find_defect(self, wanted: str) -> str:
        """Return the defect that a name or label means; `wanted` itself where there is none."""
        known = (*self.defects, GOOD)
        if wanted in known:
            return wanted
        key = _spelling(wanted)
        found = [name for name in self.defects if _spelling(self.label(name)) == key]
        found = found or [name for name in known if _spelling(name) == key]
        return found[0] if len(found) == 1 else wanted

    def to_dict(self) -> dict[str, Any]:
        """Return the manifest as JSON values, in the order of its schema."""
        result: dict[str, Any] = {"schema": self.schema, "method": self.method}
        for item in dataclasses.fields(self):
            if item.name not in result:
                result[item.name] = _plain(getattr(self, item.name))
        for name in ("half", "int8", "product_label", "labels"):  # what a bundle has not is left out, as ever
            if not result[name]:
                del result[name]
        if self.schema == 1:
            generation = result.pop("generation")
            result["sampler"]["mask_steps"] = generation["mask_steps"]
            result["tau"] = generation["tau"]
        return result


def _spelling(label: str) -> str:
    """A label as it is compared: case and Unicode composition do not matter."""
    return printable(unicodedata.normalize("NFC", label)).casefold()


def _plain(value: Any) -> Any:
    """Return dataclasses, mappings and tuples as JSON values; a None in a dataclass is left out."""
    if dataclasses.is_dataclass(value):
        pairs = ((item.name, getattr(value, item.name)) for item in dataclasses.fields(value))
        return {name: _plain(entry) for name, entry in pairs if entry is not None}
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return value

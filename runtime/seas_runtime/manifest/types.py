"""What a bundle says about itself: `manifest.json`, schema 1."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SCHEMA = 1
GOOD = "good"
"""The prompt, embedding and folder of normal images."""
UNCONDITIONAL = "unconditional"
"""The key of the empty prompt's embedding."""
DTYPES = ("float32", "float16", "int64", "int32", "uint8", "bool")
METHODS = ("seas",)
PRECISIONS = ("fp32", "fp16")
STEP, DECODE_MASK, DECODE_IMAGE = "step", "decode_mask", "decode_image"
RUNTIME_GRAPHS = (STEP, DECODE_MASK, DECODE_IMAGE)
"""What generation runs. Other graphs are source parts, for parity and other tools."""
STEP_UNGUIDED = "step_unguided"
"""`step` without the unconditional half, for guidance 1. Bundles of earlier versions have none."""
TABLES = ("embeddings", "schedule", "references")


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of a graph. A text dimension is dynamic: `batch`."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class GraphSpec:
    """A graph's file, relative to the bundle, and its signature."""

    file: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def input(self, name: str) -> TensorSpec | None:
        """Return the input called `name`, or None."""
        return next((spec for spec in self.inputs if spec.name == name), None)


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
    """What a request gets by default: a schedule, guidance, and how many last steps give a mask."""

    name: str
    steps: int
    guidance: float
    mask_steps: int


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
    """A bundle's manifest. Make one to write a bundle; `manifest.reading` is the only way from a file."""

    product: str
    defects: tuple[str, ...]
    image: ImageGeometry
    latent: LatentGeometry
    preprocessing: Mapping[str, Any]
    prompts: Mapping[str, str]
    unconditional: str
    sampler: SamplerDefaults
    tau: float
    precision: str
    opset: int
    target: str
    graphs: Mapping[str, GraphSpec]
    tables: Mapping[str, str]
    parity: Mapping[str, Any]
    files: Mapping[str, FileEntry]
    provenance: Mapping[str, Any]
    licences: tuple[Licence, ...]
    method: str = "seas"
    half: Mapping[str, Any] = field(default_factory=dict)
    """Of an fp16 bundle: which nodes stay in float32, and the figures that say why."""
    schema: int = field(default=SCHEMA)

    def to_dict(self) -> dict[str, Any]:
        """Return the manifest as JSON values, in the order of the schema."""
        result: dict[str, Any] = {"schema": self.schema, "method": self.method}
        for item in dataclasses.fields(self):
            if item.name not in result:
                result[item.name] = _plain(getattr(self, item.name))
        if not self.half:
            del result["half"]  # bundles of float32 are written as they always were
        return result


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

"""The record of an engine, and the part of it that makes its key."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any

from seas_runtime.errors import UserError
from seas_runtime.manifest.fields import Fields, describe
from seas_runtime.manifest.types import DTYPES, PRECISIONS, FileEntry, TensorSpec

SCHEMA = 1
INDEX_NAME = "index.json"
WEIGHTS_NAME = "weights.bin"
INDEX_SIZE_LIMIT, MOST_COMPANIONS = 1 << 20, 16
COMPANION_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class BatchRange:
    """Batch sizes that an engine takes, and the one that it is fastest at."""

    minimum: int
    preferred: int
    maximum: int

    def __post_init__(self) -> None:
        if not 1 <= self.minimum <= self.preferred <= self.maximum <= 1024:
            raise UserError(
                f"batch: expected MIN:OPT:MAX with 1 <= MIN <= OPT <= MAX <= 1024, found {self.text}"
            )

    @classmethod
    def parse(cls, text: str) -> BatchRange:
        """Read `4` or `1:4:16`; UserError for anything else."""
        parts = text.split(":")
        if not all(re.fullmatch(r"[0-9]{1,5}", part) for part in parts) or len(parts) not in (1, 3):
            raise UserError(
                f"--batch: expected a whole number or MIN:OPT:MAX such as 1:4:16, found {describe(text)}"
            )
        sizes = [int(part) for part in parts]
        return cls(*sizes) if len(sizes) == 3 else cls(sizes[0], sizes[0], sizes[0])

    @property
    def text(self) -> str:
        """The range as `--batch` takes it."""
        return f"{self.minimum}:{self.preferred}:{self.maximum}"

    @property
    def static(self) -> bool:
        """Whether it is one size."""
        return self.minimum == self.maximum

    @property
    def width(self) -> tuple[int, int]:
        """A measure by which ranges are compared: the narrower, the more an engine is made for its sizes."""
        return self.maximum - self.minimum, self.maximum

    def holds(self, batch: int) -> bool:
        """Whether an engine of this range takes the batch."""
        return self.minimum <= batch <= self.maximum

    def __str__(self) -> str:
        return str(self.maximum) if self.static else f"{self.minimum} to {self.maximum}"


@dataclass(frozen=True)
class EngineIdentity:
    """What an engine is of and for. Two engines of one identity are interchangeable."""

    graph: str
    """Its name in the bundle: `step`."""
    content: str
    """SHA-256 of the graph and its weights: `graph_content`."""
    target: str
    """`tensorrt`, `rtx`, `cuda` or `openvino`."""
    backend_version: str
    """Of the library that built it; no other loads it."""
    devices: tuple[str, ...]
    """What it runs on: compute capabilities (`8.6`) for rtx; capability and name for tensorrt."""
    precision: str
    """Of weights and activations."""
    batch: BatchRange
    """Sizes of the dimension `batch`."""
    options: Mapping[str, str] = field(default_factory=dict)
    """How it was built where that changes the engine: builder level, weight streaming."""

    @property
    def key(self) -> str:
        """32 hexadecimal digits: the name of the engine's folder."""
        text = json.dumps(self.to_dict(), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def to_dict(self) -> dict[str, Any]:
        """Return the identity as JSON values."""
        return {
            "graph": self.graph,
            "content": self.content,
            "target": self.target,
            "backend_version": self.backend_version,
            "devices": list(self.devices),
            "precision": self.precision,
            "batch": [self.batch.minimum, self.batch.preferred, self.batch.maximum],
            "options": dict(self.options),
        }


@dataclass(frozen=True)
class EngineRecord:
    """An engine's index."""

    identity: EngineIdentity
    inputs: tuple[TensorSpec, ...]
    """As the engine types them, dynamic sizes as the manifest names them."""
    outputs: tuple[TensorSpec, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What was measured while building: seconds, peak memory, and the choice of float32 nodes."""
    shipped: bool = False
    """Whether it was built to be carried to other machines."""
    file: FileEntry = field(default_factory=lambda: FileEntry("", 0))
    """Hash and size of the engine."""
    built_at: float = 0.0
    """Seconds since 1970."""
    origin: str = ""
    """The machine that built it, as `machine_identity` names it."""
    companions: Mapping[str, FileEntry] = field(default_factory=dict)
    """Hash and size of what lies beside it; of those only `weights.bin` is part of the engine."""
    seal: str = ""
    """What this machine's key makes of all the others: see `seal`."""

    def to_dict(self) -> dict[str, Any]:
        """Return the index as JSON values."""
        return {
            "schema": SCHEMA,
            **self.identity.to_dict(),
            "file": asdict(self.file),
            "inputs": [_tensor(spec) for spec in self.inputs],
            "outputs": [_tensor(spec) for spec in self.outputs],
            "facts": dict(self.facts),
            "shipped": self.shipped,
            "built_at": self.built_at,
            "origin": self.origin,
            "companions": {name: asdict(entry) for name, entry in self.companions.items()},
            **({"seal": self.seal} if self.seal else {}),
        }


def read_record(value: object, where: str) -> EngineRecord:
    """Check a parsed index strictly; UserError naming the key, what was expected and what was found."""
    fields = Fields(value, where)
    fields.integer("schema", SCHEMA, SCHEMA)
    batch = fields.items("batch")
    if len(batch) != 3 or not all(isinstance(size, int) and not isinstance(size, bool) for size in batch):
        fields.fail("batch", "three whole numbers", batch)
    options = fields.mapping("options")
    devices = fields.items("devices")
    if not devices or not all(isinstance(name, str) and name for name in devices):
        fields.fail("devices", "at least one name", devices)
    if not all(isinstance(text, str) for text in options.values()):
        fields.fail("options", "texts", options)
    identity = EngineIdentity(
        graph=fields.name("graph"),
        content=_digest(fields, "content"),
        target=fields.name("target"),
        backend_version=fields.text("backend_version"),
        devices=tuple(devices),
        precision=fields.choice("precision", PRECISIONS),
        batch=BatchRange(*batch),
        options=MappingProxyType(options),
    )
    shipped = fields.raw("shipped")
    if not isinstance(shipped, bool):
        fields.fail("shipped", "true or false", shipped)
    record = EngineRecord(
        identity=identity,
        inputs=_read_tensors(fields, "inputs"),
        outputs=_read_tensors(fields, "outputs"),
        facts=MappingProxyType(fields.mapping("facts")),
        shipped=shipped,
        file=_read_entry(fields.fields("file")),
        built_at=fields.number("built_at", 0.0, 1e11),
        origin=fields.text("origin"),
        companions=_read_companions(fields),
        seal=fields.text("seal") if fields.has("seal") else "",
    )
    fields.close()
    return record


def _read_companions(fields: Fields) -> Mapping[str, FileEntry]:
    values = fields.mapping("companions", MOST_COMPANIONS)
    for name in values:
        if not COMPANION_NAME.fullmatch(name):
            fields.fail("companions", "plain file names", name)
    return MappingProxyType(
        {name: _read_entry(Fields(value, f"{fields.where}.companions")) for name, value in values.items()}
    )


def _read_entry(fields: Fields) -> FileEntry:
    entry = FileEntry(_digest(fields, "sha256"), fields.integer("size", 0, 1 << 50))
    fields.close()
    return entry


def _digest(fields: Fields, key: str) -> str:
    text = fields.text(key)
    if not _SHA256.fullmatch(text):
        fields.fail(key, "64 lowercase hexadecimal digits", text)
    return text


def _read_tensors(fields: Fields, key: str) -> tuple[TensorSpec, ...]:
    specs = []
    for value in fields.items(key):
        entry = Fields(value, f"{fields.where}.{key}")
        shape = entry.items("shape")
        if not all(isinstance(size, str) or (isinstance(size, int) and size > 0) for size in shape):
            entry.fail("shape", "positive sizes or names of dynamic ones", shape)
        specs.append(TensorSpec(entry.text("name"), entry.choice("dtype", DTYPES), tuple(shape)))
        entry.close()
    return tuple(specs)


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    return {**asdict(spec), "shape": list(spec.shape)}

"""One training and its test: what it is made of, which names its file, and its results' file."""

from __future__ import annotations

import hashlib
import io
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from seas_runtime.files import atomic_write_bytes, sha256_file

if TYPE_CHECKING:
    from seas_train.data.images import Preprocessing
    from seas_train.proof.crops import Sources
    from seas_train.proof.pictures import Sample

VERSION = 2
"""Counts what changes the figures of a training that the rest of its key does not tell."""

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Cost:
    """What was measured of a job: its steps, and the seconds of a step and of a photograph's test."""

    steps: int
    step_seconds: float
    photograph_seconds: float


class Work(ABC):
    """What a job does. It has no state, for it goes to other processes."""

    @abstractmethod
    def steps(self, job: Job) -> int:
        """Return how many steps progress is told."""

    @abstractmethod
    def run(self, job: Job, done: Callable[[int], object]) -> Arrays:
        """Train and test; returns the results. done: told the steps that are done."""

    @abstractmethod
    def measure(self, job: Job) -> Cost:
        """Measure a few steps and photographs."""

    @abstractmethod
    def check(self, arrays: Arrays, photographs: int) -> None:
        """Raise KeyError or ValueError where arrays are no results of a test on so many photographs."""


@dataclass(frozen=True)
class Job:
    """A training on one set with one seed, and its test. key: 16 hexadecimal digits of its content."""

    arm: str
    seed: int
    recipe: Any
    """The settings of the work."""
    sources: Sources
    tested: tuple[Sample, ...]
    preprocessing: Preprocessing
    device: str
    key: str
    work: Work

    @property
    def name(self) -> str:
        """What it is called where it is spoken of."""
        return f"{self.arm}, seed {self.seed}"

    @property
    def steps(self) -> int:
        """How many steps progress is told."""
        return self.work.steps(self)

    def file(self, folder: Path) -> Path:
        """Return the file of its results."""
        return folder / f"{self.key}.npz"


def job_key(
    recipe: dict[str, Any], seed: int, contents: dict[str, list[str]], preprocessing: dict[str, Any]
) -> str:
    """Return what a job is called by its content. contents: hashes of the samples by what they are for.

    recipe: its settings; a folder of `textures` among them counts by what is in it, and a `share` of made
        samples only where there are real ones beside them.
    """
    options = dict(recipe)
    made, real = (contents[kind] or contents[f"{kind} normals"] for kind in ("made", "real"))
    if not (made and real):
        options.pop("share", None)
    textures = options.pop("textures", None)
    said = {
        "version": VERSION,
        "recipe": options,
        "seed": seed,
        "contents": contents,
        "preprocessing": preprocessing,
        **({"textures": _textures_content(Path(textures))} if textures else {}),
    }
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]


@cache
def _textures_content(folder: Path) -> str:
    """Return the hash of a folder's textures."""
    from seas_train.proof.anomalies import texture_files

    return hashlib.sha256("/".join(sha256_file(file) for file in texture_files(folder)).encode()).hexdigest()


def write_arrays(file: Path, arrays: Arrays) -> None:
    """Write results; numbers only, no pickle; the file is whole or not there."""
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
    atomic_write_bytes(file, stream.getvalue())


def read_arrays(file: Path) -> Arrays:
    """Read results; ValueError, KeyError or OSError where the file is none of ours or damaged."""
    with np.load(file, allow_pickle=False) as found:
        return {name: found[name] for name in found.files}


def contents_of(sources: Sources, tested: Sequence[Sample], known: dict[Sample, str]) -> dict[str, list[str]]:
    """Return the hashes of a job's samples by what they are for; `known` keeps those that were made."""

    def hashes(samples: Sequence[Sample]) -> list[str]:
        for sample in samples:
            if sample not in known:
                known[sample] = sample.content()
        return [known[sample] for sample in samples]

    return {
        "real": hashes(sources.real),
        "real normals": hashes(sources.real_normals),
        "made": hashes(sources.made),
        "made normals": hashes(sources.made_normals),
        "tested": hashes(tested),
    }

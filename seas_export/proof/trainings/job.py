"""One training and its test: what it is made of, which names its file, and running it."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from seas_export.proof.measures.counts import LEVELS, RANGE, Counts, count, levels_of
from seas_runtime.files import atomic_write_bytes, sha256_file

if TYPE_CHECKING:
    from seas_train.data.images import Preprocessing
    from seas_train.proof.crops import Sources
    from seas_train.proof.fitting import Recipe
    from seas_train.proof.pictures import Sample

SHADES = 256
VERSION = 2
"""Counts what changes the figures of a training that the rest of its key does not tell."""


@dataclass(frozen=True)
class Job:
    """A training on one set with one seed, and its test. key: 16 hexadecimal digits of its content."""

    arm: str
    seed: int
    recipe: Recipe
    sources: Sources
    tested: tuple[Sample, ...]
    preprocessing: Preprocessing
    device: str
    key: str

    @property
    def name(self) -> str:
        """What it is called where it is spoken of."""
        return f"{self.arm}, seed {self.seed}"

    def file(self, folder: Path) -> Path:
        """Return the file of its results."""
        return folder / f"{self.key}.npz"


@dataclass(frozen=True, eq=False)
class Tested:
    """The results of a job: what was counted, and each photograph's map [H, W], see `shown_map`."""

    counts: Counts
    maps: tuple[NDArray[np.uint8], ...]


def job_key(recipe: Recipe, seed: int, contents: dict[str, list[str]], preprocessing: Preprocessing) -> str:
    """Return what a job is called by its content. contents: hashes of the samples by what they are for."""
    options = recipe.to_dict()
    textures = options.pop("textures")
    said = {
        "version": VERSION,
        "recipe": options,
        "seed": seed,
        "contents": contents,
        "preprocessing": preprocessing.to_dict(),
        **({"textures": textures_content(Path(textures))} if textures else {}),
    }
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]


@cache
def textures_content(folder: Path) -> str:
    """Return the hash of a folder's textures."""
    from seas_train.proof.anomalies import texture_files

    return hashlib.sha256("/".join(sha256_file(file) for file in texture_files(folder)).encode()).hexdigest()


def run_job(job: Job, folder: Path, done: Callable[[int], object] = lambda steps: None) -> None:
    """Train and test, and write the results' file, whole or not at all.

    done: told the steps that are done; the test counts as those of `steps_of_test`.
    """
    from seas_train.proof.fitting import fit
    from seas_train.proof.pictures import Pictures

    pictures = Pictures(job.preprocessing)
    model = fit(job.recipe, pictures, job.sources, job.seed, job.device, done)
    made: list[Counts] = []
    maps: list[NDArray[np.uint8]] = []
    for sample in job.tested:
        mask = pictures.marking(sample)
        logits = test(model, pictures, sample, mask.shape, job.device)
        made.append(count(logits, mask))
        maps.append(shown_map(logits))
    write_tested(job.file(folder), Tested(Counts.joined(made), tuple(maps)))


def test(
    model: object, pictures: object, sample: Sample, size: tuple[int, ...], device: str
) -> NDArray[np.float32]:
    """Return a photograph's logits [H, W] at its own size, whatever the scale that it is seen at."""
    from seas_train.proof.pictures import Pictures
    from seas_train.proof.segmenters.contract import Segmenter
    from seas_train.proof.tiles import find_defects

    assert isinstance(model, Segmenter)
    assert isinstance(pictures, Pictures)
    logits = find_defects(model, pictures.read(sample)[0], device)
    if logits.shape == size:
        return logits
    grown = Image.fromarray(logits).resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.asarray(grown, np.float32)


def write_tested(file: Path, tested: Tested) -> None:
    """Write results; numbers only, no pickle."""
    stream = io.BytesIO()
    shapes = np.array([one.shape for one in tested.maps], np.int64)
    flat = np.concatenate([one.ravel() for one in tested.maps])
    np.savez_compressed(stream, maps=flat, shapes=shapes, **tested.counts.arrays())  # type: ignore[arg-type]
    atomic_write_bytes(file, stream.getvalue())


def read_tested(file: Path) -> Tested:
    """Read results; ValueError, KeyError or OSError where the file is none of ours or damaged."""
    with np.load(file, allow_pickle=False) as found:
        shapes, flat = found["shapes"], found["maps"]
        ends = np.cumsum([0, *(int(height * width) for height, width in shapes)])
        maps = tuple(
            flat[start:end].reshape(tuple(shape))
            for start, end, shape in zip(ends[:-1], ends[1:], shapes, strict=True)
        )
        names = Counts.__dataclass_fields__
        return Tested(Counts(**{name: found[name] for name in names}), maps)


def shown_map(logits: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return logits [H, W] in 256 steps, which pictures are drawn of: finer ones take twice the room."""
    return np.asarray(levels_of(logits) // (LEVELS // SHADES), np.uint8)


def probability_of(shades: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the probabilities that a shown map stands for."""
    logits = (shades.astype(np.float32) + 0.5) * (2 * RANGE / SHADES) - RANGE
    return np.asarray(1 / (1 + np.exp(-logits)), np.float32)


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

"""A part that ends where more pairs no longer help: its pairs grow in steps, and `prove` measures each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from seas_runtime.errors import UserError
from seas_runtime.files import json_bytes
from seas_train.settings import Count, Settings, Share

PROOFS = "proofs"
"""The folder beside those of the parts."""
_ARM = "generated"


@dataclass(frozen=True)
class Target(Settings):
    """When a part has pairs enough: where a step gains less IoU on real photographs than the one before."""

    product: Path = Path()
    """The folder of the product's photographs."""
    gain: Share = 0.005
    """Of the pooled IoU in 0..1: a step that gains less is the last."""
    first: Count = 50
    """Pairs of each defect in the first step. Each has twice the one before, the part's count at most."""
    segmenter: str | None = None
    """None for `unet` where its packages are installed, else `small`."""
    steps: Count | None = None
    """Of each training; None for as many as `prove` takes."""
    seeds: Count = 3
    """Trainings of each step."""


@dataclass(frozen=True)
class Step:
    """What was measured after a step."""

    count: int
    """Pairs of each defect that there were."""
    iou: float
    """Pooled, of a segmenter that was trained with them, the mean over seeds; in 0..1."""
    real: float
    """The same without them."""
    spread: float | None
    """Standard deviation of `iou` over seeds; None of one."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Asked:
    """A target that can be asked, and what earlier runs found of it."""

    target: Target
    recipe: Mapping[str, Any]
    """How its segmenters are trained, as JSON values."""
    key: str
    """Of all that the figures depend on: steps of another one say nothing here."""
    found: tuple[Step, ...] = ()

    @property
    def enough(self) -> int | None:
        """Pairs of each defect that are enough, as a step gained too little; None where none has yet."""
        decided = self._decided
        return None if decided is None else decided[1].count

    @property
    def _decided(self) -> tuple[Step, Step] | None:
        """The first step that gained too little, behind the one before it."""
        steps = zip(self.found, self.found[1:], strict=False)
        return next((pair for pair in steps if pair[1].iou - pair[0].iou < self.target.gain), None)

    def counts(self, most: int) -> Iterator[int]:
        """Yield the pairs of each step: doubled, and `most` in the end."""
        count = self.target.first
        while count < most:
            yield count
            count *= 2
        yield most

    def in_words(self, most: int) -> str:
        """Say what was decided, and by which figures."""
        figures = ", ".join(f"{step.iou:.3f} with {step.count}" for step in self.found)
        said = f"pooled IoU {self.found[0].real:.3f} without pairs, {figures}" if self.found else ""
        if self._decided is not None:
            before, step = self._decided
            gained = step.iou - before.iou
            return (
                f"enough: the step to {step.count} gained {gained:+.3f}, under {self.target.gain:g}; {said}"
            )
        if self.found and self.found[-1].count >= most:
            return f"all {most} pairs were made, and no step gained under {self.target.gain:g}; {said}"
        return f"not decided; {said}" if said else "not decided"

    def to_dict(self, most: int) -> dict[str, Any]:
        """Return JSON values."""
        steps = [asdict(step) for step in self.found]
        return {"key": self.key, "steps": steps, "enough": self.enough, "decided": self.in_words(most)}


def ask(
    target: Target, defects: Sequence[str], generated: Sequence[Any], earlier: Mapping[str, Any] | None
) -> Asked:
    """Check that a target can be asked; nothing is trained.

    generated: what the pairs of `defects` follow from. earlier: what an earlier run wrote of it. Raises
    UserError where the product, one of the defects in it, or a package is missing.
    """
    from seas_export.config.build import ProveConfig
    from seas_export.pipeline.parts.proving import check_proof, recipe_of
    from seas_export.proof.preparing import SIZE
    from seas_export.proof.request import ProofOptions
    from seas_train.data import load_product

    if not target.product.is_dir():
        raise UserError(
            f"target.product: expected a folder with the product's photographs, found none: {target.product}"
        )
    product = load_product(target.product, size=SIZE)
    if not (known := {defect.name for defect in product.defects}) & set(defects):
        raise UserError(
            f"target.product: {target.product}: expected photographs of {', '.join(defects)}, found those of "
            f"{', '.join(sorted(known))}"
        )
    config = ProveConfig(True, target.segmenter, target.steps, target.seeds)
    config = check_proof(config, product, "target", "segmenter: small")
    recipe = ProofOptions().updated({"recipe": recipe_of(config)}).to_dict()["recipe"]
    depends = [product.fingerprint, recipe, target.seeds, list(defects), list(generated)]
    key = hashlib.sha256(json_bytes(depends)).hexdigest()[:16]
    same = earlier is not None and earlier.get("key") == key
    steps = earlier.get("steps", ()) if same and earlier is not None else ()
    return Asked(target, recipe, key, tuple(_step(value) for value in steps))


def measure(asked: Asked, count: int, dataset: Path, out: Path, threads: int | None) -> Step:
    """Prove a data set of `count` pairs of each defect. Trainings that `out` has already are kept."""
    from seas_export.proof.prove import Proof, prove
    from seas_export.proof.request import ProofOptions, ProveRequest
    from seas_export.proof.results.summary import POOLED

    options = ProofOptions().updated(
        {"recipe": asked.recipe, "seeds": asked.target.seeds, "copy_paste": False, "alone": False}
    )
    request = ProveRequest(asked.target.product, {_ARM: dataset}, out, options, workers=threads)
    proof = prove(request, lambda text: None)
    assert isinstance(proof, Proof)
    figures = proof.summary.figures
    real, with_pairs = (figures[name][POOLED]["iou"] for name in ("real", f"real + {_ARM}"))
    if real is None or with_pairs is None:
        raise UserError(f"{out}: expected an IoU of the held-out photographs, found none; see its proof.md")
    return Step(count, with_pairs.mean, real.mean, with_pairs.spread, proof.notes)


def _step(value: Mapping[str, Any]) -> Step:
    return Step(**{**value, "notes": tuple(value["notes"])})

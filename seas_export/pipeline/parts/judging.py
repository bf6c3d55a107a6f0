"""What a build measures of each defect, and the verdict from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seas_export.config.build import BuildConfig, EvaluateConfig
from seas_export.pipeline.ledger import Ledger
from seas_export.pipeline.parts.model import Model
from seas_export.verdict import Figures, Normals, PromptEffect, Scores, State, Verdict, verdict_of
from seas_export.verdict.files import read_verdicts, state_in_bundle, write_verdicts
from seas_export.version import version
from seas_runtime.files import read_json, sha256_file, write_json
from seas_runtime.manifest.types import Manifest
from seas_runtime.methods.blending.inputs import REGIONS, STRENGTH

if TYPE_CHECKING:
    from seas_train.data import Product


FIGURES = ("iou", "precision", "recall", "area")
"""Of each defect's masks: scores that lack one, of an earlier version, are made again."""


def evaluate(ledger: Ledger, config: BuildConfig, product: Product, model: Model) -> None:
    """Score a model's masks on the photographs that did not train: a part of the build."""
    wanted, tau = config.evaluate, config.generate.tau
    inputs = {
        "version": version(),
        "checkpoint": ledger.entries[model.trained].output,
        "held_out": held_out(product, wanted),
        "tau": tau,
        "seed": config.seed,
        "figures": FIGURES,
    }
    ledger.part(
        model.part("evaluate"),
        inputs,
        model.scores,
        lambda before: score_masks(model.checkpoint, product, wanted, tau, config.seed, model.scores),
    )


def judge(ledger: Ledger, config: BuildConfig, model: Model) -> tuple[Verdict, ...]:
    """Return whether each defect can be used: a part of the build, also written into the model's bundle."""
    inputs = {
        "version": version(),
        "bundle": ledger.entries[model.part("export")].output,
        "scores": ledger.entries[model.part("evaluate")].output,
        "noises": config.evaluate.noises,
        "guidance": config.generate.guidance,
        "seed": config.seed,
    }
    ledger.part(
        model.part("verdict"),
        inputs,
        model.verdict,
        lambda before: judge_defects(model.bundle, model.scores, config, model.verdict),
    )
    verdicts = read_verdicts(model.verdict)
    state_in_bundle(model.bundle, verdicts)
    return verdicts


def set_aside(verdicts: Sequence[Verdict], config: BuildConfig) -> tuple[str, ...]:
    """Return the defects whose pairs do not go into the data set."""
    if config.generate.keep:
        return ()
    return tuple(verdict.defect for verdict in verdicts if verdict.state is State.NOT_USABLE)


def held_out(product: Product, config: EvaluateConfig) -> dict[str, Any]:
    """The files to score, by their contents: what scores follow from besides the checkpoint."""
    pairs = {
        defect.name: [
            [sha256_file(pair.image), sha256_file(pair.mask)] for pair in defect.test[: config.pairs]
        ]
        for defect in product.defects
    }
    normals: Iterable[Path] = product.test_normals[: config.normals]
    return {"pairs": pairs, "normals": [sha256_file(path) for path in normals]}


def score_masks(
    checkpoint: Path, product: Product, config: EvaluateConfig, tau: float | None, seed: int, out: Path
) -> None:
    """Score masks on held-out photographs and write the scores as JSON.

    A defect without a held-out pair is left out; of a method that reads no masks there is a note alone.

    tau: threshold on the mean probability, None for the checkpoint's own.

    Raises:
        UserError: the checkpoint is broken, or `out` cannot be written.
    """
    from seas_export.methods.table import find_method
    from seas_train import load_checkpoint

    loaded = load_checkpoint(checkpoint)
    measure = find_method(loaded.method).mask_scores
    if measure is None:
        write_json(out, {"note": f"the method {loaded.method} reads no masks"})
        return
    write_json(out, measure(loaded, product, tau=tau, seed=seed, pairs=config.pairs, normals=config.normals))


def judge_defects(bundle: Path, scores: Path, config: BuildConfig, out: Path) -> None:
    """Compare what a bundle makes with each defect's prompt and the normal's, and write the verdicts.

    scores: the file that `score_masks` wrote.

    Raises:
        UserError: the bundle or the scores cannot be read.
    """
    from seas_export.methods.table import find_method
    from seas_export.placing.choice import NOISE as FROM_NOISE
    from seas_export.verdict.prompts import prompt_effects
    from seas_runtime.bundle.reading import read_manifest_file
    from seas_train.methods.table import find_method as find_trained

    manifest, _ = read_manifest_file(bundle)
    wanted = config.generate
    laid = wanted.source != FROM_NOISE and starts_from_looks(manifest, wanted.strength)
    effects = (
        {}
        if laid
        else prompt_effects(
            bundle,
            find_method(manifest.method),
            count=config.evaluate.noises,
            batch=wanted.batch,
            seed=config.seed,
            guidance=wanted.guidance,
            backend=wanted.backend,
            threads=config.threads,
        )
    )
    measured = read_json(scores, "mask scores")
    longer = find_trained(manifest.method).longer
    guided = any(graph.input("guidance") is not None for graph in manifest.graphs.values())
    write_verdicts(
        out,
        [
            verdict_of(name, figures_of(name, measured, effects, laid), longer, guided)
            for name in manifest.defects
        ],
    )


def starts_from_looks(manifest: Manifest, strength: float | None) -> bool:
    """Whether a build's pairs start from the looks of real defects: then the prompt does not decide alone
    what is drawn. `strength` is the build's own."""
    generation = manifest.generation
    part = generation.get(STRENGTH, 1.0) if strength is None else strength
    return bool(generation.get(REGIONS)) and part < 1


def figures_of(
    name: str, scores: Mapping[str, Any], effects: Mapping[str, PromptEffect], laid: bool = False
) -> Figures:
    """What was measured of one defect; `laid` is as `Scores` has it."""
    masks, normals = None, None
    if "defects" in scores:  # otherwise the method reads no masks
        own, regions = scores["defects"].get(name), bool(scores.get("regions"))
        masks = Scores(0) if own is None else Scores(own["pairs"], own["iou"], own["area"], regions, laid)
        normals = Normals(scores["normals"]["images"], scores["normals"]["empty_masks"], regions)
    return Figures(masks, normals, effects.get(name))

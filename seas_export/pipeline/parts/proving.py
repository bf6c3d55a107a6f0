"""What a build's pairs are worth: `prove` at its end, where it is asked for."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seas_export.config.build import BuildConfig, ProveConfig
from seas_export.pipeline.digests import clear_damaged, folder_digest
from seas_export.pipeline.ledger import Before, Ledger
from seas_export.version import version
from seas_runtime.errors import UserError
from seas_runtime.installing.advice import install

if TYPE_CHECKING:
    from seas_train.data import PhotographsConfig, Product

PART = "prove"
NAME = "generated"
"""What the data set is called in the table."""


def check_proof(
    config: ProveConfig,
    product: Product,
    option: str = "--prove",
    another: str = "--set prove.segmenter=small",
) -> ProveConfig:
    """Return the proof's options with a segmenter chosen, before hours of training.

    option, another: what messages call the proof, and how they say to choose another segmenter.

    Raises:
        UserError: scikit-learn or the segmenter's packages are not installed, or nothing is held out.
    """
    from seas_export.proof.sets.held_out import Half, held_out
    from seas_train.proof.segmenters.table import PRETRAINED, check_segmenter

    if importlib.util.find_spec("sklearn") is None:
        raise UserError(f"{option}: needs scikit-learn, which is not installed here: {install('prove')}")
    library = importlib.util.find_spec("segmentation_models_pytorch") is not None
    wanted = replace(config, segmenter=config.segmenter or ("unet" if library else "small"))
    check_segmenter(str(wanted.segmenter))
    if wanted.segmenter in PRETRAINED and not library:
        raise UserError(
            f"{option}: {wanted.segmenter} needs segmentation-models-pytorch, which is not installed here: "
            f"{install('prove')}; or take another: {another}"
        )
    held_out(product, 1.0, Half.DEVELOPMENT)
    return wanted


def recipe_of(config: ProveConfig) -> dict[str, Any]:
    """Return how segmenters are trained, as JSON values; what is not given is `prove`'s own."""
    given = {"segmenter": config.segmenter, "steps": config.steps}
    return {name: value for name, value in given.items() if value is not None}


def has_pairs(dataset: Path) -> bool:
    """Whether a data set has pairs of any defect: none may be usable, or pass the gates."""
    from seas_runtime.dataset.formats.finished import read_finished
    from seas_runtime.manifest.types import GOOD

    try:
        return any(picture.defect != GOOD for picture in read_finished(dataset).pictures)
    except UserError:  # that there are no pictures at all
        return False


def prove(
    ledger: Ledger,
    config: BuildConfig,
    options: ProveConfig,
    photographs: PhotographsConfig,
    folders: tuple[Path, Path, Path],
    say: Callable[[str], None],
) -> None:
    """Prove the data set on the development half of the held-out photographs: a part of the build.

    folders: the product's, the data set's, and the proof's.
    """
    from seas_export.proof.prove import PROOF
    from seas_export.proof.prove import prove as prove_set
    from seas_export.proof.request import ProofOptions, ProveRequest

    product, dataset, out = folders
    proof = ProofOptions().updated({"recipe": recipe_of(options), "seeds": options.seeds})

    def make(before: Before) -> None:
        if before is not Before.NOTHING:
            clear_damaged(out, PROOF)
        request = ProveRequest(product, {NAME: dataset}, out, proof, photographs, workers=config.threads)
        prove_set(request, say)

    inputs = {
        "version": version(),
        "dataset": ledger.entries["generate"].output,
        "photographs": photographs.to_dict(),
        "product": ledger.content.get("fingerprints", {}).get("product"),
        "options": proof.to_dict(),
    }
    ledger.part(PART, inputs, out, make, folder_digest(PROOF))

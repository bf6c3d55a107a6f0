"""`import-seas`: the authors' training output and photographs to a checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from seas_export.pipeline.source import DATA
from seas_runtime.errors import UserError
from seas_runtime.manifest.types import GOOD
from seas_runtime.outputs.checking import check_out
from seas_train.data import PhotographsConfig, Regions, load_product
from seas_train.data.layouts import find_product
from seas_train.data.published import as_published
from seas_train.settings import require


@dataclass(frozen=True)
class ImportRequest:
    """What `import-seas` is asked for."""

    generation: Path
    """The authors' `generation-checkpoint`."""
    mask: Path
    """The authors' `mask-checkpoint/rmp`."""
    base: str
    """What they were trained from: its VAE is theirs too."""
    product: str
    """Its folder's name in `data`."""
    data: Path | None
    """The folder of products; None for `data/`."""
    out: Path
    """The checkpoint folder to make."""
    photographs: PhotographsConfig
    """How the photographs are read; `defects` names the folders that were trained."""
    guidance: float | None = None
    """None for the authors'."""
    tau: float | None = None
    """None for the authors'."""
    keep_statistics: bool = False
    """Keep the head's stored statistics; otherwise they are measured anew on generated pairs."""
    preset: str | None = None
    """The published data set that the photographs are of, whatever their layout."""
    anomaly_tokens: int = 4
    """Of each defect, as many as were trained."""
    force: bool = False
    """Replace a checkpoint that is there."""
    allow_pickle: bool = False
    """Of the base; the authors' own files are pickles anyway."""


@dataclass(frozen=True)
class ImportResult:
    """What `import-seas` made: `tokens` are each defect's, in the order of training."""

    checkpoint: Path
    product: str
    base: str
    tokens: dict[str, tuple[str, ...]]
    references: int
    guidance: float
    tau: float
    spacing: str
    """Of the sampler's timesteps, as the scheduler's file says."""

    def to_text(self) -> str:
        """For a person: above all which defect has which tokens, as nothing else would tell a mistake."""
        lines = [
            f"{self.checkpoint}: {self.product}, trained by the authors' code on {self.base}; "
            f"{self.references} references, guidance {self.guidance:g}, tau {self.tau:g}, "
            f"timestep spacing {self.spacing}"
        ]
        lines += [f"  {name}: {' '.join(words)}" for name, words in self.tokens.items()]
        return "\n".join(lines)


def import_seas(request: ImportRequest, *, say: Callable[[str], None]) -> ImportResult:
    """Check everything, then write the checkpoint.

    Raises:
        UserError: a file, an option or the photographs are not usable, or something is in the way.
    """
    from seas_train.methods.seas.authors.generation import read_generation
    from seas_train.methods.seas.authors.importing import import_checkpoint

    directory = _photographs(request)
    _check_out(request, directory)
    say(f"read {request.generation}")
    generation = read_generation(request.generation, request.base, allow_pickle=request.allow_pickle)
    geometry = generation.models.geometry
    photographs = replace(request.photographs, regions=Regions.OFF)  # as the authors' code sees them
    named = photographs.defects
    if named is not None:  # names of what was trained; the photographs need not show it
        photographs = replace(photographs, shots=None, defects=None)
    product = load_product(
        directory,
        photographs,
        size=geometry.image_size,
        latent_factor=geometry.latent_factor,
        defects_needed=False,
    )
    product = as_published(product, request.preset)
    for line in product.report.warning_lines():
        say(line)
    if not request.keep_statistics:
        say("measure the mask head's statistics anew, on pairs that are generated for it")
    say(f"encode {len(product.normals)} normal photographs as references")
    made = import_checkpoint(
        generation,
        request.mask,
        product,
        request.out,
        defects=named,
        guidance=request.guidance,
        tau=request.tau,
        keep_statistics=request.keep_statistics,
        anomaly_tokens=request.anomaly_tokens,
    )
    tokens: dict[str, tuple[str, ...]] = {GOOD: made.prompts.product_tokens}
    tokens.update({defect: made.prompts.defect_tokens(defect) for defect in made.prompts.defects})
    return ImportResult(
        made.checkpoint,
        product.label,
        generation.models.name,
        tokens,
        made.references,
        made.guidance,
        made.tau,
        made.spacing,
    )


def _photographs(request: ImportRequest) -> Path:
    """The product's folder: generation starts from the latents of its normal photographs."""
    directory = find_product(request.data or DATA, request.product)
    if directory is None:
        raise UserError(
            f"--data: expected the photographs of {request.product} in {request.data or DATA}, "
            "found no such folder. "
            "Generation starts from the latents of normal photographs, which the authors' checkpoints do not "
            f"hold: give the folder that the product lies in, with {request.product}/train/good: --data ROOT"
        )
    return directory


def _check_out(request: ImportRequest, directory: Path) -> None:
    """Refuse numbers out of range, and to write over something unless asked to."""
    guidance, tau = request.guidance, request.tau
    require(guidance is None or 0 <= guidance <= 100, "--guidance", "0 to 100", guidance)
    require(tau is None or 0 < tau < 1, "--tau", "a number between 0 and 1", tau)
    from seas_train.checkpoint import CHECKPOINT

    tokens = request.anomaly_tokens
    require(1 <= tokens <= 64, "--anomaly-tokens", "1 to 64", tokens)
    inputs = {
        "--generation": request.generation,
        "--mask": request.mask,
        "--base": Path(request.base).expanduser(),
        "the photographs": directory,
    }
    advice = "expected nothing. Replace it with --force, or choose another"
    check_out(request.out, CHECKPOINT, "--out", force=request.force, advice=advice, inputs=inputs)

"""What a request may ask of AnomalyDiffusion, and which step's graph that needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from seas_runtime.errors import UserError
from seas_runtime.manifest.fields import describe
from seas_runtime.manifest.types import Manifest
from seas_runtime.methods.contract import Content, step_graph
from seas_runtime.methods.inpainting.options import InpaintingOptions
from seas_runtime.methods.request import Request, Sampling

AUTHORS, PAPER, OFF = "authors", "paper", "off"
REWEIGHTS = (AUTHORS, PAPER, OFF)
REWEIGHT = "reweight"
"""Key of the manifest's `generation`, and option."""
STEP_AUTHORS, STEP_PAPER = "step_reweighted", "step_reweighted_pixels"
"""Graphs that take a step with re-weighted attention, without guidance; `step` and `step_unguided` do not."""
_GRAPHS = {AUTHORS: STEP_AUTHORS, PAPER: STEP_PAPER}


@dataclass(frozen=True)
class AnomalyDiffusionOptions(InpaintingOptions):
    """None stands for the bundle's own. Raises UserError for a value that there is not."""

    reweight: str | None = None
    """Adaptive attention re-weighting: the `authors`' form, the `paper`'s, which decodes in every step, or
    `off`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.reweight is not None and self.reweight not in REWEIGHTS:
            raise UserError(
                f"{REWEIGHT}: expected one of {', '.join(REWEIGHTS)}, found {describe(self.reweight)}"
            )


def reweighting(manifest: Manifest, options: Any) -> str:
    """Return how attention is re-weighted: as the request says, else as the bundle."""
    asked = getattr(options, REWEIGHT, None)
    return str(manifest.generation.get(REWEIGHT, OFF) if asked is None else asked)


def choose_step(manifest: Manifest, sampling: Sampling, options: Any) -> str:
    """Return the graph that takes a step; re-weighted ones know no guidance."""
    graph = _GRAPHS.get(reweighting(manifest, options))
    if graph in manifest.graphs and sampling.guidance == 1:
        return str(graph)
    return step_graph(manifest, sampling, options)


def check_options(content: Content, request: Request) -> None:
    """Refuse re-weighting that is asked for beside guidance, which the method does not have with it."""
    asked = getattr(request.options, REWEIGHT, None)
    if asked in _GRAPHS and _GRAPHS[asked] not in content.manifest.graphs:
        raise UserError(
            f"{REWEIGHT}: expected a bundle with the graph {_GRAPHS[asked]!r}, found one without it; export "
            "the checkpoint again"
        )
    if asked in _GRAPHS and request.sampling.guidance != 1:
        raise UserError(
            f"{REWEIGHT}: steps with re-weighted attention have no guidance, found guidance "
            f"{request.sampling.guidance:g}; give guidance 1, or leave the re-weighting out"
        )

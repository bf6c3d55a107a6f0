"""The mask model: masks from an embedding a defect, by the same step's graph, of which all is drawn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from seas_runtime.errors import UserError
from seas_runtime.manifest.schedule import Array
from seas_runtime.methods.blending.inputs import BACKGROUND, BLEND_NOISE, MASK, pair_noises
from seas_runtime.methods.checks.seas_tables import EMBEDDINGS
from seas_runtime.methods.contract import Content, Inputs, MaskModel
from seas_runtime.methods.noise import Stream
from seas_runtime.methods.request import PairRequest, Sampling

MASK_EMBEDDINGS = "mask_embeddings"
"""The table of contexts [L, D] that masks are generated from."""
MASK_SCALE = "mask_scale"
"""Key of `generation`: pixels of the product's photographs to one of a generated mask's."""
SAMPLER, STEPS, GUIDANCE = "ddim_eta1", 100, 5.0
LEVEL = 0.8
"""A pixel is of the mask where the mean of its channels, 0 to 1, is over this."""
BORDER = 1 / 3
"""A mask is rejected where more than this share of a row or column at the border is set."""


def defects(content: Content) -> tuple[str, ...]:
    """Return the defects whose masks were learned."""
    learned = content.tables.get(MASK_EMBEDDINGS, {})
    return tuple(name for name in content.manifest.defects if name in learned)


def inputs(content: Content, pairs: Sequence[PairRequest], attempt: int) -> Inputs:
    """Return what masks are fed: noise everywhere, and their defect's context."""
    sampling, latent = pairs[0].request.sampling, content.manifest.latent
    schedule = content.schedule(sampling.sampler, sampling.steps)
    table, count = content.tables[MASK_EMBEDDINGS], len(pairs)
    noises = pair_noises(content, pairs, attempt)
    shape = (latent.channels, latent.height, latent.width)
    stream = Stream.OWN  # pairs of the same seed and index have noise of their own
    fresh = {
        step: np.stack([noise.normal(stream + 1, shape, step) for noise in noises])
        for step in schedule.noisy_steps
    }
    return Inputs(
        values={
            "latents": np.stack([noise.normal(stream, shape) for noise in noises]),
            "guidance": np.array([sampling.guidance]),
            "context": np.stack([table[pair.request.defect] for pair in pairs]),
            "negative_context": content.tables[EMBEDDINGS]["unconditional"][None],
            MASK: np.ones((count, 1, *shape[1:]), np.float32),
            BACKGROUND: np.zeros((count, *shape), np.float32),
        },
        steps={"noise": fresh, BLEND_NOISE: {}},
        origins=tuple({} for _ in pairs),
    )


def cut(picture: Array) -> tuple[npt.NDArray[np.bool_], str | None]:
    """Return a picture's mask, and why it is rejected: it is empty, or it runs along the border."""
    mask: npt.NDArray[np.bool_] = picture.mean(axis=-1) / 255 > LEVEL
    if not mask.any():
        return mask, "empty"
    edges = (mask[0], mask[-1], mask[:, 0], mask[:, -1])
    if max(float(edge.mean()) for edge in edges) > BORDER:
        return mask, "over a third of a border row is set"
    return mask, None


def scale(content: Content) -> float:
    """Return pixels of photographs to one of a mask's; UserError for a bundle that does not say."""
    found = content.manifest.generation.get(MASK_SCALE)
    if found is None:
        raise UserError(
            "masks: this bundle does not say how large its product's defects are in photographs; train it on "
            "photographs, and export it again"
        )
    return float(found)


MODEL = MaskModel(
    sampling=Sampling(sampler=SAMPLER, steps=STEPS, guidance=GUIDANCE),
    defects=defects,
    inputs=inputs,
    cut=cut,
    scale=scale,
)

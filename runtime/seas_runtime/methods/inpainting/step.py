"""What such methods' steps are fed, how their graphs look, and the masks, which are given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from seas_runtime.manifest.schedule import Array, FloatArray
from seas_runtime.manifest.signatures import Signature
from seas_runtime.manifest.types import STEP, UNCONDITIONAL, Manifest
from seas_runtime.methods.blending.inputs import (
    MASK,
    STRENGTH,
    covered_mask,
    fresh_noise,
    make_blend,
    pair_noises,
)
from seas_runtime.methods.checks.placing import step_signatures
from seas_runtime.methods.checks.seas_tables import EMBEDDINGS, REFERENCES
from seas_runtime.methods.contract import Beforehand, Content, Inputs, Masks, Readout
from seas_runtime.methods.noise import Stream
from seas_runtime.methods.request import PairRequest, Request

CARRIES = {"latents": "next_latents", "previous_x0": "x0"}


def signatures(manifest: Manifest) -> dict[str, tuple[Signature, Signature]]:
    """Return the inputs and outputs of a step that blends, with guidance and without, and of both codecs."""
    return step_signatures(manifest, blends=True)


def no_readouts(manifest: Manifest, options: Any = None) -> tuple[Readout, ...]:
    """Return that no graph is read beside the steps: masks are given."""
    return ()


def make_inputs(
    content: Content,
    pairs: Sequence[PairRequest],
    attempt: int,
    strength: float | None,
    values: Mapping[str, Array],
    beforehand: tuple[Beforehand, ...] = (),
) -> Inputs:
    """Return what pairs start from, noise in the cells that their masks cover, and what steps are fed.

    Args:
        content: the bundle.
        pairs: placed all, or none.
        attempt: counted from 0.
        strength: None for the bundle's.
        values: what the method feeds besides: contexts, or what they are made from.
        beforehand: what makes them.
    """
    sampling = pairs[0].request.sampling
    schedule = content.schedule(sampling.sampler, sampling.steps)
    noises = pair_noises(content, pairs, attempt)
    latent = content.manifest.latent
    shape = (latent.channels, latent.height, latent.width)
    blend = make_blend(content, pairs, noises, schedule, strength, covered_mask)
    fresh = fresh_noise(schedule, blend.rows, noises, shape)
    return Inputs(
        values={
            "latents": np.stack([noise.normal(Stream.START, shape) for noise in noises]),
            "guidance": np.array([sampling.guidance]),
            "negative_context": content.tables[EMBEDDINGS][UNCONDITIONAL][None],  # [1, L, D]
            **values,
            **blend.values,
        },
        steps={**({"noise": fresh} if _noisy(content.manifest) else {}), **blend.steps},
        origins=tuple({} for _ in pairs),
        images=blend.images,
        first_images=blend.first_images,
        schedule=blend.schedule,
        observed=pairs[0].observed,
        beforehand=beforehand,
    )


def defect_contexts(content: Content, pairs: Sequence[PairRequest]) -> Array:
    """Return each pair's context [B, L, D], by its defect."""
    embeddings = content.tables[EMBEDDINGS]
    return np.stack([embeddings[pair.request.defect] for pair in pairs])


def given_masks(
    content: Content, readings: Mapping[str, Sequence[Array]], given: Inputs, requests: Sequence[Request]
) -> Masks:
    """Return the masks that were drawn in, [B, H, W], from the latents' cells; nothing measured them."""
    masks = given.values[MASK] if MASK in given.values else _last(given.steps[MASK])
    image, cells = content.manifest.image, masks[:, 0] > 0
    sides = image.height // cells.shape[1], image.width // cells.shape[2]
    return Masks(cells.repeat(sides[0], axis=1).repeat(sides[1], axis=2), None)


def clean(content: Content, place: int) -> FloatArray:
    """Return a normal image's latents, scaled."""
    pool = content.tables[REFERENCES]["latents"]
    scaled: FloatArray = pool[place % len(pool)][None] * np.float32(content.manifest.latent.scaling_factor)
    return scaled


def describe_shared(content: Content) -> dict[str, tuple[Any, str]]:
    """Return what all these methods say of a bundle."""
    found: dict[str, tuple[Any, str]] = {
        "references": (len(content.tables[REFERENCES]["latents"]), "number of normal images in latents"),
        "masks": ("given", "masks are"),
    }
    if STRENGTH in content.manifest.generation:
        part = content.manifest.generation[STRENGTH]
        found[STRENGTH] = (part, "part of the steps that placed pairs are run")
    return found


def _noisy(manifest: Manifest) -> bool:
    return manifest.graphs[STEP].input("noise") is not None


def _last(steps: Mapping[int, Array]) -> Array:
    """The mask of the last step: at a strength below 1 the first one has none."""
    return steps[max(steps)]

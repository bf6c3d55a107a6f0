"""SeaS at the edge: start from the noised latent of a normal image, average the last steps' masks.

Sections are those of arXiv 2410.14987.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from seas_runtime.manifest.fields import Fields
from seas_runtime.manifest.schedule import Array, FloatArray
from seas_runtime.manifest.signatures import FLOAT, FLOATS, Expected, Signature
from seas_runtime.manifest.types import (
    DECODE_IMAGE,
    DECODE_MASK,
    ENCODE_IMAGE,
    STEP,
    TOKENIZER,
    UNCONDITIONAL,
    Manifest,
    SamplerDefaults,
)
from seas_runtime.methods.blending.inputs import (
    BLEND,
    BLENDED,
    STRENGTH,
    fresh_noise,
    make_blend,
    pair_noises,
)
from seas_runtime.methods.checks.placing import check_placing, step_signatures
from seas_runtime.methods.checks.seas_tables import EMBEDDINGS as EMBEDDINGS
from seas_runtime.methods.checks.seas_tables import REFERENCES as REFERENCES
from seas_runtime.methods.checks.seas_tables import check_tables
from seas_runtime.methods.contract import Content, Inputs, Masks, Method, Readout
from seas_runtime.methods.noise import PairNoise, Stream
from seas_runtime.methods.placed.bounds import GATES
from seas_runtime.methods.placed.score import FEATURES
from seas_runtime.methods.request import PairRequest, Request
from seas_runtime.methods.seas_options import MASK_STEPS as MASK_STEPS
from seas_runtime.methods.seas_options import RESCALE, SeasOptions, check_options
from seas_runtime.placement.masks.shapes import TABLE as PLACEMENT
from seas_runtime.placement.morphology import BoolArray, without_specks

GRAPHS = (STEP, DECODE_MASK, DECODE_IMAGE)
START_TIMESTEPS = 1500
"""The schedule is stretched to this many steps for the start alone (authors' inference)."""
ADD_NOISE_STEP, MAX_ADD_NOISE_STEP = "add_noise_step", 100_000
"""The steps that the schedule was stretched to for the start, where they are not the authors' 1500."""
SCALED, IN_ORDER, ABOVE, X0 = "scaled", "in_order", "above", "x0"
RULES = {"references": SCALED, "start": IN_ORDER, "threshold": ABOVE, "decoded": X0}
"""Keys of the section `generation` that a bundle has where it leaves our rules, each with its only value:
the references are scaled already; pairs start from the first references in their order, as in the authors'
code; a pixel is defective above tau, not at tau; masks are read of a step's x0, not of what the U-Net saw."""
SPECK, MOST_SPECK = "speck", 1 << 20
"""Connected parts of a mask of fewer pixels are no defect."""
FIRST_REFERENCES = 10
"""With `start`: how many of the references are used (authors' inference)."""
_WORDS = {
    RESCALE: "guidance rescale",
    ADD_NOISE_STEP: "steps of the schedule stretched for the start",
    STRENGTH: "part of the steps that placed pairs are run",
    SPECK: "pixels of a mask's smallest part",
}
"""Keys of `generation` that a bundle may have, and what they are."""


def signatures(manifest: Manifest) -> dict[str, tuple[Signature, Signature]]:
    """Return the inputs and outputs of a step, with guidance and without, of both decodes and of encoding.

    A bundle that says how it blends has steps that do; those of earlier versions do not.
    """
    latent, image = manifest.latent, manifest.image
    latents = Expected(FLOAT, (None, latent.channels, latent.height, latent.width))
    tap = Expected(FLOATS, (None, None, None, None))
    shared = step_signatures(manifest, blends=BLEND in manifest.generation)
    guided, stepped = shared[STEP]
    return {
        **shared,
        STEP: ({**guided, RESCALE: Expected(FLOAT, (1,), optional=True)}, stepped),
        DECODE_MASK: (
            {"latents": latents, "tap_coarse": tap, "tap_fine": tap},
            {"probability": Expected(FLOAT, (None, image.height, image.width))},
        ),
    }


def check_generation(fields: Fields, sampler: SamplerDefaults) -> None:
    """Refuse a section that has not the number of masked steps and the threshold."""
    fields.integer("mask_steps", 1, sampler.steps)
    fields.number("tau", 0.0, 1.0)
    for key, value in RULES.items():
        if fields.has(key):
            fields.choice(key, (value,))
    if fields.has(RESCALE):
        fields.number(RESCALE, 0.0, 1.0)
    if fields.has(SPECK):
        fields.integer(SPECK, 1, MOST_SPECK)
    if fields.has(ADD_NOISE_STEP):
        fields.integer(ADD_NOISE_STEP, 1, MAX_ADD_NOISE_STEP)
    check_placing(fields)
    fields.close()


def follows(generation: Mapping[str, Any], key: str) -> bool:
    """Whether a section `generation`, a bundle's or a checkpoint's, has the other rule of `RULES[key]`."""
    return generation.get(key) == RULES[key]


def choose_reference(generation: Mapping[str, Any], noise: PairNoise, index: int, count: int) -> int:
    """Return which of `count` references the pair of that index starts from."""
    if follows(generation, "start"):
        return index % min(count, FIRST_REFERENCES)
    return noise.choice(Stream.REFERENCE, count)


def defective(generation: Mapping[str, Any], probability: FloatArray, tau: float) -> BoolArray:
    """Return where the mean probability [H, W] is at least tau, or above it, by the bundle's rule; parts that
    are smaller than its speck are left out."""
    level = np.float32(tau)
    mask = probability > level if follows(generation, "threshold") else probability >= level
    return without_specks(mask, int(generation.get(SPECK, 0)))


def readouts(manifest: Manifest, options: SeasOptions | None = None) -> tuple[Readout, ...]:
    """Return that the last steps' masks are read (section 3.4: three), of what the U-Net saw."""
    generation = manifest.generation
    sources = {"latents": BLENDED} if BLEND in generation else {}
    if follows(generation, "decoded"):
        sources = {"latents": X0}
    count = (options or SeasOptions()).masked(generation)
    return (Readout(DECODE_MASK, "probability", count, sources),)


def inputs(content: Content, pairs: Sequence[PairRequest], attempt: int) -> Inputs:
    """Return what pairs start from: the latent of a normal image as it is stored, noised (section 3.4).

    With the option, they start from noise alone instead. Placed pairs start so inside their masks, or, at a
    strength below 1, from their background, noised as far as the first of the steps that are left has it.
    """
    sampling, options = pairs[0].request.sampling, pairs[0].request.options or SeasOptions()
    schedule = content.schedule(sampling.sampler, sampling.steps)
    pool, embeddings = content.tables[REFERENCES]["latents"], content.tables[EMBEDDINGS]
    noises = pair_noises(content, pairs, attempt)
    shape = pool.shape[1:]
    drawn = np.stack([noise.normal(Stream.START, shape) for noise in noises])
    chosen: list[int | None] = [None] * len(noises)
    latents = drawn
    if options.start != "noise":
        places = [
            choose_reference(content.manifest.generation, noise, pair.index, len(pool))
            for pair, noise in zip(pairs, noises, strict=True)
        ]
        chosen, latents = list(places), schedule.start_latents(pool[places], drawn)
    prompt = options.negative_prompt
    negative = embeddings[UNCONDITIONAL] if prompt is None else content.contexts[prompt]
    blend = make_blend(content, pairs, noises, schedule, options.strength)
    fresh = fresh_noise(schedule, blend.rows, noises, shape)
    return Inputs(
        values={
            "latents": latents,  # [B, C, h, w]
            "guidance": np.array([sampling.guidance]),
            RESCALE: np.array([options.rescale(content.manifest.generation)]),
            "context": np.stack([_context(content, options, pair) for pair in pairs]),  # [B, L, D]
            "negative_context": negative[None],  # [1, L, D]
            **blend.values,
        },
        steps={"noise": fresh, **blend.steps},
        origins=tuple({"reference": place} for place in chosen),
        images=blend.images,
        first_images=blend.first_images,
        schedule=blend.schedule,
        observed=pairs[0].observed,
    )


def _context(content: Content, options: SeasOptions, pair: PairRequest) -> Array:
    """Return the context of the prompt: one's own, or the defect's."""
    if options.prompt is not None:
        return content.contexts[options.prompt]
    return content.tables[EMBEDDINGS][pair.request.defect]


def masks(
    content: Content, readings: Mapping[str, Sequence[Array]], given: Inputs, requests: Sequence[Request]
) -> Masks:
    """Return the mean of the last steps' probabilities, cut at each request's tau (section 3.4)."""
    probabilities = np.asarray(np.mean(readings[DECODE_MASK], axis=0, dtype=np.float32))
    thresholds = np.array([request.sampling.tau for request in requests], np.float32)
    cut = [
        defective(content.manifest.generation, probability, float(threshold))
        for probability, threshold in zip(probabilities, thresholds, strict=True)
    ]
    return Masks(np.stack(cut), probabilities)


def clean(content: Content, place: int) -> FloatArray:
    """Return a normal image's latents, scaled."""
    pool = content.tables[REFERENCES]["latents"]
    reference: FloatArray = pool[place % len(pool)][None]
    if follows(content.manifest.generation, "references"):
        return reference
    scaled: FloatArray = reference * np.float32(content.manifest.latent.scaling_factor)
    return scaled


def describe(content: Content) -> dict[str, tuple[Any, str]]:
    """Return how many normal images there are to start from, and what a mask is made of."""
    generation = content.manifest.generation
    return {
        "references": (len(content.tables[REFERENCES]["latents"]), "number of normal images to start from"),
        "mask_steps": (generation["mask_steps"], "number of last steps whose masks are averaged"),
        "tau": (generation["tau"], "mask threshold"),
        **{key: (generation[key], words) for key, words in _WORDS.items() if key in generation},
        "own_prompts": (TOKENIZER in content.tables, "prompts of one's own can be encoded"),
        "gates_measured": (
            bool(generation.get(GATES)),
            "gates of placed pairs were measured on real defects",
        ),
        "scored": (FEATURES in content.tables, "placed pairs are scored by the features of real defects"),
    }


METHOD = Method(
    name="seas",
    graphs=GRAPHS,
    tables=(EMBEDDINGS, REFERENCES),
    carries={"latents": "next_latents", "previous_x0": "x0"},
    signatures=signatures,
    check_generation=check_generation,
    check_tables=check_tables,
    readouts=readouts,
    inputs=inputs,
    masks=masks,
    clean=clean,
    describe=describe,
    options=SeasOptions,
    optional_tables=(TOKENIZER, FEATURES, PLACEMENT),
    optional_graphs=(ENCODE_IMAGE,),
    prompts=lambda options: options.prompts,
    free_names=lambda options: getattr(options, "prompt", None) is not None,
    check_options=check_options,
)

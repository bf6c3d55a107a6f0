"""A second method for the runtime: it blends into a background, and its masks are given.

Everything that SeaS has not: fresh noise in every step, a context per pair and step, a table [steps, L, D],
options, and no graph for the mask.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from seas_runtime.errors import UserError
from seas_runtime.manifest.fields import Fields
from seas_runtime.manifest.schedule import Array, FloatArray
from seas_runtime.manifest.signatures import FLOAT, FLOATS, Expected, Signature
from seas_runtime.manifest.types import DECODE_IMAGE, STEP, Manifest, SamplerDefaults
from seas_runtime.methods.contract import Content, Inputs, Masks, Method, Readout, Tables
from seas_runtime.methods.noise import PairNoise, Stream
from seas_runtime.methods.request import PairRequest, Request


@dataclass(frozen=True)
class ToyOptions:
    """How large the square is that is drawn into, a fraction of the side."""

    side: float = 0.5


def signatures(manifest: Manifest) -> dict[str, tuple[Signature, Signature]]:
    latent, image = manifest.latent, manifest.image
    latents = Expected(FLOAT, (None, latent.channels, latent.height, latent.width))
    step = {
        "latents": latents,
        "previous_x0": latents,
        "schedule": Expected(FLOAT, (None, 10)),
        "step_index": Expected(("int64",), (1,)),
        "contexts": Expected(FLOATS, (None, None, None, None)),
        "offsets": Expected(FLOATS, (None, None, None)),
        "background": latents,
        "mask": Expected(FLOAT, (None, 1, latent.height, latent.width)),
        "noise": latents,
    }
    pixels = Expected(("uint8",), (None, image.height, image.width, 3))
    return {
        STEP: (step, {"next_latents": latents, "x0": latents}),
        DECODE_IMAGE: ({"latents": latents}, {"image": pixels}),
    }


def check_generation(fields: Fields, sampler: SamplerDefaults) -> None:
    fields.number("offset", 0.0, 1.0)
    fields.close()


def check_tables(manifest: Manifest, tables: Tables, files: Mapping[str, str]) -> None:
    if "latents" not in tables["backgrounds"]:
        raise UserError(f"{files['backgrounds']}: no tensor 'latents'")


def readouts(manifest: Manifest, options: object = None) -> tuple[Readout, ...]:
    return ()


def inputs(content: Content, pairs: Sequence[PairRequest], attempt: int) -> Inputs:
    request = pairs[0].request
    schedule = content.schedule(request.sampling.sampler, request.sampling.steps)
    pool, contexts = content.tables["backgrounds"]["latents"], content.tables["contexts"]
    shape = pool.shape[1:]
    noises = [
        PairNoise(pair.request.seed, pair.index, attempt, pair.request.defect, content.manifest.schema)
        for pair in pairs
    ]
    chosen = [noise.choice(Stream.REFERENCE, len(pool)) for noise in noises]
    mask = np.zeros((len(pairs), 1, *shape[1:]), np.float32)
    side = round(request.options.side * shape[1])
    mask[:, :, :side, :side] = 1
    ramp = np.linspace(0, 1, schedule.steps, dtype=np.float32)[:, None, None]
    offset = content.manifest.generation["offset"]
    words = np.stack([contexts[pair.request.defect] for pair in pairs])  # [B, L, D]
    return Inputs(
        values={
            "latents": np.stack([noise.normal(Stream.START, shape) for noise in noises]),
            "background": pool[chosen],
            "mask": mask,
            "contexts": (1 - 0.1 * ramp)[..., None] * words[None],  # [steps, B, L, D]
            "offsets": np.float32(offset) * ramp * np.ones(words.shape[1:], np.float32),  # [steps, L, D]
        },
        steps={
            "noise": {
                step: np.stack([noise.normal(Stream.BLEND, shape, step) for noise in noises])
                for step in range(schedule.steps)
            }
        },
        origins=tuple({"background": place} for place in chosen),
    )


def masks(
    content: Content, readings: Mapping[str, Sequence[Array]], given: Inputs, requests: Sequence[Request]
) -> Masks:
    small = given.values["mask"][:, 0] > 0
    factor = content.manifest.image.height // small.shape[1]
    return Masks(small.repeat(factor, axis=1).repeat(factor, axis=2), None)


def clean(content: Content, place: int) -> FloatArray:
    pool = content.tables["backgrounds"]["latents"]
    background: FloatArray = pool[place % len(pool)][None]
    return background


def describe(content: Content) -> dict[str, tuple[object, str]]:
    count = len(content.tables["backgrounds"]["latents"])
    return {"backgrounds": (count, "number of backgrounds to draw into")}


METHOD = Method(
    name="toy",
    graphs=(STEP, DECODE_IMAGE),
    tables=("contexts", "backgrounds"),
    carries={"latents": "next_latents", "previous_x0": "x0"},
    signatures=signatures,
    check_generation=check_generation,
    check_tables=check_tables,
    readouts=readouts,
    inputs=inputs,
    masks=masks,
    clean=clean,
    describe=describe,
    options=ToyOptions,
)

"""Inputs for a bundle's graphs to be measured on: what generation feeds them, and what lies beyond that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from seas_engines.precision.evaluator import Case
from seas_runtime.bundle.reading import Bundle
from seas_runtime.manifest.schedule import Array, FloatArray, Schedule
from seas_runtime.manifest.types import DECODE_IMAGE, DECODE_MASK, GraphSpec

_SEED = 0
_EXTREME_SCALE = 3.0
"""Latents this many times their size: past four standard deviations of a pixel in ten thousand."""
_EXTREME_GUIDANCE = 30.0


def step_cases(bundle: Bundle, graph: GraphSpec) -> list[Case]:
    """Return inputs of a step graph: the first, a middle and the last step, of a defect and of normals.

    The latents are what the schedule says that they are: a reference, at the step's noise level. The last
    two cases are extreme: the first and the last step with latents three times as large and strong guidance.
    Early in a schedule x0 is what is left of large latents less noise as large, which magnifies any rounding
    just as it will be made small again: differences in it are held against those latents.
    """
    schedule = bundle.schedule()
    prompts = [bundle.manifest.defects[0], "good", bundle.manifest.defects[-1]]
    steps = [0, schedule.steps // 2, schedule.steps - 1]
    cases = [
        _step_case(
            f"step {step}, {prompt}",
            schedule,
            step,
            _step_feeds(bundle, graph, schedule, step, prompt, place),
        )
        for place, (step, prompt) in enumerate(zip(steps, prompts, strict=True))
    ]
    for place in (0, -1):
        feeds = dict(cases[place].feeds)
        feeds["latents"] = feeds["latents"] * np.float32(_EXTREME_SCALE)
        if "guidance" in feeds:
            feeds["guidance"] = np.array([_EXTREME_GUIDANCE], np.float32)
        name = f"step {steps[place]}, extreme"
        cases.append(_step_case(name, schedule, steps[place], feeds, extreme=True))
    return cases


def decode_cases(bundle: Bundle, graph: str, taps: Sequence[Mapping[str, Array]]) -> list[Case]:
    """Return inputs of a decode graph: a reference's latents and, for the mask, the taps of real steps.

    `taps` are outputs of the step graph for cases of `step_cases`, in their order.
    """
    clean = bundle.references[:1] * np.float32(bundle.manifest.latent.scaling_factor)
    spec = bundle.manifest.graphs[graph]
    names = [tensor.name for tensor in spec.inputs if tensor.name.startswith("tap_")]

    def feeds(latents: FloatArray, made: Mapping[str, Array]) -> dict[str, Array]:
        chosen = {name: made[name] for name in names}
        return {"latents": np.ascontiguousarray(latents, np.float32), **chosen}

    if graph == DECODE_IMAGE:
        return [
            Case("clean latents", feeds(clean, {})),
            Case("extreme latents", feeds(clean * _EXTREME_SCALE, {}), extreme=True),
        ]
    assert graph == DECODE_MASK
    return [
        Case("last step", feeds(clean, taps[2])),
        Case("first step", feeds(clean, taps[0])),
        Case("extreme latents", feeds(clean * _EXTREME_SCALE, taps[-1]), extreme=True),
    ]


def _step_case(
    name: str, schedule: Schedule, step: int, feeds: Mapping[str, Array], *, extreme: bool = False
) -> Case:
    latents, scale = feeds["latents"], float(schedule.table[step, 2])  # x0 = p x + q e
    return Case(name, feeds, extreme, {"x0": scale * float(latents.max() - latents.min())})


def _step_feeds(
    bundle: Bundle, graph: GraphSpec, schedule: Schedule, step: int, prompt: str, place: int
) -> dict[str, Array]:
    references = bundle.references
    reference = references[place % len(references)][None]
    noise = np.random.Generator(np.random.Philox([_SEED, place])).standard_normal(reference.shape)
    noise = noise.astype(np.float32)
    clean = (reference * np.float32(bundle.manifest.latent.scaling_factor)).astype(np.float32)
    _, _, p, q, *_ = schedule.table[step]
    if step == 0:
        latents = schedule.start_latents(reference, noise)
    else:  # x0 = p x + q e, so x = (x0 - q e) / p
        latents = ((clean - q * noise) / p).astype(np.float32)
    embeddings = bundle.embeddings
    arrays = {
        "latents": latents,
        "previous_x0": clean,
        "schedule": schedule.table,
        "step_index": np.array([step]),
        "guidance": np.array([bundle.manifest.sampler.guidance]),
        "context": embeddings[prompt][None],
        "negative_context": embeddings["unconditional"][None],
        "noise": noise,
    }
    return {spec.name: np.ascontiguousarray(arrays[spec.name], dtype=spec.dtype) for spec in graph.inputs}

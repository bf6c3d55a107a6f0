"""Inputs for a bundle's graphs to be measured on: what generation feeds them, and what lies beyond that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from seas_engines.precision.evaluator import Case
from seas_runtime.bundle.reading import Bundle
from seas_runtime.generation.resolve import resolve
from seas_runtime.manifest.schedule import Array, Schedule
from seas_runtime.manifest.types import ENCODE_IMAGE, GraphSpec
from seas_runtime.methods.request import PairRequest, PlacedInputs, Request
from seas_runtime.methods.table import find_method

_SEED = 0
_EXTREME_SCALE = 3.0
"""Latents this many times their size: past four standard deviations of a pixel in ten thousand."""
_EXTREME_GUIDANCE = 30.0
_LAST, _FIRST, _EXTREME = 2, 0, -1
"""Of `step_cases`: the last step, the first, and the last with extreme latents."""
_PLACED = 1
"""Of `step_cases`, the one that is drawn into a background."""


def step_cases(bundle: Bundle, graph: GraphSpec) -> list[Case]:
    """Return inputs of a step graph: the first, a middle and the last step, of a defect and of normals.

    The latents are what the schedule says that they are: a real image's, at the step's noise level; in the
    middle, half of the picture is drawn into a background, where the bundle does that. The last two cases are
    extreme: the first and the last step with latents three times as large and strong guidance. Early in a
    schedule x0 is a small difference of large numbers, so that its error is measured against the latents'
    range.
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


def reading_cases(
    bundle: Bundle, graph: str, cases: Sequence[Case], made: Sequence[Mapping[str, Array]]
) -> list[Case]:
    """Return inputs of a graph that reads latents, and what steps were given and gave.

    `cases` are `step_cases`, `made` the step graph's outputs for them; both may be empty for a graph that
    reads latents alone.
    """
    spec = bundle.manifest.graphs[graph]
    clean = find_method(bundle.manifest.method).clean(bundle, 0)

    def feeds(scale: float, place: int) -> dict[str, Array]:
        known = {**cases[place].feeds, **made[place]} if cases else {}
        known["latents"] = clean * np.float32(scale)
        return {item.name: np.ascontiguousarray(known[item.name], dtype=item.dtype) for item in spec.inputs}

    found = [Case("last step", feeds(1, _LAST))]
    if cases:
        found.append(Case("first step", feeds(1, _FIRST)))
    return [*found, Case("extreme latents", feeds(_EXTREME_SCALE, _EXTREME), extreme=True)]


def beforehand_cases(bundle: Bundle, spec: GraphSpec) -> list[Case]:
    """Return inputs of a graph that is run before the steps: those of a defect's pair."""
    request = resolve(Request(bundle.manifest.defects[0], _SEED), bundle)
    image = bundle.manifest.image
    mask = np.zeros((image.height, image.width), np.bool_)
    mask[: image.height // 2] = True
    placed = PlacedInputs(np.zeros((*mask.shape, 3), np.uint8), mask)
    given = find_method(bundle.manifest.method).inputs(bundle, [PairRequest(request, 0, placed)], 0)
    feeds = {
        item.name: np.ascontiguousarray(given.values[item.name], dtype=item.dtype) for item in spec.inputs
    }
    return [Case("a pair", feeds)]


def picture_cases(spec: GraphSpec, picture: Array) -> list[Case]:
    """Return inputs of a graph that reads pictures: one of the product, [1, H, W, 3], and noise."""
    noise = np.random.Generator(np.random.Philox(_SEED)).integers(0, 256, picture.shape, np.uint8)
    name = spec.inputs[0].name
    return [Case("a picture", {name: picture}), Case("noise", {name: noise}, extreme=True)]


def _step_case(
    name: str, schedule: Schedule, step: int, feeds: Mapping[str, Array], *, extreme: bool = False
) -> Case:
    latents, scale = feeds["latents"], float(schedule.table[step, 2])  # x0 = p x + q e
    return Case(name, feeds, extreme, {"x0": scale * float(latents.max() - latents.min())})


def _step_feeds(
    bundle: Bundle, graph: GraphSpec, schedule: Schedule, step: int, prompt: str, place: int
) -> dict[str, Array]:
    method = find_method(bundle.manifest.method)
    request = resolve(Request(prompt, _SEED), bundle)
    placed = None
    if place == _PLACED and ENCODE_IMAGE in bundle.manifest.graphs:
        image = bundle.manifest.image
        mask = np.zeros((image.height, image.width), np.bool_)
        mask[: image.height // 2] = True
        placed = PlacedInputs(np.zeros((*mask.shape, 3), np.uint8), mask)  # its latents are given below
    given = method.inputs(bundle, [PairRequest(request, place, placed)], 0)
    clean = method.clean(bundle, place)
    noise = np.random.Generator(np.random.Philox([_SEED, place])).standard_normal(clean.shape)
    noise = noise.astype(np.float32)
    _, _, p, q, *_ = schedule.table[step]
    if p < 1:  # the model predicts v: x0 = signal x - spread v
        p, q = 1 / p, q / p
    arrays: dict[str, Array] = {
        **{name: clean for name in method.carries},
        **{name: arrays.get(step, noise) for name, arrays in given.steps.items()},
        **{name: clean for name in given.images},
        **given.values,
        "schedule": schedule.table,
        "step_index": np.array([step]),
    }
    if step > 0:  # x0 = p x + q e, so x = (x0 - q e) / p
        arrays["latents"] = ((clean - q * noise) / p).astype(np.float32)
    return {spec.name: np.ascontiguousarray(arrays[spec.name], dtype=spec.dtype) for spec in graph.inputs}

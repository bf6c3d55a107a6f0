"""A batch's inputs and what it gives: cut into parts, and put together again."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from seas_runtime.manifest.schedule import Array
from seas_runtime.manifest.types import BATCH, TensorSpec
from seas_runtime.methods.contract import Inputs


@dataclass(frozen=True, eq=False)
class Output:
    """What a batch gave."""

    images: Array  # [B, H, W, 3]
    latents: Array  # [B, C, h, w], final
    readings: Mapping[str, list[Array]]
    """By graph that was read: an array [B, ...] a step."""
    observed: Mapping[str, Array]
    """By output of the step graph: what the last step gave, [B, ...]."""
    seconds: Mapping[str, float]
    """Of the whole batch, by what was run."""
    rebuilt: Mapping[str, Array] = field(default_factory=dict)
    """Of each input that was fed encoded pictures: what these are decoded to, [B, H, W, 3]."""


def joined(parts: Sequence[Output]) -> Output:
    """Return what several runs gave as one batch's."""
    if len(parts) == 1:
        return parts[0]
    readings = {}
    for graph in parts[0].readings:
        steps = zip(*(part.readings[graph] for part in parts), strict=True)
        readings[graph] = [np.concatenate(arrays) for arrays in steps]
    return Output(
        np.concatenate([part.images for part in parts]),
        np.concatenate([part.latents for part in parts]),
        readings,
        {name: np.concatenate([part.observed[name] for part in parts]) for name in parts[0].observed},
        {name: sum(part.seconds[name] for part in parts) for name in parts[0].seconds},
        {name: np.concatenate([part.rebuilt[name] for part in parts]) for name in parts[0].rebuilt},
    )


def part_of(inputs: Inputs, specs: Iterable[TensorSpec], first: int, end: int) -> Inputs:
    """Return the inputs of the pairs from `first` to before `end`, cut along each input's batch dimension."""
    axes = {spec.name: spec.shape.index(BATCH) for spec in specs if BATCH in spec.shape}

    def cut(name: str, array: Array) -> Array:
        if name not in axes:
            return array
        result: Array = array[(slice(None),) * axes[name] + (slice(first, end),)]
        return result

    return replace(
        inputs,
        values={name: cut(name, array) for name, array in inputs.values.items()},
        steps={
            name: {step: cut(name, array) for step, array in arrays.items()}
            for name, arrays in inputs.steps.items()
        },
        origins=inputs.origins[first:end],
        images={name: array[first:end] for name, array in inputs.images.items()},
        first_images={name: array[first:end] for name, array in inputs.first_images.items()},
    )


def layout(inputs: Inputs) -> tuple[Hashable, ...]:
    """Return what of its inputs, beside graph and schedule, a plan is made for."""
    steps = None if inputs.schedule is None else inputs.schedule.steps
    given = tuple((name, tuple(arrays)) for name, arrays in inputs.steps.items())
    return (
        len(inputs.origins),
        steps,
        given,
        tuple(inputs.images),
        tuple(inputs.first_images),
        inputs.observed,
        inputs.beforehand,
    )


def named(specs: Iterable[TensorSpec], name: str) -> TensorSpec:
    """Return the tensor of that name."""
    return next(spec for spec in specs if spec.name == name)

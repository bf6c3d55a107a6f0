"""The sample product's three defects, each a layer over a drawn bottle: colour and opacity at every pixel.

The opacity that draws a defect is also its mask, so the mask is exact by construction. Sizes are of the order
that MVTec AD's `bottle` has them (shares of the picture, three of its masks each: broken_large 13 to 16 %,
broken_small 2 to 8 %, contamination 3 to 15 %); clumps at the smaller end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from seas_train.render.finish import Field, ImageArray, over
from seas_train.render.light import bevel
from seas_train.render.profile import bump, ramp, smooth_step, turn
from seas_train.render.shapes import Grid, capsule, circle, polar, rotate
from seas_train.sample.bottle import Bottle, rgb

GAP = rgb(0.020, 0.020, 0.026)
FRACTURE_GREY = rgb(0.640, 0.670, 0.670)
FRACTURE_PALE = rgb(0.840, 0.860, 0.850)
FRACTURE_WHITE = rgb(0.995, 0.995, 0.975)
CLUMP_DARK = rgb(0.460, 0.240, 0.200)
CLUMP_MID = rgb(0.850, 0.520, 0.450)
CLUMP_PALE = rgb(0.970, 0.860, 0.820)

# Width of a defect's own edge, half-sides: sharper than glass, but not an aliased step.
_EDGE = 0.012


@dataclass(frozen=True)
class Layer:
    """A defect's layer over a bottle: `colour` `[H, W, 3]` and `opacity` `[H, W]`, float32, 0..1."""

    colour: ImageArray
    opacity: Field


def draw_broken_large(bottle: Bottle, grid: Grid, rng: np.random.Generator) -> Layer:
    """A piece of rim and neck broken out over 150 to 240 degrees: white facets outside, a dark gap inside."""
    span = np.deg2rad(rng.uniform(150, 240))
    inner, outer = 1.03 * bottle.well, bottle.rim + 0.115
    return _draw_fracture(bottle, grid, rng, span, (inner, outer), facet=np.deg2rad(18), gap=0.42)


def draw_broken_small(bottle: Bottle, grid: Grid, rng: np.random.Generator) -> Layer:
    """A chip out of the rim over 45 to 70 degrees: a few white facets outlined dark, no gap."""
    span = np.deg2rad(rng.uniform(45, 70))
    inner, outer = bottle.rim - 0.180, bottle.rim + 0.140
    return _draw_fracture(bottle, grid, rng, span, (inner, outer), facet=np.deg2rad(13), gap=0.0)


def draw_contamination(bottle: Bottle, grid: Grid, rng: np.random.Generator) -> Layer:
    """A pale reddish clump with a thick fibre and a crumb, lying in the well and never reaching the glass."""
    reach = float(
        np.sqrt(rng.uniform(0.025, 0.055) * 4 / np.pi)
    )  # a disc of that share of the frame's area, 4
    limit = 0.93 * bottle.well
    place, direction = rng.uniform(0, max(limit - 1.30 * reach, 0.0)), rng.uniform(0, 2 * np.pi)
    centre = _away(bottle.centre, place, direction)
    distance = _draw_clump(grid, centre, reach, rng)

    # Fibre and crumb lie on the well's wider side, so that they fit inside it.
    side = rng.choice((-1.0, 1.0))
    heading = direction + side * rng.uniform(1.6, 2.6)
    length = min(rng.uniform(1.5, 1.9) * reach, 0.95 * float(np.sqrt(limit**2 - place**2)))
    along, across = rotate(grid, heading, centre)
    bend = np.float32(rng.uniform(0.8, 1.8) * rng.choice((-1.0, 1.0)))
    fibre = capsule((along - np.float32(length / 2), across - bend * along**2), length / 2, 0.038)
    crumb_centre = _away(centre, rng.uniform(1.25, 1.45) * reach, direction - side * rng.uniform(2.0, 2.8))
    crumb = circle(grid, rng.uniform(0.045, 0.065), crumb_centre)
    distance = np.minimum(distance, np.minimum(fibre, crumb))
    distance = np.maximum(distance, circle(grid, limit, bottle.centre))

    shade = np.clip(0.66 + 0.45 * bevel(distance, bottle.lamp, 0.09), 0, 1)
    colour = ramp(CLUMP_DARK, CLUMP_MID, CLUMP_PALE, shade)
    return Layer(colour=colour, opacity=smooth_step(-distance, 0.0, _EDGE))


DRAW: Mapping[str, Callable[[Bottle, Grid, np.random.Generator], Layer]] = MappingProxyType(
    {
        "broken_large": draw_broken_large,
        "broken_small": draw_broken_small,
        "contamination": draw_contamination,
    }
)


def _away(point: tuple[float, float], by: float, towards: float) -> tuple[float, float]:
    """The point `by` half-sides from `point` in the direction `towards`, radians."""
    return point[0] + by * float(np.cos(towards)), point[1] + by * float(np.sin(towards))


def _draw_clump(grid: Grid, centre: tuple[float, float], reach: float, rng: np.random.Generator) -> Field:
    """About the signed distance to four balls grown together within `reach` of `centre`, lumpy all round."""
    field = np.zeros_like(grid[0])
    first = rng.uniform(0, 2 * np.pi)
    for ball in range(4):
        around = first + ball * np.pi / 2 + rng.uniform(-0.5, 0.5)
        middle = _away(centre, reach * rng.uniform(0.25, 0.80), around)
        radius = reach * rng.uniform(0.32, 0.50)
        field += np.float32(radius**2) / (polar(grid, middle)[0] ** 2 + np.float32(0.15 * radius**2))
    angle = polar(grid, centre)[1]
    for waves in (3, 5, 8):
        phase, depth = np.float32(rng.uniform(0, 2 * np.pi)), np.float32(rng.uniform(0.06, 0.13))
        field *= 1 + depth * np.sin(waves * angle + phase)
    return np.asarray(np.float32(reach) * (1 - field) / (1 + field), dtype=np.float32)


def _draw_fracture(
    bottle: Bottle,
    grid: Grid,
    rng: np.random.Generator,
    span: float,
    radii: tuple[float, float],
    *,
    facet: float,
    gap: float,
) -> Layer:
    """A jagged sector of the ring, `span` radians long, filled with facets about `facet` radians wide.

    `gap` is the share of its depth, from inside, where the glass is gone: dark instead of bright.
    """
    radius, angle = polar(grid, bottle.centre)
    along = turn(angle, rng.uniform(0, 2 * np.pi))  # 0 in the fracture's middle
    inner, outer = radii
    depth = outer - inner

    # Both outlines run straight from tooth to tooth and meet in a blunt point at either end.
    teeth = max(3, round(span / (0.55 * facet)))
    at = np.linspace(-0.5, 0.5, teeth + 1) * span
    at[1:-1] += rng.uniform(-0.25, 0.25, teeth - 1) * span / teeth
    zigzag = np.where(np.arange(teeth + 1) % 2 == 0, 1.0, -1.0) * rng.uniform(0.4, 1.0, teeth + 1)
    high = outer - depth * 0.09 * (1 + zigzag)
    low = inner + depth * 0.07 * (1 - zigzag)
    high[[0, -1]] = low[[0, -1]] = inner + depth * rng.uniform(0.35, 0.65, 2)
    top = np.interp(along, at, high, left=0.0, right=0.0).astype(np.float32)
    bottom = np.interp(along, at, low, left=9.0, right=9.0).astype(np.float32)
    inside = np.minimum(top - radius, radius - bottom)  # positive within the fracture

    # Facets are slanted cells, white and grey by turns so that neighbours never look alike.
    cells = max(2, round(span / facet))
    slanted = along + np.float32(rng.uniform(-0.8, 0.8)) * (radius - np.float32(bottle.rim))
    walls = np.linspace(-0.5, 0.5, cells + 1)[1:-1] * span + rng.uniform(-0.2, 0.2, cells - 1) * facet
    bright = np.where(np.arange(cells) % 2 == rng.integers(2), 0.95, 0.30) + rng.uniform(-0.12, 0.05, cells)
    across = (radius - np.float32(inner)) / np.float32(depth)
    shade = bright.astype(np.float32)[np.searchsorted(walls, slanted)] * np.clip(0.75 + 0.35 * across, 0, 1.2)
    colour = ramp(FRACTURE_GREY, FRACTURE_PALE, FRACTURE_WHITE, np.clip(shade, 0, 1))

    dark = bump(inside, 0.010, 0.014)
    for wall in walls:
        dark = np.maximum(dark, bump((slanted - np.float32(wall)) * radius, 0.0, 0.013))
    if gap > 0:
        shelf = np.interp(along, at, gap + 0.14 * zigzag).astype(np.float32)
        dark = np.maximum(dark, smooth_step(-across, -shelf, 0.08))
    return Layer(colour=over(colour, GAP, np.float32(0.92) * dark), opacity=smooth_step(inside, 0.0, _EDGE))

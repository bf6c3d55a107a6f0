"""The sample product's normal bottle, seen from straight above, drawn in polar coordinates about its axis.

Lengths are in half-sides of the picture (the frame spans -1..1), angles in radians clockwise from the right,
colours 0..1 as the camera reports them. Nothing here depends on the number of pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seas_train.render.finish import Field, ImageArray, over
from seas_train.render.light import specular_arc
from seas_train.render.profile import bump, ramp, smooth_step
from seas_train.render.shapes import Grid, polar


def rgb(red: float, green: float, blue: float) -> NDArray[np.float32]:
    """A colour, float32 `[3]`, of three channels in 0..1."""
    return np.array([red, green, blue], dtype=np.float32)


BACKGROUND = rgb(0.965, 0.968, 0.970)
# One product on one line: smoky glass with a copper rim, whose tint barely moves from bottle to bottle.
GLASS_DARK = rgb(0.090, 0.086, 0.078)
GLASS_MID = rgb(0.240, 0.225, 0.215)
GLASS_LIGHT = rgb(0.500, 0.470, 0.455)
GLOSS = rgb(0.830, 0.790, 0.770)
RIM = rgb(0.880, 0.470, 0.380)
LIP = rgb(0.360, 0.290, 0.270)
WELL = rgb(0.045, 0.042, 0.054)
WELL_GLOW = rgb(0.140, 0.126, 0.124)

# Glass edges are rounded and a little out of focus: no edge is sharper than this, half-sides.
EDGE = 0.024
# Where the lamp always glances off: (share of the wall from well to outside, angle from the lamp, strength).
_ARCS = ((0.87, 0.0, 0.75), (0.87, 2.6, 0.50), (0.27, float(np.pi), 0.50), (0.27, 0.9, 0.32))


@dataclass(frozen=True)
class Bottle:
    """Parameters of one normal bottle: lengths in half-sides of the picture, angles in radians."""

    centre: tuple[float, float]
    """The axis, (x, y)."""
    outer: float
    """Radius of the wall's outside."""
    rim: float
    """Radius of the middle of the bright rim."""
    rim_width: float
    """Distance from the rim's middle at which it has faded to 1/e."""
    well: float
    """Radius of the dark well in the middle."""
    lamp: float
    """Direction of the lamp."""
    light: float
    """The lamp's intensity, about 1."""
    tint: float
    """Factor on red, and its inverse on blue, about 1."""
    arcs: tuple[tuple[float, float, float, float], ...]
    """Glossy arcs, each (radius, middle angle, half-length, strength 0..1)."""
    blur: float
    """Standard deviation of the lens's blur."""
    grain: float
    """Standard deviation of the sensor's noise, in 0..1 units."""


def choose_bottle(rng: np.random.Generator) -> Bottle:
    """Draw the parameters of one normal bottle."""
    lamp = float(rng.uniform(0, 2 * np.pi))
    outer = float(rng.uniform(0.870, 0.905))
    well = outer * float(rng.uniform(0.490, 0.515))
    arcs = tuple(
        (
            well + share * (outer - well),
            lamp + away + float(rng.uniform(-0.25, 0.25)),
            float(rng.uniform(0.35, 0.60)),
            strength * float(rng.uniform(0.8, 1.1)),
        )
        for share, away, strength in _ARCS
    )
    return Bottle(
        centre=(float(rng.uniform(-0.025, 0.025)), float(rng.uniform(-0.025, 0.025))),
        outer=outer,
        rim=outer * float(rng.uniform(0.765, 0.790)),
        rim_width=float(rng.uniform(0.030, 0.040)),
        well=well,
        lamp=lamp,
        light=float(rng.uniform(0.92, 1.08)),
        tint=float(rng.uniform(0.97, 1.03)),
        arcs=arcs,
        blur=float(rng.uniform(0.0045, 0.0075)),
        grain=float(rng.uniform(0.003, 0.007)),
    )


def draw_bottle(bottle: Bottle, grid: Grid) -> ImageArray:
    """Draw a normal bottle on `grid`, before lens and sensor: float32 `[H, W, 3]`, 0..1."""
    radius, angle = polar(grid, bottle.centre)
    facing = np.cos(angle - np.float32(bottle.lamp))  # 1 towards the lamp, -1 away from it
    image = over(_draw_glass(bottle, radius, angle, facing), LIP, 0.75 * bump(radius, bottle.well, 0.020))
    image = over(image, _draw_well(bottle, grid), smooth_step(-radius, -bottle.well, EDGE))
    shadow = np.float32(0.035) * bump(radius, bottle.outer, 0.10)
    background = BACKGROUND - shadow[..., None]
    return over(image, background, smooth_step(radius, bottle.outer, 1.5 * EDGE))


def _draw_glass(bottle: Bottle, radius: Field, angle: Field, facing: Field) -> ImageArray:
    """The wall from the well outwards: neck, bright rim with a dark seat inside it, shoulder, dark edge."""
    wall = (radius - np.float32(bottle.well)) / np.float32(bottle.outer - bottle.well)
    shade = 0.30 + 0.45 * bump(wall, 0.83, 0.10) + 0.34 * bump(wall, 0.27, 0.17)
    shade -= 0.35 * bump(wall, 1.00, 0.07) + 0.22 * bump(wall, 0.68, 0.06) + 0.22 * bump(wall, 0.04, 0.08)
    glass = ramp(GLASS_DARK, GLASS_MID, GLASS_LIGHT, np.clip(shade * (1 + 0.20 * facing), 0, 1))
    # Glass lights up towards the lamp and, through itself, across from it.
    glass = over(glass, RIM, (0.66 + 0.26 * facing**2) * bump(radius, bottle.rim, bottle.rim_width))
    for at, middle, span, strength in bottle.arcs:
        glass = over(glass, GLOSS, strength * specular_arc(radius, angle, at, 0.016, middle, span))
    tinted = glass * (np.float32(bottle.light) * rgb(bottle.tint, 1.0, 1.0 / bottle.tint))
    return np.asarray(np.clip(tinted, 0, 1), dtype=np.float32)


def _draw_well(bottle: Bottle, grid: Grid) -> ImageArray:
    """The inside: near black, with the lamp's faint round reflection off the bottle's floor."""
    away = 0.28 * bottle.well
    x, y = bottle.centre
    spot = (x + away * float(np.cos(bottle.lamp)), y + away * float(np.sin(bottle.lamp)))
    glow = bump(polar(grid, spot)[0], 0.0, 0.6 * bottle.well)
    return over(np.broadcast_to(WELL, (*glow.shape, 3)), WELL_GLOW, bottle.light * glow)

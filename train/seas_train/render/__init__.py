"""Drawing by code: noise, shapes, light, flaws and finishing touches on float images.

Conventions of every function here:

- an *image* is float32 `[H, W, 3]` in 0..1, a *mask* or *field* is float32 `[H, W]`;
- a *grid* is the pair `(x, y)` of float32 `[H, W]` coordinates, -1..1 across the shorter side, y down;
- randomness comes only from the `numpy.random.Generator` passed in, so a seed fixes an image.
"""

from seas_train.render.colour import jitter, near_grey, random_colour
from seas_train.render.finish import blur, film_grain, over, to_uint8
from seas_train.render.light import bevel, linear_gradient, specular_arc, vignette
from seas_train.render.marks import blob, crack, curve, scratch, stain
from seas_train.render.noise import fractal_noise, streaks, value_noise
from seas_train.render.shapes import box, capsule, circle, coverage, make_grid, polar, ring, rotate, star

__all__ = [
    "bevel",
    "blob",
    "blur",
    "box",
    "capsule",
    "circle",
    "coverage",
    "crack",
    "curve",
    "film_grain",
    "fractal_noise",
    "jitter",
    "linear_gradient",
    "make_grid",
    "near_grey",
    "over",
    "polar",
    "random_colour",
    "ring",
    "rotate",
    "scratch",
    "specular_arc",
    "stain",
    "star",
    "streaks",
    "to_uint8",
    "value_noise",
    "vignette",
]

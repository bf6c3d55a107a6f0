"""The world `micro` learns: scenes of surfaces and parts, with and without flaws, each with a caption.

A scene follows from (seed, index) alone, so any subset can be rendered anywhere, in any order.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from seas_train.bases.micro.world.canvas import Canvas, Field, ImageArray, Painting
from seas_train.bases.micro.world.flaws import add_flaw
from seas_train.bases.micro.world.other_parts import PARTS
from seas_train.bases.micro.world.round_parts import round_part
from seas_train.bases.micro.world.surfaces import SURFACES
from seas_train.render import (
    blob,
    blur,
    coverage,
    film_grain,
    fractal_noise,
    linear_gradient,
    near_grey,
    over,
    polar,
    random_colour,
    to_uint8,
    vignette,
)

IMAGE_SIZE = 256
_SHARE_OF_ROUND_PARTS = 0.38
_SHARE_OF_OTHER_PARTS = 0.27
_SHARE_OF_FLAWS = 0.4
# Streams of randomness: the same index in both streams is a different image.
_SCENES, _TEXTURES = 0, 1


@dataclass(frozen=True)
class Scene:
    """A rendered image, uint8 `[256, 256, 3]`, its caption, and the family it was drawn from."""

    image: NDArray[np.uint8]
    caption: str
    family: str


def families() -> list[str]:
    """Every family of scenes."""
    return ["round", *PARTS, *SURFACES]


def _photograph(canvas: Canvas, image: ImageArray) -> NDArray[np.uint8]:
    """Uneven light, a little blur and noise, then eight bits."""
    if canvas.chance(0.5):
        image = (
            image
            * linear_gradient(canvas.grid, canvas.between(0, 2 * np.pi), canvas.between(0, 0.2))[..., None]
        )
    if canvas.chance(0.25):
        image = image * vignette(canvas.grid, canvas.between(0, 0.4))[..., None]
    if canvas.chance(0.35):
        image = blur(image, canvas.between(0.4, 1.1))
    if canvas.chance(0.6):
        image = film_grain(canvas.rng, image, canvas.between(0.003, 0.018))
    return to_uint8(image)


def _caption(canvas: Canvas, noun: str, flaw: str | None) -> str:
    """One of a few ways to say it; at most 22 words with room for the two end tokens."""
    article = "an" if noun[0] in "aeiou" else "a"
    opening = str(canvas.rng.choice([f"a photo of {article} {noun}", f"{article} {noun}"]))
    if flaw is None:
        return str(canvas.rng.choice([opening, opening, f"a good {noun}"]))
    kind = flaw.split()[-1]
    endings = [
        f"with a {flaw} defect",
        f"with {kind} defect",
        f"with a {flaw}",
        "with defect",
        "with a defect",
    ]
    return f"{opening} {canvas.rng.choice(endings)}"


def render_scene(seed: int, index: int, family: str | None = None, flawed: bool | None = None) -> Scene:
    """Scene `index` of the world of `seed`.

    Args:
        seed: seed of the world.
        index: number of the scene, 0 or more.
        family: draw from this family (see `families`) instead of a random one.
        flawed: force a flaw, or forbid one; by default 40 % of scenes have one.
    """
    canvas = Canvas(np.random.default_rng((seed, _SCENES, index)), IMAGE_SIZE)
    if family is None:
        choice = canvas.rng.random()
        if choice < _SHARE_OF_ROUND_PARTS:
            family = "round"
        else:
            pool = PARTS if choice < _SHARE_OF_ROUND_PARTS + _SHARE_OF_OTHER_PARTS else SURFACES
            family = str(canvas.rng.choice(list(pool)))
    painter = round_part if family == "round" else (PARTS | SURFACES)[family]
    painting = painter(canvas)
    flaw = None
    if canvas.chance(_SHARE_OF_FLAWS) if flawed is None else flawed:
        painting, flaw = add_flaw(canvas, painting, on_surface=family in SURFACES)
    return Scene(_photograph(canvas, painting.image), _caption(canvas, painting.noun, flaw), family)


def render_texture(seed: int, index: int) -> NDArray[np.uint8]:
    """An image without a subject, uint8 `[256, 256, 3]`, for the autoencoder alone.

    Fine noise, random shapes, hard concentric edges, strong colours, grain: what scenes have too little of.
    """
    canvas = Canvas(np.random.default_rng((seed, _TEXTURES, index)), IMAGE_SIZE)
    rng, size = canvas.rng, canvas.size
    base = fractal_noise(
        rng,
        size,
        canvas.between(2, 60),
        int(rng.integers(1, 6)),
        canvas.between(0.4, 0.9),
        canvas.between(0.3, 3),
    )
    cloud = np.clip(0.5 + base * np.float32(canvas.between(0.1, 0.5)), 0, 1)
    image = over(canvas.flat(random_colour(rng, (0, 1), (0, 1))), random_colour(rng, (0, 1), (0, 1)), cloud)
    if canvas.chance(0.5):
        radius, angle = polar(canvas.grid, (canvas.between(-0.6, 0.6), canvas.between(-0.6, 0.6)))
        wobble = 1 + np.float32(canvas.between(0, 0.08)) * np.sin(int(rng.integers(1, 9)) * angle)
        for edge in rng.uniform(0.1, 1.3, int(rng.integers(1, 7))):
            width = canvas.between(0.008, 0.12)
            band: Field = np.asarray(
                np.abs(radius * wobble - np.float32(edge)) - np.float32(width), np.float32
            )
            tone = near_grey(rng, (0.0, 1.0), 0.1) if canvas.chance(0.6) else random_colour(rng)
            image = over(
                image, tone, coverage(band, canvas.between(1, 6)) * np.float32(canvas.between(0.4, 1))
            )
    for _ in range(int(rng.integers(0, 12))):
        centre = (canvas.between(-1, 1), canvas.between(-1, 1))
        mask = blob(
            rng,
            size,
            centre,
            canvas.between(0.03, 0.4),
            canvas.between(0, 0.8),
            canvas.between(1, 8),
            canvas.grid,
        )
        image = over(image, random_colour(rng, (0, 1), (0, 1)), mask * np.float32(canvas.between(0.4, 1)))
    return to_uint8(film_grain(rng, image, canvas.between(0.0, 0.05), canvas.between(0, 1)))


__all__ = ["IMAGE_SIZE", "Painting", "Scene", "families", "render_scene", "render_texture"]

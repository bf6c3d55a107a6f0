"""Generic flaws, each painted into an image and named in a few words.

None of them is a flaw of the sample product: no broken rims and no contamination of a vessel.
"""

from collections.abc import Callable

import numpy as np

from seas_train.bases.micro.world.canvas import Canvas, ImageArray, Painting
from seas_train.render import (
    blob,
    blur,
    crack,
    curve,
    fractal_noise,
    near_grey,
    over,
    random_colour,
    scratch,
    stain,
)

Centre = tuple[float, float]
Colour = np.ndarray[tuple[int, ...], np.dtype[np.float32]]


def _contrasting(canvas: Canvas, image: ImageArray, centre: Centre) -> tuple[str, Colour]:
    """A tone that stands out from what lies at `centre`, and its name."""
    size = canvas.size
    column, row = (int(np.clip((c + 1) / 2 * size, 8, size - 9)) for c in centre)
    here = float(image[row - 8 : row + 9, column - 8 : column + 9].mean())
    if canvas.chance(0.3):
        return "coloured", random_colour(canvas.rng, (0.5, 1.0), (0.3, 1.0))
    if (here > 0.5) != canvas.chance(0.12):
        return "dark", near_grey(canvas.rng, (0.0, max(0.02, 0.4 * here)), 0.06)
    return "light", near_grey(canvas.rng, (min(0.95, here + 0.4), 1.0), 0.04)


def scratch_flaw(canvas: Canvas, image: ImageArray, centre: Centre) -> tuple[ImageArray, str]:
    """One to three long, thin, straight marks."""
    tone, colour = _contrasting(canvas, image, centre)
    for _ in range(int(canvas.rng.integers(1, 4))):
        near = (centre[0] + canvas.between(-0.1, 0.1), centre[1] + canvas.between(-0.1, 0.1))
        mark = scratch(canvas.rng, canvas.size, near, canvas.between(0.3, 1.3), canvas.between(1, 4))
        image = over(image, colour, mark * np.float32(canvas.between(0.5, 1)))
    return image, f"{tone} scratch"


def stain_flaw(canvas: Canvas, image: ImageArray, centre: Centre) -> tuple[ImageArray, str]:
    """A soft, uneven patch of another tone."""
    tone, colour = _contrasting(canvas, image, centre)
    mark = stain(canvas.rng, canvas.size, centre, canvas.between(0.1, 0.4), canvas.grid)
    return over(image, colour, mark * np.float32(canvas.between(0.5, 0.95))), f"{tone} stain"


def spot_flaw(canvas: Canvas, image: ImageArray, centre: Centre) -> tuple[ImageArray, str]:
    """One to six small, hard-edged spots."""
    tone, colour = _contrasting(canvas, image, centre)
    for _ in range(int(canvas.rng.integers(1, 7))):
        near = (centre[0] + canvas.between(-0.3, 0.3), centre[1] + canvas.between(-0.3, 0.3))
        mark = blob(canvas.rng, canvas.size, near, canvas.between(0.02, 0.09), 0.3, 2, canvas.grid)
        image = over(image, colour, mark * np.float32(canvas.between(0.6, 1)))
    return image, f"{tone} spots"


def thread_flaw(canvas: Canvas, image: ImageArray, centre: Centre) -> tuple[ImageArray, str]:
    """A fibre or hair that lies on top."""
    tone, colour = _contrasting(canvas, image, centre)
    mark = curve(canvas.rng, canvas.size, centre, canvas.between(0.5, 1.6), canvas.between(1.5, 6))
    return over(image, colour, mark), f"{tone} thread"


def hole_flaw(canvas: Canvas, image: ImageArray, centre: Centre) -> tuple[ImageArray, str]:
    """A dark hole, at times with a bright burr."""
    radius = canvas.between(0.05, 0.25)
    deep = blob(canvas.rng, canvas.size, centre, radius, 0.3, 1.5, canvas.grid)
    edge = np.clip(blur(deep, canvas.between(1, 4)) * 1.5, 0, 1) - deep
    image = over(
        image,
        near_grey(canvas.rng, (0.6, 1.0)),
        np.clip(edge, 0, 1).astype(np.float32) * np.float32(canvas.between(0, 0.8)),
    )
    return over(image, near_grey(canvas.rng, (0.0, 0.12)), deep), "hole"


def dent_flaw(canvas: Canvas, image: ImageArray, centre: Centre) -> tuple[ImageArray, str]:
    """A dent: one side in shadow, the other lit."""
    soft = blur(
        blob(canvas.rng, canvas.size, centre, canvas.between(0.1, 0.3), 0.2, 6, canvas.grid),
        canvas.between(2, 6),
    )
    angle = canvas.between(0, 2 * np.pi)
    slope = np.gradient(soft, axis=1) * np.cos(angle) + np.gradient(soft, axis=0) * np.sin(angle)
    light = slope / (np.abs(slope).max() + 1e-6) * canvas.between(0.25, 0.6)
    return np.asarray(image + light[..., None], np.float32), "dent"


def crack_flaw(canvas: Canvas, image: ImageArray, centre: Centre) -> tuple[ImageArray, str]:
    """A dark, branching crack."""
    mark = crack(canvas.rng, canvas.size, centre, canvas.between(0.5, 1.6), canvas.between(1.5, 5))
    return over(image, near_grey(canvas.rng, (0.0, 0.2)), mark), "crack"


def smear_flaw(canvas: Canvas, image: ImageArray, centre: Centre) -> tuple[ImageArray, str]:
    """A patch dragged in one direction."""
    tone, colour = _contrasting(canvas, image, centre)
    patch = blob(canvas.rng, canvas.size, centre, canvas.between(0.2, 0.45), 0.5, 8, canvas.grid)
    drag = np.clip(
        0.4 + 0.5 * fractal_noise(canvas.rng, canvas.size, 12, 3, stretch=canvas.between(4, 12)), 0, 1
    )
    if canvas.chance(0.5):
        drag = drag.T
    return over(
        image, colour, np.asarray(patch * drag * canvas.between(0.4, 0.9), np.float32)
    ), f"{tone} smear"


def foreign_flaw(canvas: Canvas, image: ImageArray, centre: Centre) -> tuple[ImageArray, str]:
    """A lump of foreign matter, lit from one side."""
    tone, colour = _contrasting(canvas, image, centre)
    mark = blob(canvas.rng, canvas.size, centre, canvas.between(0.08, 0.35), 0.5, 1.5, canvas.grid)
    light = 1 + 0.25 * fractal_noise(canvas.rng, canvas.size, canvas.between(6, 25), 3)
    return over(image, np.asarray(colour * light[..., None], np.float32), mark), f"{tone} blob"


FLAWS: dict[str, Callable[[Canvas, ImageArray, Centre], tuple[ImageArray, str]]] = {
    "scratch": scratch_flaw,
    "stain": stain_flaw,
    "spots": spot_flaw,
    "thread": thread_flaw,
    "hole": hole_flaw,
    "dent": dent_flaw,
    "crack": crack_flaw,
    "smear": smear_flaw,
    "foreign": foreign_flaw,
}
_ON_SURFACES_ONLY = {"crack"}


def add_flaw(canvas: Canvas, painting: Painting, on_surface: bool) -> tuple[Painting, str]:
    """`painting` with one random flaw somewhere on its mask, and the flaw's name."""
    names = [name for name in FLAWS if on_surface or name not in _ON_SURFACES_ONLY]
    name = str(canvas.rng.choice(names))
    centre = (0.0, 0.0)
    for _ in range(8):
        centre = (canvas.between(-0.75, 0.75), canvas.between(-0.75, 0.75))
        row, column = (int((c + 1) / 2 * canvas.size) for c in reversed(centre))
        if painting.mask[row, column] > 0.5:
            break
    image, flaw = FLAWS[name](canvas, painting.image, centre)
    return Painting(image, painting.noun, painting.mask), flaw

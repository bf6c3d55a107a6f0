"""Round parts seen from above: rims, rings and wells of every colour and material.

A part is a radial profile of colours (looked up by distance from the centre), turned into an object by light
that changes around the ring, glossy arcs and a little texture.
"""

import numpy as np
from numpy.typing import NDArray

from seas_train.bases.micro.world.canvas import Canvas, Field, ImageArray, Painting
from seas_train.render import (
    circle,
    coverage,
    fractal_noise,
    near_grey,
    over,
    polar,
    random_colour,
    specular_arc,
    star,
    streaks,
)
from seas_train.render.finish import blur

_PROFILE = 512  # samples of a radial profile, over radius 0..1 of the part


def _material(canvas: Canvas) -> tuple[str, NDArray[np.float32]]:
    """A material's name and a base colour of it."""
    rng = canvas.rng
    name = str(
        rng.choice(
            ["metal", "plastic", "glass", "rubber", "ceramic", "brass"], p=[0.22, 0.2, 0.3, 0.1, 0.1, 0.08]
        )
    )
    if name == "metal":
        return name, near_grey(rng, (0.35, 0.85))
    if name == "glass":
        hue = (0.04, 0.13) if canvas.chance(0.5) else (0.2, 0.6)
        return name, random_colour(rng, (0.1, 0.8), (0.12, 0.7), hue)
    if name == "rubber":
        return name, near_grey(rng, (0.05, 0.25))
    if name == "ceramic":
        return name, random_colour(rng, (0.0, 0.3), (0.6, 0.98))
    if name == "brass":
        return name, random_colour(rng, (0.35, 0.7), (0.45, 0.85), (0.08, 0.14))
    return name, random_colour(rng, (0.2, 0.95), (0.15, 0.95))


def _profile(
    canvas: Canvas, base: NDArray[np.float32], background: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Colours `[_PROFILE, 3]` from the centre (first) to the rim (last)."""
    rng = canvas.rng
    radius = np.linspace(0, 1, _PROFILE, dtype=np.float32)
    rings = int(rng.integers(2, 7))
    edges = np.sort(rng.uniform(0.15, 0.97, rings)).astype(np.float32)
    profile = np.empty((_PROFILE, 3), np.float32)
    profile[:] = base
    slices = np.searchsorted(edges, radius)
    for index in range(rings + 1):
        inside = slices == index
        if index == 0 and canvas.chance(0.65):
            # The well: often much darker or lighter than the part, or the background seen through a hole.
            choice = rng.random()
            well = (
                near_grey(rng, (0.0, 0.2))
                if choice < 0.5
                else background
                if choice < 0.65
                else random_colour(rng)
            )
            profile[inside] = well
        else:
            profile[inside] = np.clip(base * rng.uniform(0.35, 1.7) + rng.uniform(-0.04, 0.04, 3), 0, 1)
        if inside.any() and canvas.chance(0.7):
            # A tube-like rise or fall across the ring.
            t = np.linspace(-1, 1, int(inside.sum()), dtype=np.float32)[:, None]
            profile[inside] *= (
                1 + np.float32(rng.uniform(-0.5, 0.5)) * t + np.float32(rng.uniform(-0.4, 0.3)) * t * t
            )
    for edge in edges:
        if canvas.chance(0.6):
            line = np.exp(-(((radius - edge) / rng.uniform(0.006, 0.025)) ** 2))[:, None]
            tone = rng.uniform(0.6, 1.0) if canvas.chance(0.5) else rng.uniform(0.0, 0.25)
            profile += (
                (np.float32(tone) - profile) * line.astype(np.float32) * np.float32(rng.uniform(0.3, 0.95))
            )
    if canvas.chance(0.5):
        rim = np.exp(-(((radius - 1) / rng.uniform(0.01, 0.05)) ** 2))[:, None].astype(np.float32)
        profile += (np.float32(rng.uniform(0, 0.5)) - profile) * rim * np.float32(0.8)
    return blur(profile[:, None, :], rng.uniform(0.8, 5.0))[:, 0]


def _around(canvas: Canvas, radius: Field, angle: Field) -> Field:
    """Multiplier about 1: light that changes around the ring, differently at different radii."""
    rng = canvas.rng
    light = np.ones_like(radius)
    for waves in (1, 2, int(rng.integers(3, 8))):
        strength, phase, twist = rng.uniform(0, 0.22 / waves), rng.uniform(0, 2 * np.pi), rng.uniform(-6, 6)
        light += np.float32(strength) * np.cos(waves * angle + np.float32(phase) + np.float32(twist) * radius)
    return light


def background_image(canvas: Canvas) -> tuple[ImageArray, str, NDArray[np.float32]]:
    """A plain background (white, grey, black or coloured), its name, and its colour."""
    rng = canvas.rng
    choice = rng.random()
    if choice < 0.5:
        name, colour = "white", near_grey(rng, (0.86, 1.0), 0.01)
    elif choice < 0.68:
        name, colour = "grey", near_grey(rng, (0.3, 0.75), 0.03)
    elif choice < 0.86:
        name, colour = "black", near_grey(rng, (0.0, 0.12), 0.02)
    else:
        name, colour = "painted", random_colour(rng)
    image = canvas.flat(colour)
    if canvas.chance(0.3):
        image = image * (
            1 + np.float32(canvas.between(0.01, 0.05)) * fractal_noise(rng, canvas.size, 20, 2)[..., None]
        )
    return np.asarray(image, np.float32), name, colour


def round_part(canvas: Canvas) -> Painting:
    """Washers, lids, bowls, cups, buttons, coins and gears, centred, 60 to 95 % of the frame."""
    rng, size = canvas.rng, canvas.size
    image, backdrop, colour = background_image(canvas)
    material, base = _material(canvas)
    extent = canvas.between(0.6, 0.95) if canvas.chance(0.9) else canvas.between(0.35, 0.6)
    x, y = canvas.grid
    centre = (canvas.between(-0.04, 0.04), canvas.between(-0.04, 0.04))
    radius, angle = polar((x, y * np.float32(canvas.between(0.97, 1.03))), centre)

    noun = str(rng.choice(["lid", "washer", "bowl", "cup", "button", "coin", "ring", "part"]))
    relative = radius / np.float32(extent)
    toothed = canvas.chance(0.12)
    if toothed:
        noun = "gear"
        depth = canvas.between(0.02, 0.07)
        frame = ((x - np.float32(centre[0])), (y - np.float32(centre[1])))
        outline = star(frame, extent - depth, int(rng.integers(6, 40)), depth, canvas.between(0.7, 4))
    else:
        outline = np.asarray(radius - np.float32(extent), dtype=np.float32)
    profile = _profile(canvas, base, colour)
    # Wells are rarely exactly concentric with the rim: perspective and wobble shift the inner rings a little.
    shift = np.float32(canvas.between(0, 0.05)) * np.cos(angle + np.float32(canvas.between(0, 6.3)))
    position = np.clip((relative + shift * (1 - relative)) * (_PROFILE - 1), 0, _PROFILE - 1.001)
    lower = position.astype(np.int32)
    fraction = (position - lower)[..., None]
    part = profile[lower] * (1 - fraction) + profile[lower + 1] * fraction

    part = part * _around(canvas, relative, angle)[..., None]
    if material in ("metal", "brass") and canvas.chance(0.5):
        if canvas.chance(0.5):  # turned on a lathe: rings
            marks = streaks(rng, size)[0][np.minimum((relative * 120).astype(np.int32), size - 1)]
        else:
            marks = streaks(rng, size)
        part = part * (1 + np.float32(canvas.between(0.02, 0.08)) * marks[..., None])
    elif canvas.chance(0.4):
        part = part * (1 + np.float32(canvas.between(0.02, 0.1)) * fractal_noise(rng, size, 12, 3)[..., None])
    part = np.asarray(part, np.float32)
    glossy = {"glass": 5, "metal": 3, "brass": 3, "plastic": 2}.get(material, 0)
    for _ in range(int(rng.integers(0, glossy + 1))):
        arc = specular_arc(
            relative,
            angle,
            canvas.between(0.2, 0.98),
            canvas.between(0.006, 0.04),
            canvas.between(-3.1, 3.1),
            canvas.between(0.1, 1.2),
        )
        part = over(part, near_grey(rng, (0.75, 1.0)), arc * np.float32(canvas.between(0.3, 1.0)))
    if canvas.chance(0.35):  # a soft shadow beside the part
        offset = (centre[0] + canvas.between(-0.06, 0.06), centre[1] + canvas.between(-0.06, 0.06))
        shadow = coverage(circle(canvas.grid, extent, offset), 24) * np.float32(canvas.between(0.1, 0.5))
        image = np.asarray(image * (1 - shadow[..., None]), np.float32)
    mask = coverage(outline, 1.3)
    tone = "dark" if float(base.mean()) < 0.35 else "light" if float(base.mean()) > 0.65 else ""
    words = [word for word in ("round", tone, material, noun) if word]
    return Painting(over(image, part, mask), f"{' '.join(words)} on a {backdrop} background", mask)

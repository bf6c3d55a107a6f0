"""Parts that are not round: screws, pills, nuts, cables, transistors, zippers, brushes and plates."""

from collections.abc import Callable

import numpy as np

from seas_train.bases.micro.world.canvas import Canvas, Field, ImageArray, Painting
from seas_train.bases.micro.world.round_parts import background_image
from seas_train.bases.micro.world.surfaces import SURFACES
from seas_train.render import (
    bevel,
    blob,
    box,
    capsule,
    circle,
    coverage,
    fractal_noise,
    jitter,
    near_grey,
    over,
    random_colour,
    rotate,
    specular_arc,
)


def _backdrop(canvas: Canvas) -> tuple[ImageArray, str]:
    """A plain background, or now and then a textured one."""
    if canvas.chance(0.2):
        name = str(canvas.rng.choice(["wood", "concrete", "fabric", "brushed_metal"]))
        painting = SURFACES[name](canvas)
        return painting.image, f"on a {painting.noun}"
    image, name, _ = background_image(canvas)
    return image, f"on a {name} background"


def _solid(
    canvas: Canvas, image: ImageArray, distance: Field, colour: np.ndarray, rounding: float
) -> ImageArray:
    """A shape of one colour with a lit, rounded edge laid over `image`."""
    light = bevel(distance, canvas.between(-2.6, -0.5), rounding)
    lit = np.asarray(colour * (1 + 0.45 * light[..., None]), np.float32)
    return over(image, lit, coverage(distance, 1.3))


def screw(canvas: Canvas) -> Painting:
    """A screw lying in any direction."""
    rng = canvas.rng
    image, where = _backdrop(canvas)
    x, y = rotate(canvas.grid, canvas.between(0, 2 * np.pi))
    half, radius = canvas.between(0.5, 0.75), canvas.between(0.07, 0.13)
    pitch = canvas.between(70, 130)
    thread = np.float32(0.018) * np.sin(x * np.float32(pitch) + y * 6)
    shaft = box((x - 0.1, y), half, radius) + np.where(x > -0.3, thread, 0).astype(np.float32)
    head = box(
        (x + np.float32(half - 0.1), y), canvas.between(0.07, 0.14), radius * canvas.between(1.6, 2.3), 0.04
    )
    colour = (
        near_grey(rng, (0.35, 0.75))
        if canvas.chance(0.7)
        else random_colour(rng, (0.3, 0.6), (0.4, 0.8), (0.08, 0.14))
    )
    roundness = 0.55 + 0.55 * np.sqrt(np.clip(1 - (y / np.float32(radius * 1.5)) ** 2, 0, 1))
    groove = 1 + 0.35 * np.sin(x * np.float32(pitch) + y * 6 + 1) * (x > -0.3)
    image = over(
        image, np.asarray(colour * (roundness * groove)[..., None], np.float32), coverage(shaft, 1.3)
    )
    image = over(image, np.asarray(colour * (roundness * 1.1)[..., None], np.float32), coverage(head, 1.3))
    return Painting(image, f"screw {where}", coverage(np.minimum(shaft, head)))


def pill(canvas: Canvas) -> Painting:
    """A one-coloured pill or a two-coloured capsule."""
    rng = canvas.rng
    image, where = _backdrop(canvas)
    frame = rotate(canvas.grid, canvas.between(0, 2 * np.pi))
    distance = capsule(frame, canvas.between(0.1, 0.5), canvas.between(0.22, 0.42))
    first = random_colour(rng, (0.0, 0.6), (0.5, 1.0))
    second = random_colour(rng, (0.3, 0.95), (0.4, 0.95)) if canvas.chance(0.5) else first
    halves = np.asarray(np.where(frame[0][..., None] > 0, second, first), np.float32)
    depth = np.sqrt(np.clip(-distance / np.float32(0.3), 0, 1))[..., None]
    image = over(image, np.asarray(halves * (0.6 + 0.45 * depth), np.float32), coverage(distance, 1.3))
    image = over(
        image,
        near_grey(rng, (0.9, 1.0)),
        coverage(capsule((frame[0], frame[1] + 0.12), 0.2, 0.01), 8) * np.float32(0.6),
    )
    if canvas.chance(0.4):
        speckle = np.clip(fractal_noise(rng, canvas.size, 50, 2) - 1.2, 0, 1) * coverage(distance)
        image = over(image, random_colour(rng, (0.4, 0.9), (0.2, 0.7)), np.asarray(speckle, np.float32))
    return Painting(image, f"{'capsule' if second is not first else 'pill'} {where}", coverage(distance))


def nut(canvas: Canvas) -> Painting:
    """A hazelnut-like blob: brown, ribbed, with a paler cap."""
    rng, size = canvas.rng, canvas.size
    image, where = _backdrop(canvas)
    mask = blob(
        rng,
        size,
        (canvas.between(-0.08, 0.08), canvas.between(-0.08, 0.08)),
        canvas.between(0.45, 0.75),
        0.2,
        2,
        canvas.grid,
    )
    x, y = rotate(canvas.grid, canvas.between(0, 2 * np.pi))
    ribs = np.sin(
        np.arctan2(y, x + 1.2) * np.float32(canvas.between(30, 70)) + fractal_noise(rng, size, 4, 2)
    )
    shade = np.clip(
        1.15 - 0.6 * (canvas.grid[0] + canvas.between(0.1, 0.4)) ** 2 - 0.6 * (canvas.grid[1] + 0.3) ** 2,
        0.2,
        1.3,
    )
    colour = random_colour(rng, (0.4, 0.75), (0.35, 0.7), (0.03, 0.1))
    body = np.asarray(
        colour * (shade * (1 + 0.08 * ribs) * (1 + 0.05 * fractal_noise(rng, size, 30, 2)))[..., None],
        np.float32,
    )
    cap = blob(
        rng,
        size,
        (canvas.between(-0.3, 0.3), canvas.between(-0.3, 0.3)),
        canvas.between(0.15, 0.3),
        0.3,
        5,
        canvas.grid,
    )
    body = over(body, jitter(rng, np.asarray(colour * 1.5 + 0.1, np.float32), 0.1), cap * np.float32(0.8))
    return Painting(over(image, body, mask), f"nut {where}", mask)


def cable(canvas: Canvas) -> Painting:
    """A cable cut across: a sheath with three insulated cores full of strands."""
    rng = canvas.rng
    image, where = _backdrop(canvas)
    sheath = circle(canvas.grid, canvas.between(0.78, 0.95))
    image = _solid(canvas, image, sheath, near_grey(rng, (0.1, 0.9)), 0.05)
    turn, radius = canvas.between(0, 2 * np.pi), canvas.between(0.3, 0.36)
    pitch = np.float32(canvas.between(0.045, 0.08))
    x, y = rotate(canvas.grid, canvas.between(0, 1))
    row = np.floor(y / (pitch * np.float32(0.87)))
    offset_x = (x + (row % 2) * pitch / 2) % pitch - pitch / 2
    offset_y = y % (pitch * np.float32(0.87)) - pitch * np.float32(0.435)
    strands = np.clip(1.25 - (np.hypot(offset_x, offset_y) / (pitch * np.float32(0.5))) ** 2, 0.1, 1)[
        ..., None
    ]
    copper = random_colour(rng, (0.3, 0.65), (0.6, 0.95), (0.05, 0.11))
    for core in range(3):
        angle = turn + core * 2 * np.pi / 3
        distance = circle(canvas.grid, radius, (0.42 * float(np.cos(angle)), 0.42 * float(np.sin(angle))))
        image = _solid(canvas, image, distance, random_colour(rng, (0.4, 0.95), (0.3, 0.9)), 0.06)
        metal = np.asarray(copper * strands, np.float32)
        image = over(image, metal, coverage(np.asarray(distance + np.float32(radius * 0.35), np.float32)))
    return Painting(image, f"cable {where}", coverage(sheath))


def transistor(canvas: Canvas) -> Painting:
    """A black box with legs over a perforated or plain board."""
    rng = canvas.rng
    image, where = _backdrop(canvas)
    x, y = canvas.grid
    if canvas.chance(0.5):
        holes = circle(
            ((x + 4) % np.float32(0.2) - np.float32(0.1), (y + 4) % np.float32(0.2) - np.float32(0.1)), 0.045
        )
        image = over(image, near_grey(rng, (0.0, 0.3)), coverage(holes))
    legs = int(rng.integers(2, 6))
    top, width = canvas.between(-0.2, 0.2), canvas.between(0.3, 0.55)
    metal = near_grey(rng, (0.5, 0.9))
    for leg in range(legs):
        at = (leg - (legs - 1) / 2) * 1.6 * width / legs
        stick = box((x - np.float32(at), y - np.float32(top + 0.35)), canvas.between(0.025, 0.04), 0.4)
        image = _solid(canvas, image, stick, metal, 0.03)
    body = box((x, y - np.float32(top - 0.3)), width, canvas.between(0.25, 0.38), 0.04)
    image = _solid(canvas, image, body, near_grey(rng, (0.04, 0.25)), 0.05)
    return Painting(image, f"transistor {where}", coverage(body))


def zipper(canvas: Canvas) -> Painting:
    """Two rows of teeth that mesh between strips of cloth."""
    rng, size = canvas.rng, canvas.size
    x, y = canvas.grid
    cloth = near_grey(rng, (0.03, 0.4)) if canvas.chance(0.7) else random_colour(rng)
    weave = 1 + 0.12 * np.sin(x * 90) * np.sin(y * 90) + 0.04 * fractal_noise(rng, size, 20, 2)
    image = np.asarray(cloth * weave[..., None], np.float32)
    pitch, reach = canvas.between(0.07, 0.15), canvas.between(0.1, 0.22)
    tooth_colour = (
        near_grey(rng, (0.3, 0.9))
        if canvas.chance(0.7)
        else random_colour(rng, (0.4, 0.8), (0.4, 0.9), (0.08, 0.14))
    )
    for side, start in ((-1, 0.0), (1, 0.5)):
        along = (y + 4 + np.float32(start * pitch)) % np.float32(pitch) - np.float32(pitch / 2)
        teeth = box((x - np.float32(side * reach / 2), along), reach * 0.75, pitch * 0.2, pitch * 0.1)
        image = _solid(canvas, image, teeth, tooth_colour, pitch * 0.3)
    mask = coverage(box(canvas.grid, reach * 1.4, 1.1))
    if canvas.chance(0.5):
        image, mask = np.ascontiguousarray(image.swapaxes(0, 1)), np.ascontiguousarray(mask.T)
    return Painting(image, "zipper", mask)


def brush(canvas: Canvas) -> Painting:
    """Rows of bristle tufts on a head, seen from above."""
    rng = canvas.rng
    image, where = _backdrop(canvas)
    x, y = rotate(canvas.grid, canvas.between(-0.2, 0.2))
    head = box((x, y), canvas.between(0.4, 0.6), canvas.between(0.75, 0.92), 0.3)
    image = _solid(canvas, image, head, random_colour(rng, (0.0, 0.7), (0.4, 0.98)), 0.08)
    pitch = np.float32(canvas.between(0.16, 0.26))
    column, row = np.floor(x / pitch), np.floor(y / pitch)
    tuft = circle(
        (x - (column + np.float32(0.5)) * pitch, y - (row + np.float32(0.5)) * pitch), float(pitch) * 0.42
    )
    palette = np.stack([random_colour(rng, (0.2, 0.9), (0.4, 1.0)) for _ in range(3)])
    bristle = palette[(np.abs(row) % 3).astype(int)] * (
        0.8 + 0.2 * fractal_noise(rng, canvas.size, 100, 1)[..., None] / 2
    )
    inside = coverage(np.maximum(tuft, head + np.float32(0.1)), 1.5)
    return Painting(over(image, np.asarray(bristle, np.float32), inside), f"brush {where}", coverage(head))


def plate(canvas: Canvas) -> Painting:
    """A rectangle with round holes."""
    rng = canvas.rng
    image, where = _backdrop(canvas)
    frame = rotate(canvas.grid, canvas.between(0, np.pi) if canvas.chance(0.5) else 0.0)
    half = (canvas.between(0.4, 0.85), canvas.between(0.3, 0.85))
    distance = box(frame, *half, canvas.between(0.0, 0.2))
    for _ in range(int(rng.integers(0, 6))):
        at = (canvas.between(-0.8, 0.8) * half[0], canvas.between(-0.8, 0.8) * half[1])
        distance = np.maximum(distance, -circle(frame, canvas.between(0.04, 0.15), at))
    colour = near_grey(rng, (0.2, 0.9)) if canvas.chance(0.5) else random_colour(rng)
    shade = 1 + 0.06 * fractal_noise(rng, canvas.size, 4, 3)
    image = _solid(canvas, image, distance, np.asarray(colour * shade[..., None], np.float32), 0.05)
    return Painting(
        image, f"{'metal' if canvas.chance(0.5) else 'plastic'} plate {where}", coverage(distance)
    )


def buttons(canvas: Canvas) -> Painting:
    """A handful of small discs or coins scattered about."""
    rng = canvas.rng
    image, where = _backdrop(canvas)
    total = np.zeros((canvas.size, canvas.size), np.float32)
    for _ in range(int(rng.integers(2, 9))):
        centre = (canvas.between(-0.8, 0.8), canvas.between(-0.8, 0.8))
        distance = circle(canvas.grid, canvas.between(0.08, 0.35), centre)
        image = _solid(canvas, image, distance, random_colour(rng, (0.0, 0.95)), canvas.between(0.02, 0.2))
        ring = np.abs(distance + np.float32(canvas.between(0.02, 0.1))) - np.float32(0.01)
        image = over(
            image, near_grey(rng), coverage(np.asarray(ring, np.float32)) * np.float32(canvas.chance(0.6))
        )
        if canvas.chance(0.4):
            x, y = canvas.grid[0] - np.float32(centre[0]), canvas.grid[1] - np.float32(centre[1])
            arc = specular_arc(np.hypot(x, y), np.arctan2(y, x), 0.1, 0.02, canvas.between(-3, 3), 0.6)
            image = over(image, near_grey(rng, (0.85, 1.0)), arc)
        total = np.maximum(total, coverage(distance))
    return Painting(image, f"set of buttons {where}", total)


PARTS: dict[str, Callable[[Canvas], Painting]] = {
    "screw": screw,
    "pill": pill,
    "nut": nut,
    "cable": cable,
    "transistor": transistor,
    "zipper": zipper,
    "brush": brush,
    "plate": plate,
    "buttons": buttons,
}

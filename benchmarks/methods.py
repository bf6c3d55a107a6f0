"""Bundles of several methods, drawn into the same photographs under the same masks: one table, one sheet.

    python benchmarks/methods.py out/seas/bundle out/anogen/bundle out/anomalydiffusion/bundle \\
        out/anomalyxfusion/bundle --product out/seas/sample/bottle --judges judges.safetensors

All are of the sample product. The placements are the first bundle's own, drawn into the held-out normals,
which no training saw. They are masks alone: a bundle that starts from real defects' looks has none there, so
it gets a second row, `NAME with looks`, of pairs that it places itself, as it does by default; with the first
bundle's seed these are the same photographs and masks, but for attempts that gates reject. A method whose
labels are boxes is given the boxes of the same masks. Judges that learned from fresh renders alone say of
each pair which defect they see, and where.

Three figures a defect: the share whose type is right; the IoU of the judge's mask with the given one; and the
share of the judge's mask inside of it, which is what can be asked of boxes. Written are also how many pairs
passed the gates at once, and the seconds of an attempt. `--sheet` draws a row a method and defect. Figures of
other runs stay in the file, by method. Exits with 1 where a bar is missed.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from judges import (
    CLASSES,
    Judges,
    keep_judges,
    kept_judges,
    render,
    shrink,
    shrink_mask,
    train_judges,
)
from machine import RESULTS, result_parser, write_entry
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from seas_runtime import Generator, Placing
from seas_runtime.backends.contract import AUTO
from seas_runtime.dataset.contact_sheet import outline_mask
from seas_runtime.figures import iou, overlap
from seas_runtime.generation.placing.backgrounds import Backgrounds
from seas_runtime.generation.placing.drawing import Drawer
from seas_runtime.generation.records import GeneratedPair
from seas_runtime.manifest.types import GOOD
from seas_runtime.methods.blending.inputs import STRENGTH
from seas_runtime.methods.request import PLACED, PairRequest
from seas_runtime.methods.table import find_method
from seas_runtime.placement.morphology import box_of
from seas_runtime.placement.options import BOXES

BARS = {"type_right": 0.7, "mask_iou": 0.6}
WEAK_BARS = {"type_right": 0.6, "inside": 0.6}
"""Of boxes: of a method that learns from three pairs."""
TILE, GAP, TITLE = 128, 4, 16


@dataclass(frozen=True)
class Place:
    """What all methods are asked for once."""

    photograph: NDArray[Any]
    mask: NDArray[np.bool_]  # of the photograph's size


def places(first: Generator, photographs: Backgrounds, defect: str, count: int, seed: int) -> list[Place]:
    """Return placements of a defect as the first bundle draws them."""
    drawer = Drawer(first.bundle)
    request = first.request(defect, seed, placing=Placing())
    made = (drawer.draw(photographs, PairRequest(request, index), 0) for index in range(count))
    found = []
    for drawing in made:
        pixels = drawing.photograph.pixels
        found.append(Place(pixels, drawing.placed.full(pixels.shape[:2])))
    return found


def boxed(place: Place) -> Place:
    """Return a placement with its mask's box for a mask."""
    top, left, bottom, right = box_of(place.mask)
    mask = np.zeros_like(place.mask)
    mask[top:bottom, left:right] = True
    return replace(place, mask=mask)


def draw(
    generator: Generator, defect: str, wanted: Sequence[Place], seed: int, steps: int | None
) -> list[GeneratedPair]:
    """Return a pair a placement; its mask is the placement, whatever the method measures."""
    asked = Placing(mask=PLACED)
    return [
        generator.place(place.photograph, defect, place.mask, seed, index=index, placing=asked, steps=steps)
        for index, place in enumerate(wanted)
    ]


def draw_own(
    generator: Generator, defect: str, count: int, seed: int, steps: int | None
) -> tuple[list[GeneratedPair], list[Place]]:
    """Return pairs that a bundle places and starts itself, from looks, and where they are."""
    pairs = list(generator.generate(defect, count, seed, placing=Placing(mask=PLACED), steps=steps))
    return pairs, [Place(pair.image, pair.mask > 0) for pair in pairs]


def judged(
    judges: Judges, kind: str, pairs: Sequence[GeneratedPair], wanted: Sequence[Place]
) -> dict[str, Any]:
    """Return the figures of a defect's accepted pairs."""
    tries = [len(pair.record.attempts) for pair in pairs]
    figures: dict[str, Any] = {
        "pairs": len(pairs),
        "accepted": sum(pair.record.accepted for pair in pairs),
        "first_try": _share(pair.record.accepted and n == 1 for pair, n in zip(pairs, tries, strict=True)),
        "seconds": round(sum(pair.record.times.total for pair in pairs) / sum(tries), 3),
    }
    kept = [(pair, place) for pair, place in zip(pairs, wanted, strict=True) if pair.record.accepted]
    if not kept:
        return {**figures, "type_right": 0.0, "mask_iou": 0.0, "inside": 0.0}
    seen, classes = judges.judge(np.stack([shrink(_eight_bit(pair.image)) for pair, _ in kept]))
    given = np.stack([shrink_mask(place.mask) for _, place in kept])
    return {
        **figures,
        "type_right": round(float((classes == CLASSES.index(kind)).mean()), 4),
        "mask_iou": round(iou(*overlap(given, seen)), 4),
        "inside": round(int((seen & given).sum()) / max(1, int(seen.sum())), 4),
    }


def _share(values: Any) -> float:
    found = list(values)
    return round(sum(found) / len(found), 4)


def _eight_bit(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    scaled = (pixels // 257).astype(np.uint8) if pixels.dtype == np.uint16 else pixels
    return np.asarray(Image.fromarray(scaled).convert("RGB"))


def sheet(rows: Sequence[tuple[str, Sequence[GeneratedPair], Sequence[Place]]], wide: int) -> Image.Image:
    """Return the first pairs of each row, each beside itself with the given mask's outline."""
    high = TITLE + TILE + GAP
    picture = Image.new("RGB", (wide * 2 * (TILE + GAP), high * len(rows)), "white")
    pen = ImageDraw.Draw(picture)
    for line, (title, pairs, wanted) in enumerate(rows):
        pen.text((GAP, line * high + 2), title, fill="black")
        for column, (pair, place) in enumerate(list(zip(pairs, wanted, strict=True))[:wide]):
            small = Image.fromarray(_eight_bit(pair.image)).resize((TILE, TILE), Image.Resampling.BOX)
            mask = np.asarray(Image.fromarray(place.mask).resize((TILE, TILE), Image.Resampling.NEAREST))
            outlined = Image.fromarray(np.asarray(outline_mask(np.asarray(small), mask)))
            left = 2 * column * (TILE + GAP)
            picture.paste(small, (left, line * high + TITLE))
            picture.paste(outlined, (left + TILE + GAP // 2, line * high + TITLE))
    return picture


def main() -> int:
    """Place, draw, judge; print the table and write figures and sheet."""
    parser = result_parser("methods", __doc__)
    parser.add_argument("bundles", type=Path, nargs="+", help="the first one draws the placements")
    parser.add_argument("--product", type=Path, required=True, help="the sample product they trained on")
    parser.add_argument("--count", type=int, default=60, help="pairs a defect")
    parser.add_argument("--steps", type=int, help="of all; by default each bundle's own")
    parser.add_argument("--renders", type=int, default=2000, help="that the judges learn from")
    parser.add_argument("--judges", type=Path, help="file that keeps the judges")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--backend", default=AUTO)
    parser.add_argument("--sheet", type=Path, default=RESULTS / "methods.png", help="(%(default)s)")
    parser.add_argument("--columns", type=int, default=6, help="pairs a row of the sheet")
    arguments = parser.parse_args()

    judges = arguments.judges and kept_judges(arguments.judges, arguments.renders)
    if judges is None:
        judges = train_judges(render(arguments.renders))
        if arguments.judges is not None:
            keep_judges(judges, arguments.judges, arguments.renders)
    generators = [Generator.open(bundle, arguments.backend) for bundle in arguments.bundles]
    folder = arguments.product / "test" / GOOD
    photographs, seed, steps = Backgrounds.of_folder(folder), arguments.seed, arguments.steps
    wanted = {kind: places(generators[0], photographs, kind, arguments.count, seed) for kind in CLASSES[1:]}
    passed, drawn = True, []
    print(f"{'method':18}{'defect':16}  type right  mask IoU  inside  first try  seconds an attempt")
    for generator in generators:
        method = generator.manifest.method
        weak = find_method(method).placement_source == BOXES
        bars = WEAK_BARS if weak else BARS
        looks = generator.manifest.generation.get(STRENGTH, 1.0) < 1
        if looks:
            generator.draw_onto(folder)
        for name in (method, f"{method} with looks") if looks else (method,):
            figures = {}
            for kind, asked in wanted.items():
                if name != method:
                    pairs, own = draw_own(generator, kind, arguments.count, seed, steps)
                else:
                    own = [boxed(place) for place in asked] if weak else asked
                    pairs = draw(generator, kind, own, seed, steps)
                row = figures[kind] = judged(judges, kind, pairs, own)
                drawn.append((f"{name}: {kind}", pairs, own))
                print(
                    f"{name:18}{kind:16}  {row['type_right']:10.2f}  {row['mask_iou']:8.2f}"
                    f"  {row['inside']:6.2f}  {row['first_try']:9.2f}  {row['seconds']:8.2f}",
                    flush=True,
                )
            met = {key: min(row[key] for row in figures.values()) >= bar for key, bar in bars.items()}
            passed &= all(met.values())
            sampler = generator.manifest.sampler
            write_entry(
                arguments.out,
                name,
                {
                    "count": arguments.count,
                    "renders": arguments.renders,
                    "seed": seed,
                    "masks": "boxes" if weak else "shapes",
                    "sampler": sampler.name,
                    "steps": steps or sampler.steps,
                    "guidance": sampler.guidance,
                    "backend": generator.backend.name,
                    "defects": figures,
                    "bars": bars,
                    "met": met,
                },
            )
            print(f"{name}: bars {bars}, met {met}")
    arguments.sheet.parent.mkdir(parents=True, exist_ok=True)
    sheet(drawn, arguments.columns).save(arguments.sheet)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())

"""Are generated pairs of the sample product what they say? Judged by networks trained on fresh renders alone.

    python benchmarks/sample_quality.py out/bottle/bundle --product out/bottle/sample/bottle

Three questions, each with its bar: does an independent segmenter see the defect where the pair's mask says it
is; does an independent classifier see the defect type that was asked for; is no generated picture nearer to a
training picture than training pictures are to each other's rotations and flips (memorisation). Exits with 1
where a bar is missed.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
from judges import (
    CLASSES,
    SIZE,
    Judges,
    keep_judges,
    kept_judges,
    render,
    shrink,
    shrink_mask,
    train_judges,
)
from machine import result_parser, write_result
from numpy.typing import NDArray
from PIL import Image

from seas_runtime import Generator
from seas_runtime.backends.contract import AUTO
from seas_runtime.errors import CheckFailed
from seas_runtime.figures import iou, overlap
from seas_runtime.manifest.types import GOOD
from seas_train.data import Product, load_product

BARS = {"mask_iou": 0.5, "type_right": 0.8, "normal_called_good": 0.9, "memorisation_ratio": 1.0}
_THUMBNAIL = 64  # pixels a side at which pictures are compared with each other


def judge_product(
    generator: Generator, judges: Judges, count: int, seed: int, batch: int
) -> tuple[dict, NDArray]:  # type: ignore[type-arg]
    """Generate and judge `count` pairs of every class; return the figures and all thumbnails."""
    rows: dict[str, dict[str, float]] = {}
    thumbnails: list[NDArray[np.float32]] = []
    for number, kind in enumerate(CLASSES):
        started = time.perf_counter()
        pairs = [pair for pair in generator.generate(kind, count, seed, batch=batch) if pair.record.accepted]
        if not pairs:
            raise CheckFailed(f"{kind}: expected {count} pairs to judge, found that the gates accepted none")
        images = np.stack([shrink(pair.image) for pair in pairs])
        ours = np.stack([shrink_mask(pair.mask > 0) for pair in pairs])
        theirs, classes = judges.judge(images)
        rows[kind] = {
            "accepted": len(pairs),
            "first_try": sum(len(pair.record.attempts) == 1 for pair in pairs) / count,
            "type_right": float((classes == number).mean()),
            "mask_iou": iou(*overlap(ours, theirs)),
            "mask_share": float(ours.mean()),
        }
        thumbnails.extend(thumbnail(pair.image) for pair in pairs)
        _say(f"{kind}: {rows[kind]} in {time.perf_counter() - started:.0f} s")
    return rows, np.stack(thumbnails)


def thumbnail(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """A picture uint8 `[H, W, 3]` as a flat float32 vector of a small area-averaged copy, 0..1."""
    small = Image.fromarray(image).resize((_THUMBNAIL, _THUMBNAIL), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float32).ravel() / 255


def symmetries(image: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """The eight rotations by quarter turns and flips of a picture: the augmentations of fine-tuning."""
    turned = [np.rot90(image, turns) for turns in range(4)]
    return [np.ascontiguousarray(view) for turn in turned for view in (turn, turn[:, ::-1])]


def nearest(queries: NDArray[np.float32], references: NDArray[np.float32]) -> NDArray[np.float32]:
    """For every row of `queries` the root-mean-square distance to the nearest row of `references`."""
    return np.stack([np.sqrt(np.square(references - query).mean(axis=1)).min() for query in queries])


def memorisation(product: Product, generated: NDArray[np.float32]) -> dict[str, float]:
    """Distances of generated pictures to training ones, and of training pictures to each other."""
    paths = [*product.normals, *(pair.image for defect in product.defects for pair in defect.train)]
    originals = [product.image(path) for path in paths]
    augmented = [np.stack([thumbnail(view) for view in symmetries(image)]) for image in originals]
    to_others = [
        nearest(thumbnail(image)[None], np.concatenate(augmented[:index] + augmented[index + 1 :]))[0]
        for index, image in enumerate(originals)
    ]
    to_training = nearest(generated, np.concatenate(augmented))
    return {
        "generated_to_training_min": float(to_training.min()),
        "generated_to_training_median": float(np.median(to_training)),
        "training_to_training_min": float(np.min(to_others)),
        "training_to_training_median": float(np.median(to_others)),
        "memorisation_ratio": float(to_training.min() / np.min(to_others)),
    }


def verdict(rows: dict[str, dict[str, float]], distances: dict[str, float]) -> dict[str, bool]:
    """Which bars are met."""
    defects = [rows[kind] for kind in CLASSES[1:]]
    return {
        "mask_iou": min(row["mask_iou"] for row in defects) >= BARS["mask_iou"],
        "type_right": min(row["type_right"] for row in defects) >= BARS["type_right"],
        "normal_called_good": rows[GOOD]["type_right"] >= BARS["normal_called_good"],
        "memorisation_ratio": distances["memorisation_ratio"] >= BARS["memorisation_ratio"],
    }


def main() -> int:
    """Train the judges, judge, write the figures."""
    parser = result_parser("sample_quality", __doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument(
        "--product", type=Path, required=True, help="the sample product that the bundle was trained on"
    )
    parser.add_argument("--count", type=int, default=60, help="generated pairs a class")
    parser.add_argument("--renders", type=int, default=2000, help="fresh renders that the judges learn from")
    parser.add_argument(
        "--judges", type=Path, help="file that keeps the judges: taken from it, or trained and put there"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--backend", default=AUTO, help="what generates, by default as `build` does")
    arguments = parser.parse_args()

    judges = arguments.judges and kept_judges(arguments.judges, arguments.renders)
    if judges is None:
        _say(f"training the judges on {arguments.renders} fresh renders")
        judges = train_judges(render(arguments.renders))
        if arguments.judges is not None:
            keep_judges(judges, arguments.judges, arguments.renders)
    held_out = render(200, validation=True)
    masks, classes = judges.judge(held_out.images)
    on_renders = {
        "mask_iou": iou(*overlap(masks, held_out.masks)),
        "type_right": float((classes == held_out.classes).mean()),
    }
    _say(f"judges on 200 held-out renders: {on_renders}")

    generator = Generator.open(arguments.bundle, arguments.backend)
    rows, thumbnails = judge_product(generator, judges, arguments.count, arguments.seed, arguments.batch)
    product = load_product(arguments.product, size=generator.manifest.image.height)
    distances = memorisation(product, thumbnails)
    met = verdict(rows, distances)
    write_result(
        arguments.out,
        {
            "setting": {
                "count": arguments.count,
                "renders": arguments.renders,
                "seed": arguments.seed,
                "judged_at": SIZE,
                "backend": {"name": generator.backend.name, **generator.backend.identity(generator.bundle)},
            },
            "judges_on_held_out_renders": on_renders,
            "generated": rows,
            "memorisation": distances,
            "bars": BARS,
            "met": met,
        },
    )
    _say(f"memorisation: {distances}\nbars met: {met}\nwritten: {arguments.out}")
    return 0 if all(met.values()) else 1


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main())

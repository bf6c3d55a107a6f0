"""Are generated pairs of the sample product what they say? Judged by networks trained on fresh renders alone.

    python benchmarks/sample_quality.py out/bottle/bundle --product out/bottle/sample/bottle

Three questions, each with its bar: does an independent segmenter see the defect where the pair's mask says it
is; does an independent classifier see the defect type that was asked for; is no generated picture nearer to a
training picture than training pictures are to each other's rotations and flips (memorisation). Exits with 1
where a bar is missed.

How much pictures of a class differ is told beside: the mean distance of two of them by EfficientNet-Lite0's
features (of the extra `prove`; None without it): a student's is to be 0.9 of its teacher's. That of the
product's photographs is told too: what lies above it is not the product.

With `--placed` pairs are drawn into the product's held-out normals (test/good), which no training saw; the
third question is then how many pass the gates at the first try. Figures go to another file.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

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
from machine import RESULTS, result_parser, write_result
from numpy.typing import NDArray
from PIL import Image

from seas_export.proof.evaluate.features import Lite0
from seas_export.proof.evaluate.formulas import mean_pairwise
from seas_runtime import Generator
from seas_runtime.backends.contract import AUTO
from seas_runtime.errors import CheckFailed, UserError
from seas_runtime.figures import iou, overlap
from seas_runtime.generation.records import GeneratedPair
from seas_runtime.manifest.types import GOOD
from seas_runtime.methods.request import Placing
from seas_runtime.methods.seas_options import SeasOptions
from seas_train.data import Product, load_product

BARS = {"mask_iou": 0.5, "type_right": 0.8, "normal_called_good": 0.9, "memorisation_ratio": 1.0}
PLACED_BARS = {"mask_iou": 0.75, "type_right": 0.9, "first_try": 0.9, "normal_called_good": 0.9}
_THUMBNAIL = 64  # pixels a side at which pictures are compared with each other


def judge_product(
    generator: Generator,
    judges: Judges,
    count: int,
    seed: int,
    batch: int,
    placing: Placing | None,
    strength: float | None = None,
) -> tuple[dict[str, dict[str, Any]], NDArray[np.float32]]:
    """Generate and judge `count` pairs of every class; return the figures and all thumbnails."""
    rows: dict[str, dict[str, Any]] = {}
    thumbnails: list[NDArray[np.float32]] = []
    for number, kind in enumerate(CLASSES):
        started = time.perf_counter()
        options = None if strength is None else SeasOptions(strength=strength)
        every = list(generator.generate(kind, count, seed, batch=batch, placing=placing, options=options))
        pairs = [pair for pair in every if pair.record.accepted]
        if not pairs:
            rows[kind] = {"accepted": 0, "first_try": 0.0, "type_right": 0.0, "mask_iou": 0.0}
            rows[kind]["rejected"] = rejections(every)
            _say(f"{kind}: the gates accepted none of {count}: {rows[kind]['rejected']}")
            continue
        images = np.stack([shrink(pair.image) for pair in pairs])
        ours = np.stack([shrink_mask(pair.mask > 0) for pair in pairs])
        theirs, classes = judges.judge(images)
        rows[kind] = {
            "accepted": len(pairs),
            "first_try": sum(len(pair.record.attempts) == 1 for pair in pairs) / count,
            "type_right": float((classes == number).mean()),
            "mask_iou": iou(*overlap(ours, theirs)),
            "mask_share": float(ours.mean()),
            "diversity": diversity([pair.image for pair in pairs]),
            "rejected": rejections(every),
            **({"score": float(np.median(scores))} if (scores := scores_of(pairs)) else {}),
        }
        thumbnails.extend(thumbnail(pair.image) for pair in pairs)
        _say(f"{kind}: {rows[kind]} in {time.perf_counter() - started:.0f} s")
    if not thumbnails:
        raise CheckFailed(f"expected pairs to judge, found that the gates accepted none: {rows}")
    return rows, np.stack(thumbnails)


@cache
def network() -> Lite0 | None:
    """What tells pictures apart, as for `evaluate`; None where the extra is not installed."""
    try:
        return Lite0()
    except UserError:
        return None


def diversity(images: Sequence[NDArray[np.uint8]]) -> float | None:
    """The mean distance of two pictures [H, W, 3], as `evaluate` measures it; None where it cannot be."""
    lite0 = network()
    return mean_pairwise(lite0.distances(images, images)) if lite0 and len(images) > 1 else None


def photographs_diversity(product: Product) -> dict[str, float | None]:
    """The same of all photographs of each class, those that train and those held out."""
    kinds = {GOOD: [*product.normals, *product.test_normals]}
    for defect in product.defects:
        kinds[defect.name] = [pair.image for pair in (*defect.train, *defect.test)]
    return {kind: diversity([product.image(path) for path in paths]) for kind, paths in kinds.items()}


def rejections(pairs: Sequence[GeneratedPair]) -> dict[str, int]:
    """How many attempts each gate rejected."""
    attempts = (attempt for pair in pairs for attempt in pair.record.attempts)
    return dict(Counter(attempt.rejected.split(": ")[0] for attempt in attempts if attempt.rejected))


def scores_of(pairs: Sequence[GeneratedPair]) -> list[float]:
    """The scores of pairs that have one."""
    return [pair.record.score for pair in pairs if pair.record.score is not None]


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


def verdict(
    rows: dict[str, dict[str, Any]], distances: dict[str, float], bars: dict[str, float]
) -> dict[str, bool]:
    """Which bars are met: of defects by the worst."""
    defects = [rows[kind] for kind in CLASSES[1:]]
    figures = {
        **{name: min(row[name] for row in defects) for name in ("mask_iou", "type_right", "first_try")},
        "normal_called_good": rows[GOOD]["type_right"],
        **distances,
    }
    return {name: figures[name] >= bar for name, bar in bars.items()}


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
    parser.add_argument(
        "--placed", action="store_true", help="judge placed pairs, drawn into the product's held-out normals"
    )
    parser.add_argument(
        "--strength", type=float, default=None, help="of placed pairs, by default the bundle's"
    )
    arguments = parser.parse_args()
    if arguments.placed and arguments.out == parser.get_default("out"):
        arguments.out = RESULTS / "sample_quality_placed.json"

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
    placing, bars = (Placing(), PLACED_BARS) if arguments.placed else (None, BARS)
    if placing is not None:
        generator.draw_onto(arguments.product / "test" / GOOD)
    rows, thumbnails = judge_product(
        generator, judges, arguments.count, arguments.seed, arguments.batch, placing, arguments.strength
    )
    product = load_product(arguments.product, size=generator.manifest.image.height)
    # A placed pair is a photograph for the most part.
    distances = memorisation(product, thumbnails) if placing is None else {}
    met = verdict(rows, distances, bars)
    write_result(
        arguments.out,
        {
            "setting": {
                "count": arguments.count,
                "renders": arguments.renders,
                "seed": arguments.seed,
                "judged_at": SIZE,
                "pairs": "placed" if arguments.placed else "whole pictures",
                **({} if arguments.strength is None else {"strength": arguments.strength}),
                **({"photographs": len(generator.backgrounds)} if arguments.placed else {}),
                "backend": {"name": generator.backend.name, **generator.backend.identity(generator.bundle)},
            },
            "judges_on_held_out_renders": on_renders,
            "generated": rows,
            "diversity_of_photographs": photographs_diversity(product),
            **({"memorisation": distances} if distances else {}),
            "bars": bars,
            "met": met,
        },
    )
    _say(f"memorisation: {distances or 'not measured'}\nbars met: {met}\nwritten: {arguments.out}")
    return 0 if all(met.values()) else 1


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main())

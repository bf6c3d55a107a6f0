"""Does a segmenter that knows real defects alone find those that were drawn into photographs?

    python benchmarks/placed_found.py out/tiles/dataset --product ../shared/data/magnetic_tile

It is trained on the product's held-out pairs and normals, which no fine-tuning saw. Then it looks at each
accepted pair of the data set: its defect is found where 30 % of its mask are called defect.
Beside it stand what it finds of the real pairs that trained the generator, which it never saw either, and its
false regions on their normals. Exits with 1 where it finds fewer than half of any defect's placed pairs, or
fewer than 70 % of all pairs passed their gates at the first try.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from machine import result_parser, write_entry

from seas_export.proof.measures.counts import FOUND, Counts, count
from seas_export.proof.sets.held_out import Half, choose_scale, held_out, real_normals, real_pairs
from seas_export.proof.sets.named import read_named
from seas_runtime.manifest.types import GOOD
from seas_train.data import load_product
from seas_train.proof.crops import Sources
from seas_train.proof.fitting import Recipe, fit
from seas_train.proof.pictures import Pictures, Sample
from seas_train.proof.segmenters.contract import Segmenter
from seas_train.proof.tiles import find_defects

FOUND_BAR, FIRST_BAR = 0.5, 0.7


def looked_at(model: Segmenter, pictures: Pictures, samples: Sequence[Sample]) -> Counts:
    """Return the counts of each picture, at the size that the segmenter sees."""
    found = []
    for sample in samples:
        pixels, mask = pictures.read(sample)
        found.append(count(find_defects(model, pixels, "cpu"), mask))
    return Counts.joined(found)


def share_found(counts: Counts, samples: Sequence[Sample]) -> dict[str, dict[str, Any]]:
    """Return, of each defect, how many pairs there are, and the share whose mask is found."""
    names = np.array([sample.defect for sample in samples])
    rows = {}
    for name in sorted({*names} - {GOOD}):
        of = counts.of(names == name)
        marked = of.levels[:, 1].sum(axis=1)
        rows[str(name)] = {
            "pairs": int((names == name).sum()),
            "found": round(float((of.overlap >= FOUND * marked).mean()), 3),
            "iou": round(int(of.overlap.sum()) / max(1, int(of.either.sum())), 3),
        }
    return rows


def first_tries(dataset: Path) -> dict[str, float]:
    """Return the share of each defect's pairs that passed at the first try."""
    tries: dict[str, list[bool]] = {}
    for line in (dataset / "records.jsonl").read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        once = record["accepted"] and len(record["attempts"]) == 1
        tries.setdefault(record["defect"], []).append(once)
    return {name: round(sum(found) / len(found), 3) for name, found in tries.items() if name != GOOD}


def main() -> int:
    """Train, look, print a table, write the figures."""
    parser = result_parser("placed_found", __doc__)
    parser.add_argument("dataset", type=Path, help="what generate wrote")
    parser.add_argument("--product", type=Path, required=True, help="folder of the product's photographs")
    parser.add_argument("--size", type=int, default=256, help="of the base's pictures")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=Recipe().rate, help="learning rate at its height")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    product = load_product(arguments.product, size=arguments.size)
    pictures = Pictures(product.preprocessing)
    scale = choose_scale(product, pictures)
    rest = held_out(product, scale, Half.ALL)
    sources = Sources(
        real=tuple(sample for sample in rest if sample.defect != GOOD),
        real_normals=tuple(sample for sample in rest if sample.defect == GOOD),
    )
    recipe = Recipe(steps=arguments.steps, rate=arguments.rate)
    model = fit(recipe, pictures, sources, arguments.seed, "cpu")
    placed = read_named("placed", arguments.dataset, product, scale, rest).pairs
    known, normals = real_pairs(product, scale), real_normals(product, scale)
    rows = share_found(looked_at(model, pictures, placed), placed)
    real = share_found(looked_at(model, pictures, known), known)
    false = int(looked_at(model, pictures, normals).false_regions.sum())
    first = first_tries(arguments.dataset)
    every = float(np.mean(list(first.values()))) if first else 0.0
    print(f"{'defect':16}  pairs  found   IoU  first try  real found")
    for name, row in rows.items():
        print(
            f"{name:16}  {row['pairs']:5}  {row['found']:5.2f}  {row['iou']:.2f}  {first.get(name, 0):9.2f}"
            f"  {real.get(name, {}).get('found', 0):10.2f}"
        )
    print(f"false regions on {len(normals)} normals: {false}; at the first try in all: {every:.2f}")
    passed = bool(rows) and min(row["found"] for row in rows.values()) >= FOUND_BAR and every >= FIRST_BAR
    print(f"bars: {FOUND_BAR:.0%} found of each defect, {FIRST_BAR:.0%} at the first try: {passed}")
    write_entry(
        arguments.out,
        f"{product.name} at {recipe.rate:g}",
        {
            "benchmark": "placed_found",
            "recipe": recipe.to_dict(),
            "seed": arguments.seed,
            "placed": rows,
            "first_try": first,
            "real": real,
            "normals": {"pictures": len(normals), "false_regions": false},
            "bars": {"found": FOUND_BAR, "first_try": FIRST_BAR},
            "passed": passed,
        },
    )
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())

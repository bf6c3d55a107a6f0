"""Do generated masks have their defect's shape? A classifier that learned from rendered masks names them.

    seas-export masks bundle --defect broken_large --defect broken_small --defect contamination \\
        --count 60 --out masks
    python benchmarks/mask_model.py masks --product out/seas/sample/bottle

The bundle is AnomalyDiffusion's, of the sample product. Three figures a defect: the share that the classifier
names rightly, the share that was accepted, and how many are a mask of the product again, under some flip or
quarter turn (IoU 0.95 and more). Exits with 1 where a bar is missed.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from judges import CLASSES, Classifier, render, shrink_mask
from machine import result_parser, write_result
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

BARS = {"type_right": 0.7, "accepted": 0.8}
SAME = 0.95
"""IoU from which a mask is held for a copy."""
EPOCHS, BATCH = 12, 32


def read(folder: Path) -> NDArray[np.bool_]:
    """Return the masks of a folder, [N, S, S], at the judges' size."""
    files = sorted(folder.glob("*.png"))
    if not files:
        raise SystemExit(f"{folder}: expected masks, found no .png")
    return np.stack([shrink_mask(np.asarray(Image.open(file).convert("L")) > 127) for file in files])


def train(masks: NDArray[np.bool_], classes: NDArray[np.int64], seed: int) -> Classifier:
    """Train a classifier on rendered masks, flipped, turned and moved; classes are those of `CLASSES`."""
    torch.manual_seed(seed)
    random = torch.Generator().manual_seed(seed)
    model = Classifier()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    steps = EPOCHS * (len(masks) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=4e-3, total_steps=steps)
    for _ in range(EPOCHS):
        order = torch.randperm(len(masks), generator=random).numpy()
        for start in range(0, len(order) - BATCH + 1, BATCH):
            chosen = order[start : start + BATCH]
            pictures = torch.rot90(
                pictured(masks[chosen]), int(torch.randint(0, 4, (), generator=random)), (2, 3)
            )
            if torch.rand((), generator=random) < 0.5:
                pictures = pictures.flip(3)
            moved = [int(torch.randint(-24, 25, (), generator=random)) for _ in range(2)]
            pictures = torch.roll(pictures, moved, (2, 3))
            loss = functional.cross_entropy(model(pictures), torch.from_numpy(classes[chosen]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def pictured(masks: NDArray[np.bool_]) -> Tensor:
    """Return masks as pictures [N, 3, S, S], -1 and 1."""
    return torch.from_numpy(masks).float()[:, None].expand(-1, 3, -1, -1) * 2 - 1


@torch.inference_mode()
def share_right(model: Classifier, masks: NDArray[np.bool_], kind: str) -> float:
    """Return the share of masks that are named after their defect, among defects."""
    logits = model(pictured(masks))
    logits[:, 0] = -torch.inf  # `good` has no mask
    return round(float((logits.argmax(1) == CLASSES.index(kind)).float().mean()), 4)


def copies(masks: NDArray[np.bool_], known: NDArray[np.bool_]) -> int:
    """Return how many masks are one of the known ones under a flip or a quarter turn."""
    found = 0
    for mask in masks:
        turned = [np.rot90(side, k) for side in (mask, mask[:, ::-1]) for k in range(4)]
        best = max(
            float((one & other).sum() / max(1, (one | other).sum())) for one in turned for other in known
        )
        found += best >= SAME
    return found


def main() -> int:
    """Train, judge, print and write."""
    parser = result_parser("mask_model", __doc__)
    parser.add_argument("masks", type=Path, help="made by `seas-export masks`")
    parser.add_argument("--product", type=Path, required=True, help="the sample product it was trained on")
    parser.add_argument("--renders", type=int, default=500, help="rendered masks a defect")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    told = json.loads((options.masks / "masks.json").read_text(encoding="utf-8"))
    renders = render(options.renders * len(CLASSES))
    kept = renders.classes > 0
    model = train(renders.masks[kept], renders.classes[kept], options.seed)
    fresh = render(50 * len(CLASSES), validation=True)
    figures: dict[str, Any] = {}
    for place, kind in enumerate(CLASSES[1:], 1):
        masks = read(options.masks / kind)
        figures[kind] = {
            "masks": len(masks),
            "type_right": share_right(model, masks, kind),
            "type_right_of_fresh_renders": share_right(model, fresh.masks[fresh.classes == place], kind),
            "accepted": accepted(told, kind),
            "copies": copies(masks, read(options.product / "ground_truth" / kind)),
        }
        print(kind, figures[kind], flush=True)
    met = {key: all(row[key] >= bar for row in figures.values()) for key, bar in BARS.items()}
    met["copies"] = not any(row["copies"] for row in figures.values())
    result = {
        "benchmark": "mask_model",
        "renders": options.renders,
        "seed": options.seed,
        "defects": figures,
        "bars": {**BARS, "copies": 0},
        "met": met,
    }
    write_result(options.out, result)
    return 0 if all(met.values()) else 1


def accepted(told: dict[str, Any], kind: str) -> float:
    """Return the share of a defect's masks that passed: no other is written."""
    return round(sum(row["defect"] == kind for row in told["masks"]) / int(told["count"]), 4)


if __name__ == "__main__":
    sys.exit(main())

"""Writes the model card that ships beside the weights, from the logs of the training that made them."""

import json
from pathlib import Path
from textwrap import fill
from typing import Any

from seas_train.bases.micro.world.world import families

_CARD = """---
license: apache-2.0
library_name: diffusers
pipeline_tag: text-to-image
---

# micro

A Stable Diffusion 1.x in miniature: the same parts in the same folder format, {parameters} million
parameters, {size} MB in float16. It is there so that every step of seas-export, from fine-tuning to an
engine, can be run and tested in minutes on a plain CPU, without downloading anything. It makes 256x256
images.

    from diffusers import StableDiffusionPipeline
    pipeline = StableDiffusionPipeline.from_pretrained("{folder}", safety_checker=None)
    pipeline("a round metal lid on a white background with a dark stain", guidance_scale=4)

## What it was trained on

Pictures drawn by the code in this folder and nothing else: no photographs, no scraped data, no weights of
other models. `world.py` draws {count} families of scenes, each with a caption:

{families}.

About 38 % are round parts seen from above, 27 % other parts, 35 % surfaces; the U-Net's full-size batches
drew 60 % round parts. 40 % carry a generic flaw
(scratch, stain, spots, thread, hole, dent, crack, smear, lump) that the caption names, or calls a defect.
Neither the sample product's images nor its defects are among them.

## How it was trained

On two shared CPU cores, in bfloat16 autocast, from random weights, seed {seed}.

| part | loss | steps | minutes | loss at the end |
| --- | --- | --- | --- | --- |
| autoencoder | L1, edges, coarse colour, little KL | {vae_steps} | {vae_minutes} | {vae_loss} |
| U-Net, text encoder | squared error of the noise | {unet_steps} | {unet_minutes} | {unet_loss} |

{note}The U-Net saw half-size scenes (128x128) first, then full size. The tokenizer's byte pairs were learnt
from the captions. The weights are exponential averages. The autoencoder's latents are normalised per channel,
exactly, within its 1x1 convolutions: times the scaling factor 0.18215 they have zero mean and unit variance
over the world. The noise schedule is Stable Diffusion 1.4's.

Both trainings are bounded by the clock, so a faster machine makes a better model. To make it again:

    python -m seas_train.bases.micro vae --work WORK --minutes {vae_minutes}
    python -m seas_train.bases.micro encode --work WORK
    python -m seas_train.bases.micro unet --work WORK --minutes {unet_minutes}
    python -m seas_train.bases.micro card --work WORK

## What it is good for, and not

Good for: developing, testing and demonstrating seas-export; fine-tuning on a centred part with plain
surroundings.

Not good for: judging what SeaS can do, or making data for a real line. For that, use Stable Diffusion 1.4
or a compressed relative of it. It knows 64 words, cannot draw people, places or writing, has never
seen a photograph, and its images are soft. The autoencoder keeps edges and loses the finest grain, and of
colour it keeps one axis only, from red to blue-green. Round parts, cables and most surfaces are recognisable;
screws, pills and other small parts are not, and plain backgrounds come out greyer than asked for.
{reconstruction}
## Licence

Apache-2.0, as the code that made it.
"""


def write_card(
    work: Path, out: Path, folder: str, reconstruction: Path | None = None, note: str = ""
) -> Path:
    """Write `out/README.md` from the logs under `work`.

    Args:
        work: the folder that the trainings worked in.
        out: folder of the assembled base.
        folder: how the card's example names that folder.
        reconstruction: a result of benchmarks/micro_vae.py to quote, if there is one.
        note: what else there is to say about how it was trained.
    """
    vae, unet = (_read(work / run / "log.json") for run in ("vae_run", "unet_run"))
    size = sum(path.stat().st_size for path in out.rglob("*.safetensors"))
    text = _CARD.format(
        parameters=round(size / 2e6, 1),
        size=round(size / 1e6),
        folder=folder,
        count=len(families()),
        families=fill(", ".join(family.replace("_", " ") for family in families()), 110),
        seed=vae["optimisation"]["seed"],
        vae_steps=vae["steps"],
        vae_minutes=round(vae["minutes"]),
        vae_loss=_last_loss(vae),
        unet_steps=unet["steps"],
        unet_minutes=round(unet["minutes"]),
        unet_loss=_last_loss(unet),
        reconstruction=_reconstruction(reconstruction),
        note=fill(note, 108) + "\n\n" if note else "",
    )
    path = out / "README.md"
    path.write_text(text, encoding="utf-8")
    return path


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _last_loss(log: Any) -> str:
    """Mean loss over the last tenth of the training; one line of the log is too noisy."""
    lines = log["losses"][-max(1, len(log["losses"]) // 10) :]
    return f"{sum(loss for _, _, loss in lines) / len(lines):.4f}"


def _reconstruction(path: Path | None) -> str:
    if path is None or not path.exists():
        return ""
    lines = ["", "Photographs it never saw, encoded and decoded (`benchmarks/micro_vae.py`):", ""]
    for product, figures in _read(path)["products"].items():
        mean, count = figures["psnr_mean_db"], figures["images"]
        lines.append(f"- {product}: {mean:.1f} dB mean PSNR over {count} images")
    return "\n".join([*lines, ""])

"""How well the shipped base's autoencoder reconstructs photographs it was never trained on.

    python benchmarks/micro_vae.py DATA [--vae FOLDER]

DATA holds `bottle` (MVTec AD) and `magnetic_tile`, in MVTec AD layout. Images are brought to 256x256 (short
side resized, centre cropped), encoded to the posterior mean, decoded, rounded to 8 bits and compared. Writes
benchmarks/results/micro_vae.json.
"""

from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from machine import result_parser, write_result
from numpy.typing import NDArray
from PIL import Image

from seas_runtime.figures import psnr, squared_error
from seas_train.bases.micro import MICRO_PATH

BARS = {"bottle": 25.0, "magnetic_tile": 27.0}  # dB, mean over a product's images
SIZE = 256


def load_square(path: Path) -> NDArray[np.uint8]:
    """An image as uint8 RGB `[256, 256, 3]`: short side resized to 256, centre cropped."""
    with Image.open(path) as file:
        image = file.convert("RGB")
    scale = SIZE / min(image.size)
    width, height = (max(SIZE, round(side * scale)) for side in image.size)
    image = image.resize((width, height), Image.Resampling.LANCZOS)
    left, top = (width - SIZE) // 2, (height - SIZE) // 2
    return np.asarray(image.crop((left, top, left + SIZE, top + SIZE)))


@torch.no_grad()
def reconstruct(vae: AutoencoderKL, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Encode to the posterior mean and decode; uint8 `[256, 256, 3]` in and out."""
    tensor = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
    output = vae.decode(vae.encode(tensor).latent_dist.mean).sample[0]
    return ((output.permute(1, 2, 0).clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).numpy()


def main() -> None:
    """Measure each product, print and write the figures."""
    parser = result_parser("micro_vae", __doc__)
    parser.add_argument("data", type=Path, help="folder that holds bottle/ and magnetic_tile/")
    parser.add_argument("--vae", type=Path, default=MICRO_PATH / "vae", help="folder of the autoencoder")
    parser.add_argument("--every", type=int, default=1, help="measure every n-th image only")
    arguments = parser.parse_args()
    vae = AutoencoderKL.from_pretrained(arguments.vae, torch_dtype=torch.float32).eval()
    products = {}
    for product, bar in BARS.items():
        folder = arguments.data / product
        paths = sorted(
            p
            for part in ("train", "test")
            for p in (folder / part).rglob("*")
            if p.suffix in (".png", ".jpg")
        )
        if not paths:
            raise SystemExit(f"{folder}: expected images in train/ and test/, found none")
        values = []
        for path in paths[:: arguments.every]:
            image = load_square(path)
            values.append(psnr(squared_error(image, reconstruct(vae, image)), image.size))
        products[product] = {
            "images": len(values),
            "psnr_mean_db": round(float(np.mean(values)), 3),
            "psnr_lowest_db": round(min(values), 3),
            "psnr_highest_db": round(max(values), 3),
            "bar_db": bar,
        }
        print(product, products[product])
    result = {
        "what": "reconstruction by the shipped autoencoder of photographs it never saw, 256x256, float32",
        "products": products,
        "measured": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    write_result(arguments.out, result)
    missed = [product for product, figures in products.items() if figures["psnr_mean_db"] < figures["bar_db"]]
    if missed:
        raise SystemExit(f"below the bar: {', '.join(missed)}")


if __name__ == "__main__":
    main()

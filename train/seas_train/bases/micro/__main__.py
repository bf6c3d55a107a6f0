"""`python -m seas_train.bases.micro`: makes the shipped base, step by step.

    vae       render the world and train the autoencoder
    encode    encode the world with it
    unet      train the U-Net and the text encoder on that; writes a base at every save
    card      write the model card beside the weights

Each step may be killed and started again with the same options; it goes on where it was.
"""

import argparse
import logging
from functools import partial
from pathlib import Path

from seas_runtime.errors import UserError
from seas_train.bases.micro import MICRO_PATH
from seas_train.bases.micro.training.loop import Budget


def _vae(arguments: argparse.Namespace) -> None:
    from seas_train.bases.micro.training import cache
    from seas_train.bases.micro.training.autoencoder import AutoencoderSettings, train_autoencoder
    from seas_train.bases.micro.training.workers import run_workers

    settings = AutoencoderSettings(seed=arguments.seed)
    cache.scenes(arguments.work / "world", settings.seed, settings.scenes)
    cache.textures(arguments.work / "world", settings.seed, settings.textures)
    budget = Budget(minutes=arguments.minutes)
    run_workers(partial(train_autoencoder, arguments.work, budget, settings), arguments.workers)


def _encode(arguments: argparse.Namespace) -> None:
    from seas_train.bases.micro.training import cache
    from seas_train.bases.micro.training.denoiser import DenoiserSettings, encode_part
    from seas_train.bases.micro.training.workers import run_workers

    settings = DenoiserSettings(seed=arguments.seed)
    cache.scenes(arguments.work / "world", settings.seed, settings.scenes)
    run_workers(partial(encode_part, arguments.work, settings, arguments.workers), arguments.workers)


def _unet(arguments: argparse.Namespace) -> None:
    from seas_train.bases.micro.training.denoiser import DenoiserSettings, require_latents, train_denoiser
    from seas_train.bases.micro.training.workers import run_workers

    settings = DenoiserSettings(seed=arguments.seed)
    require_latents(arguments.work, settings, arguments.workers)
    budget = Budget(minutes=arguments.minutes)
    train = partial(train_denoiser, arguments.work, budget, settings, arguments.workers, arguments.out)
    run_workers(train, arguments.workers)


def _card(arguments: argparse.Namespace) -> None:
    from seas_train.bases.micro.card import write_card

    write_card(
        arguments.work,
        arguments.out,
        "train/seas_train/micro/weights",
        arguments.reconstruction,
        arguments.note,
    )


def main() -> None:
    """Parse the command line and run one step."""
    parser = argparse.ArgumentParser(
        prog="python -m seas_train.bases.micro",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    steps = parser.add_subparsers(required=True, metavar="STEP")
    vae = steps.add_parser("vae", help="train the autoencoder")
    vae.set_defaults(run=_vae)
    encode = steps.add_parser("encode", help="encode the world with the autoencoder")
    encode.set_defaults(run=_encode)
    unet = steps.add_parser("unet", help="train the U-Net and the text encoder")
    unet.set_defaults(run=_unet)
    card = steps.add_parser("card", help="write the model card")
    card.set_defaults(run=_card)
    card.add_argument("--reconstruction", type=Path, help="result of benchmarks/micro_vae.py to quote")
    card.add_argument("--note", default="", help="what else to say about how it was trained")
    for step in (unet, card):
        step.add_argument("--out", type=Path, default=MICRO_PATH, help="folder of the base to write")
    for step in (vae, encode, unet, card):
        step.add_argument(
            "--work", type=Path, required=True, help="folder for renderings and state (several GB)"
        )
    for step in (vae, unet):
        step.add_argument("--minutes", type=float, required=True, help="minutes to train, over all runs")
    for step in (vae, encode, unet):
        step.add_argument("--workers", type=int, default=2, help="processes to work with")
        step.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", force=True)
    try:
        arguments.run(arguments)
    except UserError as error:
        parser.exit(2, f"error: {error}\n")


if __name__ == "__main__":
    main()

"""An imported head without its neighbours gives nearly what the authors' gives with them."""

from __future__ import annotations

import copy

import pytest
import torch
from diffusers import DPMSolverMultistepScheduler
from torch import Tensor

from seas_train import Checkpoint, load_checkpoint
from seas_train.data import Product
from seas_train.methods.seas.authors.generation import read_generation
from seas_train.methods.seas.authors.importing import import_checkpoint
from seas_train.methods.seas.mask_head.network.head import MaskHead
from tests.authors import write_authors

PAIRS, STEPS, LAST = 64, 25, 3
Features = list[tuple[Tensor, Tensor, list[Tensor]]]
"""Of each of the last steps, of all pairs: the U-Net's two, and the VAE's."""


@pytest.fixture(scope="module")
def measured_on() -> Features:
    """The features that the import fed to the head, filled by it."""
    return []


@pytest.fixture(scope="module")
def imports(
    tmp_path_factory: pytest.TempPathFactory, tiny_product: Product, measured_on: Features
) -> dict[bool, Checkpoint]:
    """The same files, with the statistics kept and measured anew."""
    torch.set_num_threads(1)
    folder = write_authors(tmp_path_factory.mktemp("authors"))
    fed: Features = []
    forward = MaskHead.forward

    def record(head: MaskHead, low: Tensor, mid: Tensor, vae: list[Tensor]) -> Tensor:
        fed.append((low, mid, list(vae)))
        return forward(head, low, mid, vae)

    made = {}
    for keep in (True, False):
        generation = read_generation(folder, str(folder / "base"))
        mask, out = folder / "mask-checkpoint" / "rmp", folder / f"checkpoint-{keep}"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(MaskHead, "forward", record)
            import_checkpoint(generation, mask, tiny_product, out, keep_statistics=keep)
        made[keep] = load_checkpoint(out)
    for step in range(LAST):
        lows, mids, vaes = zip(*fed[step::LAST], strict=True)
        taps = [torch.cat(level) for level in zip(*vaes, strict=True)]
        measured_on.append((torch.cat(lows), torch.cat(mids), taps))
    return made


@torch.no_grad()
def features(checkpoint: Checkpoint) -> Features:
    """Those of each of the last three steps of 64 generated pairs, by hooks and diffusers' own sampler."""
    unet, vae = checkpoint.unet, checkpoint.vae
    seen: dict[str, Tensor] = {}
    blocks = {"low": unet.up_blocks[1], "mid": unet.up_blocks[2]}
    blocks |= {f"vae{number}": vae.decoder.up_blocks[number] for number in range(3)}
    hooks = [
        block.register_forward_hook(lambda _m, _i, out, name=name: seen.__setitem__(name, out))
        for name, block in blocks.items()
    ]
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1500, dtype=torch.float64) ** 2
    final = torch.cumprod(1 - betas, dim=0)[-1]
    generator = torch.Generator().manual_seed(11)
    start = checkpoint.references[torch.randint(len(checkpoint.references), (PAIRS,), generator=generator)]
    noise = torch.randn(start.shape, generator=generator)
    latents = (final.sqrt() * start + (1 - final).sqrt() * noise).float()
    defects = [checkpoint.defects[pair % len(checkpoint.defects)] for pair in range(PAIRS)]
    prompted = {defect: checkpoint.context(checkpoint.prompts[defect]) for defect in checkpoint.defects}
    contexts = torch.cat([checkpoint.context("").expand(PAIRS, -1, -1), *(prompted[d] for d in defects)])
    solver = DPMSolverMultistepScheduler.from_config(
        checkpoint.scheduler.config, final_sigmas_type="sigma_min", timestep_spacing="linspace"
    )
    solver.set_timesteps(STEPS)
    made = []
    for number, timestep in enumerate(solver.timesteps):
        without, conditional = unet(torch.cat([latents] * 2), timestep, contexts).sample.chunk(2)
        if number >= STEPS - LAST:
            vae.decode(latents / vae.config.scaling_factor)
            low, mid = (seen[name].chunk(2)[1] for name in ("low", "mid"))
            made.append((low, mid, [seen[f"vae{number}"] for number in range(3)]))
        predicted = without + checkpoint.meta["generation"]["guidance"] * (conditional - without)
        latents = solver.step(predicted, timestep, latents).prev_sample
    for hook in hooks:
        hook.remove()
    return made


@torch.no_grad()
def pair_maps(checkpoint: Checkpoint, made: Features, batch: bool) -> Tensor:
    """The mean of the last steps' maps [64,H,W], by the batch's statistics or the stored ones."""
    head = copy.deepcopy(checkpoint.artifacts["mask_head"]).train(batch)
    return torch.stack([head(low, mid, vae) for low, mid, vae in made]).mean(dim=0)


def apart(checkpoint: Checkpoint, kept: Checkpoint, made: Features) -> float:
    """The mean distance of maps by a checkpoint's stored statistics from those of the batch of all 64."""
    expected = pair_maps(kept, made, batch=True)
    return float((pair_maps(checkpoint, made, batch=False) - expected).abs().mean())


def test_measured_statistics_give_the_maps_of_batch_statistics(
    imports: dict[bool, Checkpoint], measured_on: Features
) -> None:
    """On the 64 pairs that were measured on."""
    assert [len(low) for low, _, _ in measured_on] == [PAIRS] * LAST
    found, kept = (apart(imports[keep], imports[True], measured_on) for keep in (False, True))
    print(f"mean distance of maps: measured {found:.4f}, kept {kept:.4f}")
    assert found <= 0.02
    assert kept > 0.2


def test_measured_statistics_serve_other_pairs(imports: dict[bool, Checkpoint]) -> None:
    """Made by the authors' loop as it is described. So few pixels scatter: the exact statistics of another 64
    pairs are 0.022 apart."""
    made = features(imports[True])
    found, kept = (apart(imports[keep], imports[True], made) for keep in (False, True))
    print(f"mean distance of maps, other pairs: measured {found:.4f}, kept {kept:.4f}")
    assert found <= 0.04
    assert kept > 0.2


def test_nothing_but_the_statistics_is_changed(imports: dict[bool, Checkpoint]) -> None:
    kept, measured = (imports[keep].artifacts["mask_head"].state_dict() for keep in (True, False))
    different = {name for name in kept if not torch.equal(kept[name], measured[name])}
    assert all(".stored_" in name for name in different)
    # The convolution that takes part in nothing keeps its norm's; all others are measured.
    assert different == {name for name in kept if ".stored_" in name and ".conv6." not in name}
    assert imports[True].fingerprint != imports[False].fingerprint
    assert not imports[False].artifacts["mask_head"].training

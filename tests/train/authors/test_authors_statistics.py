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
from tests.authors import write_authors

PAIRS, BATCH = 64, 16


@pytest.fixture(scope="module")
def imports(tmp_path_factory: pytest.TempPathFactory, tiny_product: Product) -> dict[bool, Checkpoint]:
    """The same files, with the statistics kept and measured anew."""
    torch.set_num_threads(1)
    folder = write_authors(tmp_path_factory.mktemp("authors"))
    made = {}
    for keep in (True, False):
        generation = read_generation(folder, str(folder / "base"))
        mask, out = folder / "mask-checkpoint" / "rmp", folder / f"checkpoint-{keep}"
        import_checkpoint(generation, mask, tiny_product, "plate", out, keep_statistics=keep)
        made[keep] = load_checkpoint(out)
    return made


@torch.no_grad()
def features(checkpoint: Checkpoint) -> list[tuple[Tensor, Tensor, list[Tensor]]]:
    """Those of the last step of 64 generated pairs, by hooks and diffusers' own sampler."""
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
    made = []
    for first in range(0, PAIRS, BATCH):
        chosen = torch.randint(len(checkpoint.references), (BATCH,), generator=generator)
        start = checkpoint.references[chosen]
        noise = torch.randn(start.shape, generator=generator)
        latents = (final.sqrt() * start + (1 - final).sqrt() * noise).float()
        defect = checkpoint.defects[first // BATCH % len(checkpoint.defects)]
        contexts = torch.cat(
            [checkpoint.context(text).expand(BATCH, -1, -1) for text in ("", checkpoint.prompts[defect])]
        )
        solver = DPMSolverMultistepScheduler.from_config(
            checkpoint.scheduler.config, final_sigmas_type="sigma_min", timestep_spacing="linspace"
        )
        solver.set_timesteps(25)
        for timestep in solver.timesteps:
            without, conditional = unet(torch.cat([latents] * 2), timestep, contexts).sample.chunk(2)
            before = latents
            predicted = without + checkpoint.meta["generation"]["guidance"] * (conditional - without)
            latents = solver.step(predicted, timestep, latents).prev_sample
        vae.decode(before / vae.config.scaling_factor)
        low, mid = (seen[name].chunk(2)[1] for name in ("low", "mid"))
        made.append((low, mid, [seen[f"vae{number}"] for number in range(3)]))
    for hook in hooks:
        hook.remove()
    return made


def test_measured_statistics_give_the_maps_of_batch_statistics(imports: dict[bool, Checkpoint]) -> None:
    made = features(imports[True])
    apart: dict[bool, list[float]] = {True: [], False: []}
    with torch.no_grad():
        for low, mid, vae in made:
            by_batch = copy.deepcopy(imports[True].artifacts["mask_head"]).train()
            expected = by_batch(low, mid, vae)
            for keep, checkpoint in imports.items():
                found = checkpoint.artifacts["mask_head"](low, mid, vae)
                apart[keep].append(float((found - expected).abs().mean()))
    measured, kept = (sum(apart[keep]) / len(apart[keep]) for keep in (False, True))
    print(f"mean distance of maps: measured {measured:.4f}, kept {kept:.4f}")
    assert measured <= 0.02
    assert kept > 2 * measured


def test_nothing_but_the_statistics_is_changed(imports: dict[bool, Checkpoint]) -> None:
    kept, measured = (imports[keep].artifacts["mask_head"].state_dict() for keep in (True, False))
    different = {name for name in kept if not torch.equal(kept[name], measured[name])}
    assert all(".stored_" in name for name in different)
    # The convolution that takes part in nothing keeps its norm's; all others are measured.
    assert different == {name for name in kept if ".stored_" in name and ".conv6." not in name}
    assert imports[True].fingerprint != imports[False].fingerprint
    assert not imports[False].artifacts["mask_head"].training

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from seas_train.bases.base import Base
from seas_train.data import Product
from seas_train.diffusion.examples import Augmentation, Examples, augmentations
from seas_train.training.random import step_random


def test_augmentations_are_the_symmetries_of_a_square() -> None:
    image = torch.arange(9).view(1, 3, 3)
    seen = {tuple(choice.apply(image).flatten().tolist()) for choice in augmentations(rotate=True, flip=True)}
    assert len(seen) == 8
    assert len(augmentations(rotate=True, flip=False)) == 4
    assert augmentations(rotate=False, flip=False) == (Augmentation(0, False),)


def test_latents_and_masks_are_augmented_alike(tiny_base: Base, tiny_product: Product) -> None:
    examples = Examples(tiny_product, tiny_base.geometry, rotate=True, flip=True)
    examples.use(tiny_base.vae)
    example, choice = examples.defects[0], Augmentation(1, True)
    mean = examples.moments([example], [choice])[0, 0]
    image = np.flip(np.rot90(tiny_product.image(example.image)), 1)
    pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1).float() / 127.5 - 1
    with torch.no_grad():
        expected = tiny_base.vae.encode(pixels[None]).latent_dist.mean[0]
    assert torch.equal(mean, expected)
    mask = examples.masks([example], [choice])[0, 0].numpy()
    assert np.array_equal(mask, np.flip(np.rot90(example.mask[0].numpy()), 1))


def test_latents_do_not_depend_on_what_was_encoded_before(tiny_base: Base, tiny_product: Product) -> None:
    ahead, lazy = (Examples(tiny_product, tiny_base.geometry, rotate=True, flip=True) for _ in range(2))
    for examples in (ahead, lazy):
        examples.use(tiny_base.vae)
    ahead.encode_all(progress=False)
    drawn, choices = lazy.draw(lazy.normals, 3, step_random(0, "test", 1).numpy)
    one, other = (
        examples.latents(drawn, choices, step_random(0, "test", 1).torch) for examples in (ahead, lazy)
    )
    assert torch.equal(one, other)


def test_drawing_repeats_nothing_before_all_were_drawn(tiny_base: Base, tiny_product: Product) -> None:
    examples = Examples(tiny_product, tiny_base.geometry, rotate=True, flip=True)
    drawn, _ = examples.draw(examples.defects, 10, np.random.default_rng(0))
    counts = Counter(example.image for example in drawn)
    assert len(examples.defects) == 4
    assert sorted(counts.values()) == [2, 2, 3, 3]


def test_each_defect_is_drawn_as_often_however_many_images_it_has(
    tiny_base: Base, tiny_product: Product
) -> None:
    examples = Examples(tiny_product, tiny_base.geometry, rotate=True, flip=True)
    few = [example for example in examples.defects if example.defect == 0][:1]
    others = [example for example in examples.defects if example.defect != 0]
    examples.defects = (*few, *others * 5)
    defects = len({example.defect for example in examples.defects})
    drawn, choices = examples.draw_by_defect(4 * defects + 1, np.random.default_rng(0))
    counts = Counter(example.defect for example in drawn)
    assert len(choices) == len(drawn) == 4 * defects + 1
    assert sorted(counts.values()) == [4] * (defects - 1) + [5]


def test_fewer_augmentations_of_normals_still_cover_all(tiny_base: Base, tiny_product: Product) -> None:
    examples = Examples(tiny_product, tiny_base.geometry, rotate=True, flip=True, normal_augmentations=2)
    assert [len(example.augmentations) for example in examples.normals] == [2, 2, 2, 2]
    assert {choice for example in examples.normals for choice in example.augmentations} == set(
        examples.augmentations
    )
    assert all(len(example.augmentations) == 8 for example in examples.defects)


def test_references_are_the_normals_as_they_are(tiny_base: Base, tiny_product: Product) -> None:
    examples = Examples(tiny_product, tiny_base.geometry, rotate=True, flip=True)
    examples.use(tiny_base.vae)
    references = examples.references()
    pixels = torch.from_numpy(tiny_product.image(tiny_product.normals[1])).permute(2, 0, 1)
    with torch.no_grad():
        expected = tiny_base.vae.encode(pixels[None].float() / 127.5 - 1).latent_dist.mean
    assert references.shape == (4, 4, 8, 8)
    assert torch.equal(references[1:2], expected)


def test_latents_are_drawn_from_the_posterior(tiny_base: Base, tiny_product: Product) -> None:
    examples = Examples(tiny_product, tiny_base.geometry, rotate=False, flip=False)
    examples.use(tiny_base.vae)
    many = [examples.normals[0]] * 400
    latents = examples.latents(many, [Augmentation(0, False)] * 400, torch.Generator().manual_seed(0))
    mean, deviation = examples.moments(many[:1], [Augmentation(0, False)])[0]
    factor = tiny_base.geometry.scaling_factor
    assert torch.allclose(latents.mean(0) / factor, mean, atol=float(deviation.max()) * 0.25)
    assert float((latents.std(0) / factor / deviation).mean()) == pytest.approx(1, abs=0.02)

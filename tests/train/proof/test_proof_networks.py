"""BiSeNet V2, DRAEM and the losses: what was published, and that they learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from seas_train.proof.crops import Batch
from seas_train.proof.segmenters.bisenet.branches import Aggregation, DetailBranch, SemanticBranch
from seas_train.proof.segmenters.bisenet.network import BiSeNetV2
from seas_train.proof.segmenters.contract import pixel_loss
from seas_train.proof.segmenters.draem.losses import focal_loss, reconstruction_loss, structural_similarity
from seas_train.proof.segmenters.draem.networks import Discrimination, Reconstruction
from seas_train.proof.segmenters.draem.segmenter import Draem
from seas_train.proof.segmenters.table import make_segmenter
from seas_train.proof.tiles import find_defects


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def batch_of(pictures: torch.Tensor, masks: torch.Tensor, boxes: torch.Tensor | None = None) -> Batch:
    defective = masks.flatten(1).any(1)
    return Batch(pictures, masks, defective, boxes, pictures, masks)


def some(sides: tuple[int, int], seed: int = 0) -> Batch:
    random = torch.Generator().manual_seed(seed)
    masks = (torch.rand(2, *sides, generator=random) > 0.8).float()
    return batch_of(torch.rand(2, 3, *sides, generator=random), masks)


def test_branches_have_the_paper_s_sizes() -> None:
    """Table 1: detail to an eighth, semantic to a thirty-second, both 128 wide."""
    pictures = torch.rand(2, 3, 64, 96)
    detail = DetailBranch()(pictures)
    semantic, stages = SemanticBranch()(pictures)
    assert detail.shape == (2, 128, 8, 12)
    assert semantic.shape == (2, 128, 2, 3)
    assert [tuple(stage.shape[1:]) for stage in stages] == [
        (16, 16, 24),
        (32, 8, 12),
        (64, 4, 6),
        (128, 2, 3),
    ]
    assert Aggregation()(detail, semantic).shape == detail.shape


def test_each_branch_gates_the_other() -> None:
    """Where one branch is shut (its gates are 0), nothing of the other comes through."""
    torch.manual_seed(0)
    met = Aggregation().eval()
    detail, semantic = torch.rand(1, 128, 8, 8), torch.rand(1, 128, 2, 2)
    before = met(detail, semantic)
    for gate in (met.semantic_grown, met.semantic_kept):
        last = [layer for layer in gate if hasattr(layer, "bias") and layer.bias is not None][-1]
        torch.nn.init.constant_(last.weight, 0.0)
        torch.nn.init.constant_(last.bias, -100.0)
    shut = met(detail, semantic)
    assert not torch.allclose(before, shut, atol=1e-3)
    assert torch.allclose(shut, met(torch.rand(1, 128, 8, 8), semantic), atol=1e-5)


def test_boosters_train_and_are_not_used_afterwards() -> None:
    torch.manual_seed(0)
    model, batch = BiSeNetV2().train(), some((64, 64))
    model.loss(batch, torch.Generator()).backward()
    assert all(one.grad is not None and bool(one.grad.any()) for one in model.boosters.parameters())
    model.eval()
    before = model.logits(batch.pictures)
    assert before.shape == (2, 64, 64)
    for booster in model.boosters:
        for one in booster.parameters():
            torch.nn.init.zeros_(one)
    assert torch.equal(model.logits(batch.pictures), before)


def test_draem_is_as_large_as_published() -> None:
    """97.42 million weights, counted in the authors' code of both networks at their widths of 128 and 64."""
    with torch.device("meta"):
        count = sum(
            one.numel() for network in (Reconstruction(), Discrimination()) for one in network.parameters()
        )
    assert count == pytest.approx(97.42e6, rel=1e-3)


def test_similarity_is_that_of_the_definition() -> None:
    random = np.random.default_rng(0)
    first, second = random.random((2, 1, 11, 11))
    place = np.arange(11) - 5
    weights = np.exp(-(place[:, None] ** 2 + place[None] ** 2) / (2 * 1.5**2))
    weights /= weights.sum()
    means = [(weights * one[0]).sum() for one in (first, second)]
    spreads = [
        (weights * (one[0] - mean) ** 2).sum() for one, mean in zip((first, second), means, strict=True)
    ]
    together = (weights * (first[0] - means[0]) * (second[0] - means[1])).sum()
    wanted = (2 * means[0] * means[1] + 1e-4) * (2 * together + 9e-4)
    wanted /= (means[0] ** 2 + means[1] ** 2 + 1e-4) * (spreads[0] + spreads[1] + 9e-4)
    found = structural_similarity(torch.from_numpy(first[None]), torch.from_numpy(second[None]))
    assert float(found[0, 5, 5]) == pytest.approx(wanted, abs=1e-9)
    same = torch.from_numpy(first[None])
    assert torch.allclose(structural_similarity(same, same), torch.ones(1, 11, 11, dtype=torch.float64))


def test_what_is_not_known_does_not_count_in_the_drawing() -> None:
    drawn, clean = torch.rand(2, 3, 32, 32), torch.rand(2, 3, 32, 32)
    known = torch.ones(2, 32, 32)
    known[:, :16] = 0
    far = clean.clone()
    far[:, :, :5] = 0  # farther from what counts than the window of SSIM reaches
    assert reconstruction_loss(drawn, clean, known) == pytest.approx(
        float(reconstruction_loss(drawn, far, known)), abs=1e-6
    )
    assert float(reconstruction_loss(clean, clean, known)) == pytest.approx(0, abs=1e-5)


def test_focal_loss_is_that_of_the_definition() -> None:
    logits, masks = torch.tensor([[0.3, -1.2]]), torch.tensor([[1.0, 1.0]])
    p = logits.sigmoid()
    assert torch.allclose(focal_loss(logits, masks), -((1 - p) ** 2) * p.log())
    assert torch.allclose(focal_loss(-logits, 1 - masks), focal_loss(logits, masks))


def test_sure_normals_in_boxes_teach_nothing() -> None:
    """All of a picture in a box, and a map that calls all of it normal: no gradient is left."""
    logits = torch.full((1, 8, 8), -4.0, requires_grad=True)  # normal with p = 0.98
    masks = torch.ones(1, 8, 8)
    pixel_loss(logits, masks, masks).backward()
    assert logits.grad is not None
    assert not logits.grad.any()
    logits.grad = None
    pixel_loss(logits, masks).backward()
    assert bool((logits.grad < 0).all())


def test_draem_s_map_is_not_taught_what_is_surely_normal_in_a_box() -> None:
    torch.manual_seed(0)
    model, batch = Draem(16).train(), some((32, 32))
    torch.nn.init.zeros_(model.discrimination.head.weight)
    with torch.no_grad():
        model.discrimination.head.bias.copy_(torch.tensor([4.0, 0.0]))
    for boxes, taught in ((torch.ones_like(batch.masks), False), (None, True)):
        model.zero_grad()
        model.loss(batch_of(batch.pictures, batch.masks, boxes), torch.Generator()).backward()
        assert bool(model.discrimination.head.bias.grad.any()) is taught


def test_the_weak_loss_is_the_usual_one_where_nothing_is_sure() -> None:
    logits = torch.randn(2, 8, 8)  # p of a defect above 0.02, and of normal below 0.9 where clamped
    logits = logits.clamp(min=-2)
    masks = (torch.rand(2, 8, 8) > 0.5).float()
    assert torch.allclose(pixel_loss(logits, masks, masks), pixel_loss(logits, masks))


@pytest.mark.parametrize("name", ["bisenet", "draem-narrow"])
def test_segmenters_learn_where_squares_are(name: str) -> None:
    torch.manual_seed(0)
    model, batch = make_segmenter(name, False).train(), squares(4, 32)
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
    for _ in range(30):
        optimizer.zero_grad()
        model.loss(batch, torch.Generator()).backward()
        optimizer.step()
    found = model.eval().logits(batch.pictures)
    inside, outside = found[batch.masks > 0], found[batch.masks == 0]
    assert inside.median() > outside.quantile(0.9) + 1
    for size in ((50, 37), (33, 90)):
        assert find_defects(model, np.zeros((*size, 3), np.uint8), "cpu").shape == size


def squares(count: int, size: int) -> Batch:
    """Grey noise with a bright square each."""
    random = torch.Generator().manual_seed(0)
    pictures, masks = 0.3 * torch.rand(count, 3, size, size, generator=random), torch.zeros(count, size, size)
    for index in range(count):
        row, column = torch.randint(size - 12, (2,), generator=random).tolist()
        masks[index, row : row + 12, column : column + 12] = 1
    return batch_of(pictures + 0.5 * masks[:, None], masks)


def test_a_pixel_of_draem_is_called_by_the_difference_of_its_logits() -> None:
    torch.manual_seed(0)
    model, pictures = Draem(16).eval(), torch.rand(1, 3, 32, 32)
    both = model.discrimination(torch.cat([model.reconstruction(pictures), pictures], 1))
    assert torch.allclose(both.softmax(1)[:, 1], model.logits(pictures).sigmoid(), atol=1e-6)

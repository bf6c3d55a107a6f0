from __future__ import annotations

import math

import pytest
import torch

from seas_train.methods.seas.mask_head.losses import focal_loss, mask_at, mask_loss


def logits_of(probability: float, shape: tuple[int, int, int]) -> torch.Tensor:
    """Logits [B,2,H,W] whose softmax gives the defect this probability everywhere."""
    batch, height, width = shape
    logits = torch.zeros(batch, 2, height, width)
    logits[:, 1] = math.log(probability / (1 - probability))
    return logits


@pytest.mark.parametrize("gamma", [0.0, 2.0])
@pytest.mark.parametrize("alpha", [None, 0.25])
def test_focal_loss_by_hand(gamma: float, alpha: float | None) -> None:
    target = torch.tensor([[[1.0, 0.0, 0.0]]])
    on, off = (1.0, 1.0) if alpha is None else (alpha, 1 - alpha)
    by_hand = (
        on * -((1 - 0.3) ** gamma) * math.log(0.3) + 2 * off * -((1 - 0.7) ** gamma) * math.log(0.7)
    ) / 3
    loss = focal_loss(logits_of(0.3, (1, 1, 3)), target, gamma=gamma, alpha=alpha)
    assert loss.item() == pytest.approx(by_hand, abs=1e-6)


def test_focal_loss_takes_boolean_masks_and_stays_finite() -> None:
    logits = torch.tensor([[[[200.0, -200.0]], [[-200.0, 200.0]]]])
    wrong = focal_loss(logits, torch.tensor([[[True, False]]]))
    assert wrong.item() == pytest.approx(400.0)
    assert focal_loss(logits, torch.tensor([[[False, True]]])).item() == 0.0


def test_masks_are_max_pooled() -> None:
    mask = torch.zeros(1, 8, 8)
    mask[0, 5, 2] = 1
    pooled = mask_at(mask, 2, 2)
    assert pooled.tolist() == [[[0.0, 0.0], [1.0, 0.0]]]


def test_the_four_terms() -> None:
    mask = torch.zeros(1, 4, 4)
    mask[0, :2, :2] = 1
    coarse = torch.cat([logits_of(0.4, (1, 2, 2)), logits_of(0.2, (2, 2, 2))])
    loss = mask_loss(logits_of(0.9, (1, 4, 4)), coarse, mask)

    def term(probability: float) -> float:
        return -((1 - probability) ** 2) * math.log(probability)

    assert loss.defect_refined.item() == pytest.approx((term(0.9) + 3 * term(0.1)) / 4, abs=1e-6)
    assert loss.defect_coarse.item() == pytest.approx((term(0.4) + 3 * term(0.6)) / 4, abs=1e-6)
    assert loss.normal_coarse.item() == pytest.approx(term(0.8), abs=1e-6)
    assert loss.normal_upsampled.item() == pytest.approx(term(0.8), abs=1e-6)
    terms = (loss.defect_refined, loss.defect_coarse, loss.normal_coarse, loss.normal_upsampled)
    assert loss.total.item() == pytest.approx(sum(part.item() for part in terms), abs=1e-6)

from __future__ import annotations

import pytest
import torch

from seas_train.methods.seas.mask_head.calibration import best_threshold, move_threshold, pooled_ious
from tests.train.mask_head.tiny_heads import inputs, tiny_head


def test_ious_by_hand() -> None:
    probability = torch.tensor([[[0.9, 0.6, 0.1]], [[0.9, 0.1, 0.6]], [[0.7, 0.1, 0.1]], [[0.1, 0.1, 0.1]]])
    mask = torch.tensor([[[1, 1, 0]], [[1, 1, 0]], [[0, 0, 0]], [[0, 0, 0]]]).bool()
    kinds = torch.tensor([1, 2, 0, 0])
    # Two normals with one false alarm: half a pixel for each pair.
    assert pooled_ious(probability, mask, kinds, 0.5) == pytest.approx([2 / 2.5, 1 / 3.5])
    assert pooled_ious(probability[:2], mask[:2], kinds[:2], 0.5) == pytest.approx([1.0, 1 / 3])


def test_the_threshold_that_separates_is_found_and_moved() -> None:
    head = tiny_head().eval()
    coarse, fine, taps = inputs(3)
    before = head.predict(coarse, fine, taps)
    mask = before >= 0.62
    mask[2] = False
    kinds = torch.tensor([1, 2, 0])
    # The third is a normal of like probabilities: its false alarms draw the threshold up.
    found = best_threshold(before[:2], mask[:2], kinds[:2])
    assert found in (0.6, 0.65)
    move_threshold(head, found, 0.2)
    after = head.predict(coarse, fine, taps)
    assert torch.equal(after >= 0.2, before >= found)
    assert best_threshold(before, mask, kinds) >= found

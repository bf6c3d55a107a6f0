"""What was laid does not fade when it is redrawn."""

from __future__ import annotations

import numpy as np
import pytest

from seas_runtime.methods.placed.tone import keep_tone

SIZE = 64


def _pictures(laid: int, change: int) -> tuple[np.ndarray, ...]:
    """Grey of 100; a square with a look of so many levels; its redrawing with such a change and fine stripes;
    and the start as the VAE has it, 3 levels off."""
    window = np.full((SIZE, SIZE, 3), 100, np.uint8)
    mask = np.zeros((SIZE, SIZE), bool)
    mask[16:48, 16:48] = True
    start = np.where(mask[..., None], 100 + laid, window).astype(np.uint8)
    rebuilt = (start + 3).astype(np.uint8)
    stripes = np.where(np.arange(SIZE) % 2, 5, -5)[None, :, None]
    drawn = np.where(mask[..., None], rebuilt.astype(int) + change + stripes, rebuilt).astype(np.uint8)
    return window, start, drawn, rebuilt, mask


@pytest.mark.parametrize("laid", [-20, 20])
def test_a_tone_that_fades_is_kept_and_what_is_fine_is_redrawn(laid: int) -> None:
    window, start, drawn, rebuilt, mask = _pictures(laid, -laid // 2)
    kept = keep_tone(window, start, drawn, rebuilt, mask).astype(int)
    assert (kept - rebuilt)[mask].mean() == pytest.approx(0, abs=1.5)
    assert np.ptp(kept[30, 20:44, 0]) >= 8  # the stripes
    assert np.array_equal(kept[~mask], drawn[~mask])


@pytest.mark.parametrize("laid", [-20, 20])
def test_a_tone_that_grows_is_left(laid: int) -> None:
    window, start, drawn, rebuilt, mask = _pictures(laid, laid // 2)
    assert np.array_equal(keep_tone(window, start, drawn, rebuilt, mask), drawn)


def test_without_a_placement_nothing_changes() -> None:
    window, start, drawn, rebuilt, mask = _pictures(20, -10)
    assert keep_tone(window, start, drawn, rebuilt, np.zeros_like(mask)) is drawn

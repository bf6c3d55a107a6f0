from __future__ import annotations

import numpy as np
import pytest

from seas_runtime.generation import noise

PINNED = [-1.1990169286727905, -0.6667991280555725, 0.762646496295929, -1.4030169248580933]
PINNED_REFERENCES = [9, 32, 38, 54, 30, 33]


def test_noise_is_pinned() -> None:
    """The same on every platform and numpy: datasets that exist depend on these numbers."""
    drawn = noise.start_noise(7, 417, 0, (4, 2, 2))
    assert drawn.dtype == np.float32
    assert drawn.ravel()[:4].tolist() == PINNED
    assert [noise.reference_index(7, index, 0, 60) for index in range(6)] == PINNED_REFERENCES


def test_every_part_of_the_key_matters() -> None:
    draws = [
        noise.start_noise(*key, (8,))
        for key in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 256, 0), (2**63 - 1, 0, 0)]
    ]
    draws += [noise.step_noise(0, 0, 0, step, (8,)) for step in range(3)]
    assert len({draw.tobytes() for draw in draws}) == len(draws)


def test_index_and_attempt_do_not_collide() -> None:
    keys = {(index, attempt) for index in range(40) for attempt in range(4)}
    assert len({noise.start_noise(0, *key, (4,)).tobytes() for key in keys}) == len(keys)


def test_a_larger_draw_begins_with_the_smaller() -> None:
    """So that the noise of a pair does not depend on what else is drawn from its stream."""
    assert np.array_equal(noise.start_noise(0, 0, 0, (16,))[:8], noise.start_noise(0, 0, 0, (8,)))


def test_noise_is_standard_normal() -> None:
    drawn = np.stack([noise.start_noise(0, index, 0, (4, 16, 16)) for index in range(64)])
    assert abs(drawn.mean()) < 0.01
    assert abs(drawn.std() - 1) < 0.01
    across = np.corrcoef(drawn.reshape(64, -1))
    assert np.abs(across - np.eye(64)).max() < 0.15


def test_references_are_drawn_evenly() -> None:
    counts = np.bincount([noise.reference_index(3, index, 0, 5) for index in range(2000)], minlength=5)
    assert counts.min() > 330


@pytest.mark.parametrize("key", [(-1, 0, 0), (2**63, 0, 0), (0, -1, 0), (0, 2**48, 0), (0, 0, 256)])
def test_keys_out_of_range(key: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="out of range"):
        noise.start_noise(*key, (1,))

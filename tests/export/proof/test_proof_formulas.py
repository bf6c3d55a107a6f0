"""Figures of pictures against values worked out by hand, and against the libraries that have them."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from seas_export.proof.evaluate.figures import mask_figures
from seas_export.proof.evaluate.formulas import (
    cluster_diversity,
    inception_score,
    kernel_distance,
    layer_distances,
)

CLOSE = 1e-4


def needs_fidelity() -> None:
    if importlib.util.find_spec("torch_fidelity") is None:
        pytest.skip("the extra `prove` is not installed")


def test_inception_score_is_the_exponent_of_the_mean_divergence() -> None:
    """Of sure and evenly spread answers it is the number of classes; of answers that are all alike one."""
    needs_fidelity()
    alike = np.zeros((40, 4))
    assert inception_score(alike) == pytest.approx(1, abs=CLOSE)
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, (60, 5))
    order = np.random.RandomState(2020).permutation(60)
    shares = np.exp(logits[order])
    shares /= shares.sum(1, keepdims=True)
    scores = []
    for part in np.split(shares, 10):
        scores.append(np.exp((part * np.log(part / part.mean(0))).sum(1).mean()))
    assert inception_score(logits) == pytest.approx(np.mean(scores), abs=CLOSE)
    assert inception_score(logits[:19]) is None


def test_kernel_distance_is_the_unbiased_estimate() -> None:
    needs_fidelity()
    made, real = np.array([[1.0, 0], [0, 1], [1, 1]]), np.array([[0.0, 0], [2, 0], [0, 2]])

    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return float((x @ y / 2 + 1) ** 3)

    def within(side: np.ndarray) -> float:
        return sum(kernel(side[i], side[j]) for i in range(3) for j in range(3) if i != j) / 6

    across = sum(kernel(x, y) for x in made for y in real) / 9
    assert kernel_distance(made, real) == pytest.approx(within(made) + within(real) - 2 * across, abs=CLOSE)
    assert kernel_distance(made[:1], real) is None


def test_pictures_join_their_nearest_and_single_ones_do_not_count() -> None:
    to_real = np.array([[1.0, 2, 9], [1, 3, 9], [5, 1, 9], [5, 2, 9], [5, 1, 9], [9, 9, 0]])
    among = np.array([[abs(i - j) * (1 + min(i, j)) for j in range(6)] for i in range(6)], float)
    first = among[0, 1]
    second = (among[2, 3] + among[2, 4] + among[3, 4]) / 3
    assert cluster_diversity(to_real, among) == pytest.approx((first + second) / 2, abs=CLOSE)
    assert cluster_diversity(to_real[:1], among[:1, :1]) is None


def test_layer_distances_are_sums_of_means_of_squared_differences_of_unit_features() -> None:
    random = np.random.default_rng(1)
    ours = [random.normal(size=(2, 3, 4, 4)), random.normal(size=(2, 5, 2, 2))]
    theirs = [random.normal(size=(3, 3, 4, 4)), random.normal(size=(3, 5, 2, 2))]
    expected = np.zeros((2, 3))
    for one, other in zip(ours, theirs, strict=True):
        for i in range(2):
            for j in range(3):
                first = one[i] / np.linalg.norm(one[i], axis=0)
                second = other[j] / np.linalg.norm(other[j], axis=0)
                expected[i, j] += ((first - second) ** 2).sum(0).mean()
    assert np.allclose(layer_distances(ours, theirs), expected, atol=CLOSE)
    assert np.allclose(np.diag(layer_distances(ours, ours)), 0, atol=CLOSE)


def test_lpips_is_the_librarys_with_alexnet_from_a_file(tmp_path: object) -> None:
    """With random weights in the layout of torchvision's file."""
    import hashlib
    from pathlib import Path

    import torch

    from seas_train.proof.segmenters.vision_ops import declare_vision_ops

    declare_vision_ops()
    lpips = pytest.importorskip("lpips", reason="the extra `prove` is not installed")
    from seas_export.proof.evaluate.features import ALEXNET_FILE, Lpips

    torch.manual_seed(3)
    theirs = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False).eval()
    state = {f"features.{name.partition('.')[2]}": value for name, value in theirs.net.state_dict().items()}
    file = Path(str(tmp_path)) / ALEXNET_FILE
    torch.save(state, file)
    random = np.random.default_rng(0)
    pictures = [random.integers(0, 256, (128, 128, 3)).astype(np.uint8) for _ in range(3)]
    network = Lpips(file)
    found = network.distances(pictures[:1], pictures[1:])
    both = [torch.from_numpy(p).permute(2, 0, 1)[None].float() / 127.5 - 1 for p in pictures]
    with torch.inference_mode():
        expected = [float(theirs(both[0], other)) for other in both[1:]]
    assert np.allclose(found, [expected], atol=CLOSE)
    assert network.weights[ALEXNET_FILE] == hashlib.sha256(file.read_bytes()).hexdigest()


def test_masks_are_described_by_size_parts_and_place() -> None:
    mask = np.zeros((10, 20), bool)
    mask[0:2, 0:4] = mask[8:10, 16:20] = True
    found = mask_figures([mask])
    assert found["share"] == pytest.approx([0.08] * 3)
    assert found["parts"] == [2, 2, 2]
    assert found["place"]["down"][1] == pytest.approx(0.5)
    assert found["place"]["across"][0] == pytest.approx(0.1 + 0.1 * 0.8)
    assert mask_figures([])["share"] is None

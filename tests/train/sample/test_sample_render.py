import subprocess
import sys

import numpy as np
import pytest

from seas_train.sample import DEFECTS, Rendered, render_bottle

SIZE = 128
INDICES = range(12)
# A change that an eye or a model can see: this many of 255 in some channel.
VISIBLE = 12
AREA = {"broken_large": (0.090, 0.200), "broken_small": (0.020, 0.060), "contamination": (0.010, 0.080)}


def change(defective: Rendered, normal: Rendered) -> np.ndarray:
    """The largest change of any channel, `[size, size]`, 0..255."""
    return np.abs(defective.image.astype(int) - normal.image.astype(int)).max(axis=2)


@pytest.fixture(scope="module")
def normals() -> list[Rendered]:
    return [render_bottle(7, index, None, SIZE) for index in INDICES]


@pytest.fixture(scope="module", params=DEFECTS)
def defective(request: pytest.FixtureRequest) -> tuple[str, list[Rendered]]:
    return request.param, [render_bottle(7, index, request.param, SIZE) for index in INDICES]


def test_the_same_request_gives_the_same_picture_in_any_order() -> None:
    first = render_bottle(1, 5, "broken_large", SIZE)
    render_bottle(1, 6, "contamination", SIZE)
    again = render_bottle(1, 5, "broken_large", SIZE)
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.mask, again.mask)


@pytest.mark.parametrize("other", [(2, 5, "broken_small"), (1, 6, "broken_small"), (1, 5, "broken_large")])
def test_seed_index_and_defect_each_change_the_picture(other: tuple[int, int, str]) -> None:
    one, two = render_bottle(1, 5, "broken_small", SIZE), render_bottle(*other, SIZE)
    assert not np.array_equal(one.mask, two.mask)
    assert not np.array_equal(one.image, two.image)


def test_shapes_and_types(defective: tuple[str, list[Rendered]]) -> None:
    for rendered in defective[1]:
        assert rendered.image.shape == (SIZE, SIZE, 3)
        assert rendered.image.dtype == np.uint8
        assert rendered.mask.shape == (SIZE, SIZE)
        assert rendered.mask.dtype == np.uint8
        assert set(np.unique(rendered.mask)) == {0, 255}


def test_a_normal_bottle_is_dark_on_white_and_unmarked(normals: list[Rendered]) -> None:
    for rendered in normals:
        assert not rendered.mask.any()
        assert rendered.image[:8, :8].min() > 220
        assert rendered.image[60:68, 60:68].max() < 70


def test_bottles_of_a_line_look_alike_but_are_not_equal(normals: list[Rendered]) -> None:
    mean = np.mean([rendered.image for rendered in normals], axis=0)
    for rendered in normals:
        assert 0.5 < np.abs(rendered.image - mean).mean() < 20


def test_nearly_all_of_the_mask_is_visibly_changed(
    defective: tuple[str, list[Rendered]], normals: list[Rendered]
) -> None:
    for rendered, normal in zip(defective[1], normals, strict=True):
        seen = change(rendered, normal)[rendered.mask > 0] >= VISIBLE
        assert seen.mean() >= 0.9


def test_nothing_changes_outside_the_mask(
    defective: tuple[str, list[Rendered]], normals: list[Rendered]
) -> None:
    for rendered, normal in zip(defective[1], normals, strict=True):
        mask = rendered.mask > 0
        near = mask.copy()  # the mask grown by three pixels: the lens spreads an edge that far
        for axis in (0, 1):
            near = np.any([np.roll(near, by, axis) for by in range(-3, 4)], axis=0)
        difference = change(rendered, normal)
        assert difference[~near].max() <= 1
        # On the fringe itself, what is seen belongs mostly to the mask.
        seen = difference >= 40
        assert (seen & ~mask).sum() <= 0.25 * mask.sum() + 0.5 * np.sqrt(mask.sum())


def test_area_of_a_defect(defective: tuple[str, list[Rendered]]) -> None:
    low, high = AREA[defective[0]]
    for rendered in defective[1]:
        assert low <= (rendered.mask > 0).mean() <= high


def test_fractures_sit_on_the_ring_and_contamination_in_the_well(
    defective: tuple[str, list[Rendered]],
) -> None:
    name, pictures = defective
    for rendered in pictures:
        y, x = np.nonzero(rendered.mask)
        radius = np.hypot(x + 0.5 - SIZE / 2, y + 0.5 - SIZE / 2) / (SIZE / 2)
        if name == "contamination":
            assert radius.max() < 0.48
        else:
            assert radius.min() > 0.38
            assert 0.65 < radius.max() < 0.90


def test_the_scene_does_not_depend_on_the_size() -> None:
    for defect in DEFECTS:
        small, large = render_bottle(3, 2, defect, 128), render_bottle(3, 2, defect, 256)
        reduced = large.image.reshape(128, 2, 128, 2, 3).mean(axis=(1, 3))
        assert np.abs(reduced - small.image).mean() < 3
        halved = large.mask.reshape(128, 2, 128, 2).mean(axis=(1, 3)) >= 128
        assert (halved != (small.mask > 0)).mean() < 0.004


@pytest.mark.parametrize(
    "wrong", [(0, 0, "scratch", 64), (-1, 0, None, 64), (0, -1, None, 64), (0, 0, None, 0)]
)
def test_wrong_requests_are_refused(wrong: tuple[int, int, str | None, int]) -> None:
    with pytest.raises(ValueError, match=r"expected .* got"):
        render_bottle(*wrong)


def test_importing_the_sample_does_not_import_torch() -> None:
    code = "import sys; import seas_train.sample; sys.exit('torch' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": ":".join(sys.path)}).returncode == 0
    )

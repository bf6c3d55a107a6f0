"""The rendered world: every family draws, and a scene follows from its seed and index alone."""

import numpy as np
import pytest

from seas_train.bases.micro.world.world import IMAGE_SIZE, families, render_scene, render_texture


@pytest.mark.parametrize("family", families())
def test_every_family_draws_a_picture_with_and_without_a_flaw(family: str) -> None:
    for flawed in (False, True):
        scene = render_scene(1, 5, family, flawed)
        assert scene.image.shape == (IMAGE_SIZE, IMAGE_SIZE, 3)
        assert scene.image.dtype == np.uint8
        assert scene.image.std() > 1  # something was drawn
        assert scene.family == family
        assert "buttons" not in scene.caption.split()[:2]  # no "a buttons"


def test_a_scene_follows_from_seed_and_index() -> None:
    first, again, other = render_scene(3, 7), render_scene(3, 7), render_scene(3, 8)
    assert np.array_equal(first.image, again.image)
    assert first.caption == again.caption
    assert not np.array_equal(first.image, other.image)
    assert not np.array_equal(render_scene(4, 7).image, first.image)
    assert np.array_equal(render_texture(3, 7), render_texture(3, 7))
    assert not np.array_equal(render_texture(3, 7), render_texture(3, 8))


def test_a_flaw_changes_the_picture_and_is_told_in_the_caption() -> None:
    flaws = ("defect", "scratch", "stain", "spots", "thread", "hole", "dent", "crack", "smear", "blob")
    for index in range(20):
        flawed, good = render_scene(2, index, flawed=True), render_scene(2, index, flawed=False)
        assert any(word in flawed.caption.split() for word in flaws)
        assert not any(word in good.caption.split() for word in flaws)
        assert flawed.family == good.family


def test_the_world_has_the_promised_shares() -> None:
    drawn = [render_scene(0, index) for index in range(120)]
    round_parts = sum(scene.family == "round" for scene in drawn) / len(drawn)
    flawed = sum(" with " in scene.caption for scene in drawn) / len(drawn)
    assert 0.25 < round_parts < 0.5
    assert 0.27 < flawed < 0.53

"""Tells photographs that are unlike the training normals: what is drawn into them is a guess."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from seas_runtime.manifest.fields import Fields
from seas_runtime.photographs.reading import Photograph
from seas_runtime.photographs.values import GREY, Values

NORMALS = "normals"
"""Key of the manifest's section `generation`: figures of the training normals."""
WIDTH, HEIGHT, BRIGHTNESS, MODES = "width", "height", "brightness", "modes"
LARGER = 1.25
"""A side so many times beyond the training normals' is another camera, or another distance."""
DARKER = 20.0
"""Grey levels of 0 to 255 beyond the training normals' mean brightness: another light, or another part."""
_MOST_SIDE = 1 << 17
_MOST_MODES = 16


@dataclass(frozen=True)
class Normals:
    """What the training normals are like."""

    width: tuple[float, float]
    """The least and the greatest, in pixels."""
    height: tuple[float, float]
    brightness: tuple[float, float]
    """The same of their mean grey level, 0 to 255."""
    modes: tuple[str, ...]
    """Channels and depths, in words as `Photograph.mode` has them."""

    @classmethod
    def of(cls, generation: Mapping[str, Any]) -> Normals | None:
        """Return those of a section `generation` that `check_normals` let pass; None where it has none."""
        found = generation.get(NORMALS)
        if found is None:
            return None
        width, height, brightness = ((found[key][0], found[key][1]) for key in (WIDTH, HEIGHT, BRIGHTNESS))
        return cls(width, height, brightness, tuple(found[MODES]))

    def objection(self, photograph: Photograph, values: Values) -> str | None:
        """Say what is unlike them in a photograph, with figures; None where nothing is."""
        said = []
        sides = (("wide", photograph.width, self.width), ("high", photograph.height, self.height))
        for word, side, (least, most) in sides:
            if not least / LARGER <= side <= most * LARGER:
                said.append(f"{side} pixels {word}, {_range(least, most)} in training")
        if self.modes and photograph.mode not in self.modes:
            said.append(f"{photograph.mode}, {' or '.join(self.modes)} in training")
        small = photograph.pixels[:: -(-photograph.height // 512), :: -(-photograph.width // 512)]
        grey = float(values.to_rgb8(small, photograph.opaque).mean((0, 1)) @ GREY)
        least, most = self.brightness
        if not least - DARKER <= grey <= most + DARKER:
            said.append(f"a mean brightness of {grey:.0f}, {_range(least, most)} in training")
        return "; ".join(said) or None


def check_normals(generation: Fields) -> None:
    """Refuse, by a UserError, figures in a section `generation` that are none."""
    if not generation.has(NORMALS):
        return
    fields = Fields(generation.raw(NORMALS), f"{generation.where}.{NORMALS}")
    for key, most in ((WIDTH, _MOST_SIDE), (HEIGHT, _MOST_SIDE), (BRIGHTNESS, 255)):
        found = fields.items(key, 2)
        numbers = all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in found)
        if len(found) != 2 or not numbers or not 0 <= found[0] <= found[1] <= most:
            fields.fail(key, f"the least and the greatest, from 0 to {most}", found)
    modes = fields.items(MODES, _MOST_MODES)
    if not all(isinstance(mode, str) and 0 < len(mode) <= 32 for mode in modes):
        fields.fail(MODES, "names of modes", modes)
    fields.close()


def _range(least: float, most: float) -> str:
    return f"{least:.0f}" if round(least) == round(most) else f"{least:.0f} to {most:.0f}"

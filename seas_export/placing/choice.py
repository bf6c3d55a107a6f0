"""Whether pairs are drawn into photographs, and which ones, or are whole pictures from noise."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from seas_runtime.errors import UserError
from seas_runtime.generation.placing.defaults import by_method, has_photographs, needs_photographs
from seas_runtime.manifest.fields import describe
from seas_runtime.manifest.types import ENCODE_IMAGE
from seas_runtime.methods.request import Placing
from seas_runtime.methods.table import find_method
from seas_runtime.placement.options import PlacementOptions

if TYPE_CHECKING:
    from seas_runtime.spreading.contract import PairSource

AUTO, PHOTOGRAPHS, NOISE = "auto", "photographs", "noise"
SOURCES = (AUTO, PHOTOGRAPHS, NOISE)


def choose_placing(
    generator: PairSource, source: str, onto: Path | None, asked: Placing, *, regions_alone: bool = False
) -> Placing | None:
    """Return how pairs are placed, or None for whole pictures; with `onto`, the generator draws onto that.

    `auto` draws into photographs where `onto` is given, or the bundle has such and can; with `regions_alone`
    only where its product was trained on regions. `asked` is how to place. Raises UserError for options that
    contradict one another, and for photographs that are not there.
    """
    if source not in SOURCES:
        raise UserError(f"--from: expected one of {', '.join(SOURCES)}, found {describe(source)}")
    manifest = generator.manifest
    method = find_method(manifest.method)
    asked = by_method(asked, method)
    default = by_method(Placing(PlacementOptions(source=AUTO)), method)
    if source == NOISE:
        if method.photographs_alone:
            raise UserError(
                f"--from {NOISE}: method {method.name} draws into photographs alone; leave it out, and give "
                "a folder of them with --onto where the bundle carries none"
            )
        given = [
            name
            for name, there in (("--onto", onto is not None), ("placement options", asked != default))
            if there
        ]
        if given:
            raise UserError(
                f"{given[0]}: with --from {NOISE} there are no photographs to draw into; leave one out"
            )
        return None
    if onto is not None:
        generator.draw_onto(onto)
        return asked
    bundle = generator.bundle
    whole = not needs_photographs(bundle) and (regions_alone or not has_photographs(bundle))
    if source == AUTO and whole:
        if asked != default:
            raise UserError(
                f"{bundle.path}: placement options are of pairs that are drawn into photographs; "
                "give a folder of them with --onto, or --from photographs for those that the bundle carries"
            )
        return None
    if ENCODE_IMAGE in manifest.graphs:
        _ = generator.backgrounds  # says what to do where there are none
    return asked


def in_words(generator: PairSource, placing: Placing | None) -> str:
    """Say which way pairs are made."""
    if placing is None:
        return "pairs are whole pictures, made from noise"
    found, reader = generator.backgrounds, generator.mask_reader
    said = f"defects are drawn into photographs: {len(found)} of {found.where}"
    return said if reader is None else f"{said}; {reader.bundle.path} measures their masks"

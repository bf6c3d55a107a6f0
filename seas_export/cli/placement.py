"""The options of placements, which `place` and `generate` share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from seas_runtime.placement.options import PlacementOptions

Onto = Annotated[
    Path | None,
    typer.Option(
        "--onto",
        metavar="DIR",
        help="Normal photographs to draw into; by default those that the bundle carries.",
    ),
]
Where = Annotated[
    str,
    typer.Option(
        "--where",
        help="auto (where training defects lie on the part), foreground, grabcut, anywhere, given (where a "
        "folder's masks have it), or a file: a mask picture or LabelMe's JSON of a legal area.",
    ),
]
PerPicture = Annotated[
    str, typer.Option("--per-picture", metavar="N|LOW:HIGH", help="Masks in a picture, of one defect.")
]
MaskFrom = Annotated[
    Path | None,
    typer.Option(
        "--mask-from",
        metavar="BUNDLE",
        help="Of methods that measure no masks: measure them with the mask head of this bundle, one of "
        "SeaS of the same product.",
    ),
]
PerBackground = Annotated[
    str | None,
    typer.Option(
        "--per-background",
        metavar="NxM",
        help="N placements in a row on one photograph, M pairs in a row of each; by default all are new.",
    ),
]
Source = Annotated[
    str,
    typer.Option(
        "--placement-source",
        help="What masks are made of: shapes (the training masks, augmented), boxes, or a folder of masks; "
        "auto is boxes for anogen, shapes for others.",
    ),
]
BoxSizes = Annotated[
    str | None,
    typer.Option(
        "--box-sizes",
        metavar="LOW:HIGH",
        help="Sides of boxes in pixels; by default as training masks have.",
    ),
]
Legal = Annotated[
    Path | None,
    typer.Option(
        "--legal", metavar="FILE", help="No mask lies outside of this area, a picture or JSON as for --where."
    ),
]
Forbidden = Annotated[
    Path | None, typer.Option("--forbidden", metavar="FILE", help="No mask lies in this area.")
]


def placement_options(
    where: str,
    per_picture: str,
    source: str,
    box_sizes: str | None,
    legal: Path | None,
    forbidden: Path | None,
    per_background: str | None = None,
) -> PlacementOptions:
    """What placements are asked for by these words; UserError names the option that is wrong."""
    from seas_runtime.placement.options import (
        AUTO,
        BOXES,
        SHAPES,
        WHERE,
        PlacementOptions,
        parse_background,
        parse_counts,
        parse_sizes,
    )

    return PlacementOptions(
        where=_path(where, WHERE, "--where"),
        per_picture=parse_counts(per_picture),
        source=_path(source, (AUTO, SHAPES, BOXES), "--placement-source"),
        sizes=None if box_sizes is None else parse_sizes(box_sizes),
        legal=None if legal is None else str(legal),
        forbidden=None if forbidden is None else str(forbidden),
        per_background=None if per_background is None else parse_background(per_background),
    )


def _path(text: str, words: tuple[str, ...], option: str) -> str:
    """A word as it is, or a path with its `~` written out."""
    from seas_runtime.files import expanded

    return text if text in words or not text else str(expanded(Path(text), option))

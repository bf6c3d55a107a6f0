"""The products of the published data sets and their defects, to say which one a folder is and what it lacks.

Folder names as the data sets have them; VisA's are the labels of its image_anno.csv. Nothing is refused for
not being here: what lies in the folders is what is trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from seas_train.data.layouts import Layout
from seas_train.data.names import match_key, safe_name
from seas_train.data.product import Product
from seas_train.settings import require

TITLES = {Layout.MVTEC: "MVTec AD", Layout.VISA: "VisA", Layout.MVTEC3D: "MVTec 3D AD"}

_MVTEC = {
    "bottle": "broken_large, broken_small, contamination",
    "cable": "bent_wire, cable_swap, combined, cut_inner_insulation, cut_outer_insulation, missing_cable, "
    "missing_wire, poke_insulation",
    "capsule": "crack, faulty_imprint, poke, scratch, squeeze",
    "carpet": "color, cut, hole, metal_contamination, thread",
    "grid": "bent, broken, glue, metal_contamination, thread",
    "hazelnut": "crack, cut, hole, print",
    "leather": "color, cut, fold, glue, poke",
    "metal_nut": "bent, color, flip, scratch",
    "pill": "color, combined, contamination, crack, faulty_imprint, pill_type, scratch",
    "screw": "manipulated_front, scratch_head, scratch_neck, thread_side, thread_top",
    "tile": "crack, glue_strip, gray_stroke, oil, rough",
    "toothbrush": "defective",
    "transistor": "bent_lead, cut_lead, damaged_case, misplaced",
    "wood": "color, combined, hole, liquid, scratch",
    "zipper": "broken_teeth, combined, fabric_border, fabric_interior, rough, split_teeth, squeezed_teeth",
}
_VISA = {
    "candle": "chunk of wax missing, damaged corner of packaging, different colour spot, "
    "extra wax in candle, foreign particals on candle, other, wax melded out of the candle, "
    "weird candle wick",
    "capsules": "bubble, discolor, leak, misshape, scratch",
    "cashew": "burnt, corner or edge breakage, different colour spot, middle breakage, same colour spot, "
    "small holes, small scratches, stuck together",
    "chewinggum": "chunk of gum missing, corner missing, scratches, similar colour spot, small cracks",
    "fryum": "burnt, corner or edge breakage, different colour spot, fryum stuck together, middle breakage, "
    "other, similar colour spot, small scratches",
    "macaroni1": "chip around edge and corner, different colour spot, middle breakage, similar colour spot, "
    "small cracks, small scratches",
    "macaroni2": "breakage down the middle, color spot similar to the object, different color spot, other, "
    "small chip around edge, small cracks, small scratches",
    "pcb1": "bent, melt, missing, scratch",
    "pcb2": "bent, melt, missing, scratch",
    "pcb3": "bent, melt, missing, scratch",
    "pcb4": "burnt, damage, dirt, extra, missing, scratch, wrong place",
    "pipe_fryum": "burnt, corner and edge breakage, different colour spot, middle breakage, "
    "similar colour spot, small cracks, small scratches, stuck together",
}
_MVTEC3D = {
    "bagel": "combined, contamination, crack, hole",
    "cable_gland": "bent, cut, hole, thread",
    "carrot": "combined, contamination, crack, cut, hole",
    "cookie": "combined, contamination, crack, hole",
    "dowel": "bent, combined, contamination, cut",
    "foam": "color, combined, contamination, cut",
    "peach": "combined, contamination, cut, hole",
    "potato": "combined, contamination, cut, hole",
    "rope": "contamination, cut, open",
    "tire": "combined, contamination, cut, hole",
}


@dataclass(frozen=True)
class Published:
    """A product of a published data set. defects: the names that folders, prompts and commands use."""

    layout: Layout
    product: str
    defects: tuple[str, ...]

    @property
    def title(self) -> str:
        """The data set's name."""
        return TITLES[self.layout]


def _products(layout: Layout, table: dict[str, str]) -> dict[tuple[Layout, str], Published]:
    return {
        (layout, name): Published(layout, name, tuple(safe_name(label) for label in labels.split(",")))
        for name, labels in table.items()
    }


PUBLISHED: dict[tuple[Layout, str], Published] = {
    **_products(Layout.MVTEC, _MVTEC),
    **_products(Layout.VISA, _VISA),
    **_products(Layout.MVTEC3D, _MVTEC3D),
}
"""The 15 products of MVTec AD, 12 of VisA and 10 of MVTec 3D AD."""


def as_published(product: Product, preset: str | None) -> Product:
    """Return a product that is trained and generated as one of the published data set `preset`.

    Converted folders have another layout than the data set's own; None leaves what the layout says.
    """
    if preset is None:
        return product
    known = tuple(layout.value for layout in TITLES)
    require(preset in known, "--preset", " | ".join(known), preset)
    return replace(product, layout=Layout(preset))


def recognise(name: str, layout: Layout, defects: Sequence[str]) -> Published | None:
    """Return the published product that a folder of this name, layout and defects is; None if it is none.

    A product of one's own may have a published one's name: half of the published defects must be there.
    """
    known = PUBLISHED.get((layout, match_key(name)))
    if known is None or 2 * len(set(known.defects) & set(defects)) < len(known.defects):
        return None
    return known


def recognition_line(name: str, layout: Layout, defects: Sequence[str]) -> str | None:
    """Say which published product this is and what of it is not there; None if it is none."""
    known = recognise(name, layout, defects)
    if known is None:
        return None
    others = (*known.defects, "combined", "anomaly")  # names that we give ourselves, see the layouts
    missing = [defect for defect in known.defects if defect not in defects]
    extra = [defect for defect in defects if defect not in others]
    words = f"{known.title}'s {known.product}"
    words += f"; without {', '.join(missing)}" if missing else f", all {len(known.defects)} defects"
    return words + (f"; besides: {', '.join(extra)}" if extra else "")

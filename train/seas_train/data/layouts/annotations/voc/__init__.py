"""Pascal VOC: masks of class colours in `SegmentationClass`, and boxes in XML files.

CVAT's archive "Segmentation mask 1.1" is the same with `labelmap.txt`, which names the colours (docs.cvat.ai,
"Segmentation Mask"): `label:red,green,blue:parts:actions`; where it has none, they are VOC's, in the order of
the lines. Masks of labelme and of VOC itself are palette pictures. `class_names.txt` names their indices, one
a line from 0 on; 0 is background, 255 is ignored.
"""

from __future__ import annotations

from pathlib import Path

from seas_train.data.layouts.annotations.photographs import Photographs, xml_files
from seas_train.data.layouts.annotations.shapes import Marked
from seas_train.data.layouts.annotations.voc.boxes import read_boxes
from seas_train.data.layouts.annotations.voc.classes import ClassColours, read_lines
from seas_train.data.layouts.annotations.voc.masks import MASKS, mask_folders, read_masks
from seas_train.data.layouts.found import entries, folders
from seas_train.data.names import is_image_name, match_key
from seas_train.data.problems import Kind, Problems

__all__ = ["SIGNS", "ClassColours", "looks_like", "read"]

SIGNS = "SegmentationClass with a mask of class colours for each photograph, or Pascal VOC's XML files"
_OTHERS = (*MASKS, "segmentationobject", "segmentationobjectpng", "segmentationclassvisualization")


def looks_like(product: Path) -> bool:
    """Whether there are masks of class colours, or a file of VOC's."""
    return any(mask_folders(product)) or any(xml_files(product, b"annotation"))


def read(
    product: Path, problems: Problems, colours: ClassColours | None = None
) -> tuple[list[Marked], list[Path]]:
    """Return what is marked on each photograph; those that are listed without a mask are normals.

    Raises UserError where it does not follow from the files which colour is the background, or where
    `colours` names none of the masks'.
    """
    photographs = Photographs(product, _OTHERS)
    marked: dict[Path, Marked] = {}
    masks = [file for folder in mask_folders(product) for file in entries(folder) if is_image_name(file)]
    if masks:
        read_masks(product, masks, photographs, colours or ClassColours(), marked, problems)
    for file in xml_files(product, b"annotation"):
        read_boxes(file, photographs, marked, problems)
    listed = {match_key(name) for name in _listed(product)}
    files = [*masks, *xml_files(product, b"annotation")]
    told = {match_key(file.stem) for file in files}  # what of these is not in `marked` cannot be used
    normals = []
    for path in sorted({path for same in photographs.by_name.values() for path in same} - marked.keys()):
        if match_key(path.stem) in listed - told:
            normals.append(path)
        elif match_key(path.stem) not in told:
            problems.warn(Kind.UNLABELLED, path, "no mask and no XML file of its name; left out")
    return list(marked.values()), normals


def _listed(product: Path) -> set[str]:
    """The names of photographs in the lists of `ImageSets`, without their endings."""
    names: set[str] = set()
    for place in (product, *folders(product)):
        for kind in folders(place / "ImageSets"):
            for file in entries(kind):
                if file.suffix.lower() == ".txt":
                    words = [line.split()[0] for line in read_lines(file) if line.split()]
                    names |= {Path(word).name for word in words}
    return names

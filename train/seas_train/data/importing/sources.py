"""Where labels come from: which kind of source a folder is, and what is marked on its photographs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from seas_runtime.errors import UserError
from seas_train.data.images import UnreadableImage
from seas_train.data.layouts import READERS, Layout, Pair, choose_layout, find_files, likely_layouts
from seas_train.data.layouts.annotations import coco, cvat, labelme, voc, yolo
from seas_train.data.layouts.annotations.shapes import Mark, Marked
from seas_train.data.layouts.annotations.voc import ClassColours
from seas_train.data.layouts.found import is_folder
from seas_train.data.masks import MaskKind, open_mask
from seas_train.data.problems import Kind, Problems


class Source(str, Enum):
    """What `--from` names."""

    AUTO = "auto"
    LABELME = "labelme"
    COCO = "coco"
    YOLO = "yolo"
    CVAT = "cvat"
    VOC = "voc"
    FOLDERS = "folders"


FOLDERS = (Layout.MVTEC, Layout.VISA, Layout.MVTEC3D, Layout.OKNG)
"""Layouts of folders with mask pictures."""
_TOOLS = {Layout.COCO: Source.COCO, Layout.YOLO: Source.YOLO, Layout.LABELME: Source.LABELME}
_READERS = {Source.LABELME: labelme.read, Source.COCO: coco.read, Source.YOLO: yolo.read}


@dataclass(frozen=True)
class Labels:
    """What a source says of its photographs."""

    source: Source
    signs: str
    """What it was known by."""
    marked: tuple[Marked, ...]
    normals: tuple[Path, ...]
    """Photographs that are normal because of where they lie, or because nothing marks them."""
    test_normals: tuple[Path, ...] = ()


def choose_source(folder: Path, wanted: Source) -> Source:
    """Return the source asked for, or the one that a folder is; UserError where none is known."""
    if not is_folder(folder):
        hint = "unpack it if it is an archive" if folder.exists() else "check the path"
        found = "a file" if folder.exists() else "nothing there"
        raise UserError(f"{folder}: expected a folder of photographs and labels, found {found}; {hint}")
    if wanted is not Source.AUTO:
        return wanted
    layouts = likely_layouts(folder)
    if any(layout in FOLDERS[:3] for layout in layouts):
        return Source.FOLDERS
    if cvat.looks_like(folder):
        return Source.CVAT
    if voc.looks_like(folder):
        return Source.VOC
    if layouts:
        return _TOOLS.get(layouts[0], Source.FOLDERS)
    choose_layout(folder, None)  # says what was expected
    raise UserError(f"{folder}: expected labels, found none; say what they are with --from")


def read_labels(folder: Path, source: Source, colours: ClassColours, problems: Problems) -> Labels:
    """Return what a folder's labels mark; what cannot be read is added to `problems`.

    Raises UserError where the folder is no such source.
    """
    if colours != ClassColours() and source not in (Source.VOC, Source.CVAT):
        raise UserError(
            f"--background, --ignore: are for masks of class colours (voc, cvat), found {source.value}"
        )
    if source is Source.FOLDERS:
        return _from_folders(folder, problems)
    if source is Source.VOC or (source is Source.CVAT and not cvat.looks_like(folder)):
        signs, known = voc.SIGNS, voc.looks_like(folder)
        marked, normals = voc.read(folder, problems, colours) if known else ([], [])
    elif source is Source.CVAT:
        signs, known = cvat.SIGNS, True
        marked, normals = cvat.read(folder, problems)
    else:
        reader = READERS[next(layout for layout, name in _TOOLS.items() if name is source)]
        signs, known = reader.SIGNS, reader.looks_like(folder)
        marked, normals = _READERS[source](folder, problems) if known else ([], [])
    if not known:
        raise UserError(f"{folder}: --from {source.value}: expected {signs}, found none; try --from auto")
    return Labels(source, signs, tuple(marked), tuple(normals))


def _from_folders(folder: Path, problems: Problems) -> Labels:
    """Return the pairs of folders and mask pictures as marks of their defects' names."""
    layouts = [layout for layout in likely_layouts(folder) if layout in FOLDERS]
    layouts = layouts or [layout for layout in FOLDERS if READERS[layout].looks_like(folder)]
    layout = layouts[0] if layouts else Layout.OKNG
    found = find_files(folder, layout, problems)
    marked = []
    for defect in found.defects:
        for pair in defect.pairs:
            entry = _marked_by_file(pair, defect.label, pair.mask in found.weak, problems)
            marked += [entry] if entry is not None else []
    normals, tests = tuple(found.train_normals), tuple(found.test_normals)
    return Labels(Source.FOLDERS, READERS[layout].SIGNS, tuple(marked), normals, tests)


def _marked_by_file(pair: Pair, label: str, weak: bool, problems: Problems) -> Marked | None:
    """Return what a mask's file marks on a photograph; None, with a warning, where it is no mask."""
    try:
        opened = open_mask(pair.mask)
    except UnreadableImage as error:
        problems.warn(Kind.UNREADABLE, pair.mask, f"{error.reason}; left out")
        return None
    reading = opened.reading
    if reading.kind in (MaskKind.NOT_A_MASK, MaskKind.UNIFORM):
        problems.warn(Kind.NOT_A_MASK, pair.mask, f"{reading.doubt or reading.kind.value}; left out")
        return None
    if reading.doubt:
        problems.warn(Kind.MASK_DOUBT, pair.mask, reading.doubt)
    entry = Marked(pair.image, pair.mask, opened.size)
    entry.add(Mark(label, lambda canvas: canvas.paste(open_mask(pair.mask).foreground), weak=weak))
    return entry

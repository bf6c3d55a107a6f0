"""VisA as published: ROOT/PRODUCT/Data/{Images,Masks}, PRODUCT/image_anno.csv, ROOT/split_csv/1cls.csv.

image_anno.csv (columns image, label, mask) names the defects of every image; several are separated by commas.
split_csv/*.csv (columns object, split, label, image, mask) tells training from test normals. Masks are label
maps: 0 is background.
"""

from __future__ import annotations

import csv
from pathlib import Path, PurePosixPath

from seas_train.data.layouts.found import (
    Found,
    FoundDefect,
    child,
    is_file,
    list_masks,
    list_photographs,
    pair_up,
)
from seas_train.data.layouts.mvtec import list_normals
from seas_train.data.names import match_key
from seas_train.data.problems import Kind, Problems

SIGNS = "Data/Images and Data/Masks"
TABLE = "image_anno.csv"
SPLITS = ("1cls.csv", "2cls_highshot.csv", "2cls_fewshot.csv")  # the first that is there is used
COMBINED = "combined"  # MVTec AD's own name for images with several defects
ANOMALY = "anomaly"  # split_csv's label, used where nothing more exact is known
NORMAL = "normal"


def looks_like(product: Path) -> bool:
    """Whether the folder has Data/Images."""
    return child(product, "Data", "Images") is not None


def find(product: Path, problems: Problems) -> Found:
    """List the product's normals, and its anomalies by the labels of image_anno.csv."""
    found = Found()
    normal = child(product, "Data", "Images", "Normal")
    if normal is None:
        where = product / "Data" / "Images" / "Normal"
        problems.error(Kind.FOLDER_MISSING, where, "expected the folder of normal images")
    else:
        _split_normals(product, list_normals(normal, problems), found, problems)
    anomaly = child(product, "Data", "Images", "Anomaly")
    masks = child(product, "Data", "Masks", "Anomaly")
    if anomaly is None:
        where = product / "Data" / "Images" / "Anomaly"
        problems.error(Kind.FOLDER_MISSING, where, "expected the folder of anomalous images")
        return found
    if masks is None:
        where = product / "Data" / "Masks" / "Anomaly"
        problems.error(Kind.FOLDER_MISSING, where, "expected the folder of masks")
    images, among = list_photographs(anomaly, problems)
    mask_files = list_masks(masks, problems) if masks is not None else []
    beside = [(mask.stem, mask) for mask in among]
    together = pair_up(ANOMALY, images, mask_files, problems, beside)
    labels = _read_labels(product, problems)
    if labels is None:
        found.defects = [together]
    else:
        _by_label(found, together, labels, anomaly, problems)
    return found


def _by_label(
    found: Found, together: FoundDefect, labels: dict[str, list[str]], anomaly: Path, problems: Problems
) -> None:
    """Give every pair to its label's defect; images with several labels become one defect of their own."""
    defects: dict[str, FoundDefect] = {}
    several: set[str] = set()

    def defect_of(image: Path) -> FoundDefect | None:
        names = labels.get(match_key(image.name), [])
        if not names or names == [NORMAL]:
            said = "labelled normal but lies in Anomaly" if names else "not labelled"
            problems.warn(Kind.UNLABELLED, image, f"{said} in {TABLE}; left out")
            return None
        label = names[0]
        if len(names) > 1:
            label = COMBINED
            several.add(image.name)
        return defects.setdefault(label, FoundDefect(label))

    for pair in together.pairs:
        if (defect := defect_of(pair.image)) is not None:
            defect.pairs.append(pair)
    for image in together.left_out:
        if (defect := defect_of(image)) is not None:
            defect.left_out.append(image)
    here = {match_key(pair.image.name) for pair in together.pairs}
    here |= {match_key(image.name) for image in together.left_out}
    for name, names in labels.items():
        if names != [NORMAL] and name not in here:
            problems.warn(Kind.MISSING_FILE, anomaly / name, f"listed in {TABLE}, but there is no such file")
    found.defects = list(defects.values())
    if several:
        found.notes.append(f"{len(several)} images have several labels: they form the defect {COMBINED!r}")


def _read_labels(product: Path, problems: Problems) -> dict[str, list[str]] | None:
    """Read image_anno.csv: the labels of each image by its file name; None where there is no usable table."""
    rows = _read_table(product / TABLE, ("image", "label"), problems)
    if rows is None:
        if not is_file(product / TABLE):
            message = f"no defect names known, all anomalies are taken as one defect {ANOMALY!r}"
            problems.warn(Kind.MISSING_FILE, product / TABLE, message)
        return None
    labels: dict[str, list[str]] = {}
    for row in rows:
        image = PurePosixPath(row["image"].strip())
        if match_key(image.parent.name) == NORMAL:  # a normal may have the file name of an anomaly
            continue
        names = {" ".join(part.split()) for part in row["label"].split(",")}
        labels[match_key(image.name)] = sorted(names - {""})
    return labels


def _split_normals(product: Path, images: list[Path], found: Found, problems: Problems) -> None:
    """Divide the normals as split_csv does; without it they are one pool."""
    table = next((t for name in SPLITS if is_file(t := product.parent / "split_csv" / name)), None)
    rows = _read_table(table, ("object", "split", "label", "image"), problems) if table is not None else None
    mine = [
        row
        for row in rows or []
        if match_key(row["object"].strip()) == match_key(product.name) and row["label"].strip() == NORMAL
    ]
    if not mine or table is None:
        found.train_normals, found.one_pool = images, True
        found.notes.append("split_csv does not list this product: normals are split in natural order")
        return
    here = {match_key(image.name): image for image in images}
    split = {match_key(PurePosixPath(row["image"].strip()).name): row["split"].strip() for row in mine}
    for name in sorted(split.keys() - here.keys()):
        where = product / "Data" / "Images" / "Normal" / name
        problems.warn(Kind.MISSING_FILE, where, f"listed in {table.name}, but there is no such file")
    found.train_normals = [image for name, image in here.items() if split.get(name) == "train"]
    found.test_normals = [image for name, image in here.items() if split.get(name) == "test"]
    if unlisted := len(here.keys() - split.keys()):
        found.notes.append(f"{unlisted} normal images are not listed in {table.name} and not used")


def _read_table(path: Path, columns: tuple[str, ...], problems: Problems) -> list[dict[str, str]] | None:
    """Read a CSV's rows; None where it is absent or, with an error reported, cannot be read."""
    if not is_file(path):
        return None
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            header = [name.strip() for name in reader.fieldnames or []]
            reader.fieldnames = header
            rows = [{name: row.get(name) or "" for name in columns} for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        problems.error(Kind.BROKEN_TABLE, path, f"cannot be read as CSV: {error}")
        return None
    if missing := [name for name in columns if name not in header]:
        problems.error(Kind.BROKEN_TABLE, path, f"expected the columns {', '.join(missing)}, found {header}")
        return None
    return rows

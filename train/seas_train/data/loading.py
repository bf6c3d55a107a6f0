"""Finds, checks and splits a product."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seas_runtime.errors import UserError
from seas_train.data.checking import Checked, check_files
from seas_train.data.images import Fit, Preprocessing
from seas_train.data.images.preprocessing import Resize
from seas_train.data.layouts import READERS, Found, FoundDefect, choose_layout, find_files
from seas_train.data.names import find_by_name, product_name, safe_name, shown_label, unique_names
from seas_train.data.problems import Kind, Problems
from seas_train.data.product import Defect, Product
from seas_train.data.regions import RegionPlan, make_plan
from seas_train.data.regions.plan import VERSION as REGIONS_VERSION
from seas_train.data.report import Counts, ProductReport
from seas_train.data.split import PhotographsConfig, divide, training_pairs


def load_product(
    directory: Path,
    config: PhotographsConfig | None = None,
    *,
    size: int,
    latent_factor: int = 8,
    defects_needed: bool = True,
) -> Product:
    """Find, check and split the product in `directory`.

    Args:
        directory: the product's folder.
        config: how its photographs are read and split; None for the defaults.
        size: images will be [size, size].
        latent_factor: pixels of a side that one latent pixel covers; `size` is a multiple of it.
        defects_needed: whether normals alone are not enough.

    Raises:
        UserError: the product cannot be used; the message is the whole report.
    """
    product, report = _read(directory, config or PhotographsConfig(), size, latent_factor, defects_needed)
    if product is None:
        raise UserError(report.to_text())
    return product


def inspect_product(
    directory: Path, config: PhotographsConfig | None = None, *, size: int, latent_factor: int = 8
) -> ProductReport:
    """Report what `load_product` finds; UserError only where there is no product to report on."""
    return _read(directory, config or PhotographsConfig(), size, latent_factor)[1]


def _read(
    directory: Path, config: PhotographsConfig, size: int, latent_factor: int, defects_needed: bool = True
) -> tuple[Product | None, ProductReport]:
    """Read the product; None where the report has errors."""
    if latent_factor < 1 or size < latent_factor or size % latent_factor:
        raise UserError(f"image size: expected a multiple of the base's {latent_factor} pixels, found {size}")
    root = Path(directory).absolute()  # not resolved: a link's name is the product's
    root = root.resolve() if root.name == ".." else root
    layout, wanted = choose_layout(root, config.layout), config.defects
    fit = config.fit if isinstance(config.fit, Fit) else Fit.CROP  # until the files tell
    preprocessing = Preprocessing(size, fit, masks=config.masks, resize=config.resize or Resize.SHARP)
    problems = Problems()
    found = find_files(root, layout, problems)
    if not defects_needed:
        problems.excuse(Kind.FOLDER_MISSING)  # without normals there is another error
    name = product_name(root.name)
    names = _choose_defects(root, found, wanted, problems)
    checked = check_files(found, layout, preprocessing, config, latent_factor, problems)

    train_normals, test_normals = _split_normals(found, checked, config.normals, problems)
    split = [
        _split_defect(defect, names[defect.label], checked, config.shots, problems)
        for defect in found.defects
    ]
    split.sort(key=lambda defect: defect.name)
    usable = tuple(defect for defect in split if defect.train)
    if not usable and defects_needed:
        problems.error(
            Kind.NO_DEFECTS, None, "expected at least one defect with an image and its mask, found none"
        )
    for defect in split:
        if not defect.train:
            message = f"{defect.label}: expected at least one image with a usable mask, found none"
            # Named on the command line it must be there; otherwise the others can do without it.
            add = problems.error if wanted is not None else problems.warn
            add(Kind.DEFECT_WITHOUT_PAIRS, None, message if wanted is not None else f"{message}; left out")
    _report_duplicates(root, checked, train_normals, test_normals, usable, problems)

    counts = {defect.label: len(defect.pairs) + len(defect.left_out) for defect in found.defects}
    lost = {
        defect.label: len(defect.left_out) + len(defect.pairs) - len(checked.pairs[defect.label])
        for defect in found.defects
    }
    normals_found = len(found.train_normals) + len(found.test_normals)
    normals_lost = normals_found - len(checked.train_normals) - len(checked.test_normals)
    report = ProductReport(
        product=name,
        label=shown_label(root.name),
        root=root,
        layout=layout.value,
        signs=READERS[layout].SIGNS,
        size=size,
        fit=checked.preprocessing.fit.value,
        latent_size=size // latent_factor,
        normals=Counts("good", "good", normals_found, normals_lost, len(train_normals), len(test_normals)),
        defects=tuple(
            Counts(d.name, d.label, counts[d.label], lost[d.label], len(d.train), len(d.test)) for d in split
        ),
        problems=tuple(problems.found),
        notes=tuple(checked.notes),
        sizes=tuple(checked.sizes),
        pictures=checked.pictures,
        regions=checked.regions,
    )
    if not report.usable:
        return None, report
    product = Product(
        name=name,
        root=root,
        layout=layout,
        preprocessing=checked.preprocessing,
        normals=train_normals,
        test_normals=test_normals,
        defects=usable,
        report=report,
        fingerprint=_fingerprint(checked, train_normals, usable, config),
        regions=_plan(checked, usable, config),
    )
    return product, report


def _choose_defects(
    root: Path, found: Found, wanted: Sequence[str] | None, problems: Problems
) -> dict[str, str]:
    """Keep the defects asked for, and return the name of each by its label."""
    names = unique_names([defect.label for defect in found.defects])
    for label, name in sorted(names.items()):
        if name != (plain := safe_name(label)):
            problems.warn(Kind.RENAMED, None, f"{label!r} is called {name}, as {plain} is taken")
    if wanted is None:
        return names
    if not wanted:
        raise UserError(f"{root}: expected at least one defect to be named, found none")
    meant = set()
    for choice in wanted:
        labels = find_by_name(choice, names)
        if len(labels) != 1:
            there = ", ".join(sorted(names.values())) or "none"
            raise UserError(f"{root}: expected a defect of this product ({there}), found {choice!r}")
        meant.update(labels)
    found.defects = [d for d in found.defects if d.label in meant]
    return names


def _split_normals(
    found: Found, checked: Checked, wanted: int, problems: Problems
) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """Return the normals that train and those that test; only the latter may be none.

    Where a product has none for testing, those that do not train are.
    """
    train, rest = divide(checked.train_normals, wanted)
    if not train:
        kind, lost = Kind.NO_NORMALS, len(found.train_normals)
        message = f"expected at least one normal image to train on, found none that is whole of {lost}"
        problems.error(kind, None, message)
    elif len(train) < wanted:
        problems.warn(
            Kind.FEW_NORMALS, None, f"expected {wanted} normal images, found {len(train)}: all of them train"
        )
    return train, rest if found.one_pool or not checked.test_normals else tuple(checked.test_normals)


def _split_defect(
    defect: FoundDefect, name: str, checked: Checked, shots: int | None, problems: Problems
) -> Defect:
    pairs = checked.pairs[defect.label]
    train, test = divide(pairs, training_pairs(len(pairs), shots))
    if shots is not None and 0 < len(pairs) < shots:
        message = f"{defect.label}: expected {shots} pairs to train, found {len(pairs)}: all of them train"
        problems.warn(Kind.FEW_PAIRS, None, message)
    return Defect(name, train, test, defect.label)


def _report_duplicates(
    root: Path,
    checked: Checked,
    train_normals: Sequence[Path],
    test_normals: Sequence[Path],
    defects: Sequence[Defect],
    problems: Problems,
) -> None:
    """Report pictures that train under one heading and train or test under another."""
    groups = [("train as normal", train_normals), ("test as normal", test_normals)]
    for defect in defects:
        groups.append((f"train as {defect.name}", [pair.image for pair in defect.train]))
        groups.append((f"test as {defect.name}", [pair.image for pair in defect.test]))
    first: dict[str, tuple[str, Path]] = {}
    for role, paths in groups:
        for path in paths:
            other_role, other = first.setdefault(checked.hashes[path], (role, path))
            if other_role != role:
                where = other.relative_to(root).as_posix()
                problems.warn(
                    Kind.DUPLICATE,
                    path,
                    f"the same file as {where}: one is to {other_role}, the other to {role}",
                )


def _plan(checked: Checked, defects: Sequence[Defect], config: PhotographsConfig) -> RegionPlan | None:
    """The regions of a product that is trained on them."""
    if not checked.regions.on or not defects:
        return None
    pairs = [defect.train for defect in defects]
    return make_plan(
        config.region_options,
        checked.preprocessing.size,
        checked.parts,
        checked.image_sizes,
        checked.hashes,
        pairs,
    )


def _fingerprint(
    checked: Checked, normals: Sequence[Path], defects: Sequence[Defect], config: PhotographsConfig
) -> str:
    content: dict[str, Any] = {
        "normals": [checked.hashes[path] for path in normals],
        "defects": {
            defect.name: [[checked.hashes[pair.image], checked.hashes[pair.mask]] for pair in defect.train]
            for defect in defects
        },
        "preprocessing": checked.preprocessing.to_dict(),
        "label_map": checked.label_map,
    }
    masks = [pair.mask for defect in defects for pair in defect.train]
    if readings := {
        checked.hashes[mask]: checked.readings[mask] for mask in masks if mask in checked.readings
    }:
        content["readings"] = readings
    if checked.regions.on:
        content["regions"] = {"version": REGIONS_VERSION, **config.region_options.to_dict()}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

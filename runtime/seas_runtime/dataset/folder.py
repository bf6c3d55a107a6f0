"""What a dataset is to hold, and whether a folder can take it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from seas_runtime.dataset.choosing import MAX_OVERSAMPLE, candidates_of, count_of_candidates, count_of_pairs
from seas_runtime.dataset.layout import (
    DATASET,
    DATASET_NAME,
    RECORDS_NAME,
    is_kept,
    pair_paths,
    remove_dataset,
    remove_temporaries,
)
from seas_runtime.dataset.pending import pending_files
from seas_runtime.dataset.record_file import RecordFile
from seas_runtime.errors import UserError
from seas_runtime.files import os_errors, read_json, write_json
from seas_runtime.generation.records import MAX_BATCH, MAX_COUNT
from seas_runtime.generation.resolve import find_name, resolve
from seas_runtime.manifest.fields import Fields, check_integer, check_number, describe, is_safe_name
from seas_runtime.manifest.types import GOOD
from seas_runtime.methods.request import Placing, Request, Sampling, given_options
from seas_runtime.outputs.checking import holds_ours
from seas_runtime.spreading.contract import PairSource

SCHEMA = 1
ALL = "all"


@dataclass(frozen=True)
class DatasetRequest:
    """What a dataset is to hold: `count` pairs of each of `defects`.

    `defects` are the bundle's, `good` for normals, or `all` for every defect and the normals. Raises
    UserError naming an option out of range.
    """

    defects: tuple[str, ...]
    count: int
    seed: int = 0
    batch: int = 4
    sampling: Sampling = field(default_factory=Sampling)
    options: Any = None
    """The method's own, None for its defaults."""
    placing: Placing | None = None
    """How defects are drawn into photographs; None for whole pictures."""
    oversample: float = 1.0
    """So many times `count` pairs of a defect are made, of which those of the best score are kept."""

    def __post_init__(self) -> None:
        if isinstance(self.defects, str) or not self.defects:
            raise UserError(f"defects: expected one or more names, found {describe(self.defects)}")
        check_integer("count", self.count, 1, MAX_COUNT)
        check_integer("batch", self.batch, 1, MAX_BATCH)
        check_number("oversample", self.oversample, 1.0, MAX_OVERSAMPLE)
        check_integer(
            "count times oversample", count_of_candidates(self.count, self.oversample), 1, MAX_COUNT
        )
        self.of(self.defects[0])  # checks the seed

    def of(self, defect: str) -> Request:
        """Return the request of one defect's pairs."""
        return Request(defect, self.seed, self.sampling, self.options, self.placing)

    def candidates(self, defect: str) -> int:
        """Return how many pairs of a defect are made."""
        return candidates_of({"count": self.count, "oversample": self.oversample}, defect)

    def resolve(self, generator: PairSource) -> DatasetRequest:
        """Fill in the bundle's defaults and put the defects in the bundle's order, normals last.

        Raises UserError for a name that is none, and for pairs to choose from by scores that the bundle
        cannot give.
        """
        if self.oversample > 1 and not generator.scores(self.placing):
            raise UserError(
                "oversample: the best pairs are kept by scores, which pairs have that are drawn into "
                "photographs by a bundle with features of real defects; leave it out, or use such a bundle"
            )
        known = (*generator.manifest.defects, GOOD)
        wanted = {find_name(generator.manifest, defect, self.options, ALL) for defect in self.defects}
        wanted = set(known) if ALL in wanted else wanted
        reader = generator.mask_reader
        filled = resolve(self.of(GOOD), generator.bundle, measured=reader is not None)
        if reader is not None:
            reader.check(self.placing, wanted)
        others = sorted(wanted - set(known))  # names of one's own
        defects = tuple(defect for defect in (*others, *known) if defect in wanted)
        return replace(self, defects=defects, sampling=filled.sampling, options=filled.options)


def describe_dataset(generator: PairSource, request: DatasetRequest) -> dict[str, Any]:
    """Return what `dataset.json` says; the pairs follow from it. `request` is a resolved one."""
    options, manifest = given_options(request.options), generator.manifest
    labels = {name: manifest.labels[name] for name in request.defects if name in manifest.labels}
    return {
        "schema": SCHEMA,
        "product": manifest.product,
        **({"product_label": manifest.product_label} if manifest.product_label else {}),
        **({"labels": labels} if labels else {}),
        "bundle": generator.bundle.fingerprint,
        **generator.describe_backend(),
        "defects": list(request.defects),
        "count": request.count,
        **({"oversample": float(request.oversample)} if request.oversample != 1 else {}),
        "seed": request.seed,
        "batch": request.batch,
        **{name: getattr(request.sampling, name) for name in ("sampler", "steps", "guidance", "tau", "gate")},
        **({"options": options} if options else {}),
        **(_describe_placing(generator, request.placing) if request.placing else {}),
        "licences": [licence.name for licence in generator.manifest.licences],
    }


def _describe_placing(generator: PairSource, placing: Placing) -> dict[str, Any]:
    """Return what placed pairs follow from besides: how they are placed, and the photographs' contents."""
    backgrounds, reader = generator.backgrounds, generator.mask_reader
    return {
        "placing": placing.to_dict(),
        **({} if reader is None else {"mask_from": reader.bundle.fingerprint}),
        "photographs": {"count": len(backgrounds), "sha256": backgrounds.digest},
    }


def backend_of(out: Path) -> str | None:
    """Return the backend that the dataset in the folder `out` was begun on, None where there is none.

    Raises UserError for a `dataset.json` that is not one.
    """
    file = out / DATASET_NAME
    return str(read_description(file).get("backend")) if file.exists() else None


def prepare_folder(out: Path, description: dict[str, Any], force: bool) -> None:
    """Make the folder `out` ready for the dataset of `description`, or for the rest of it.

    A folder with a dataset of the same description, or of one with another count or fewer defects, is
    continued; with `force` any dataset there is removed first. Raises UserError for another dataset, and for
    a folder that holds other files.
    """
    file = out / DATASET_NAME
    if holds_ours(out, DATASET):
        before = read_description(file)
        with os_errors(out):
            if force:
                remove_dataset(out, tuple(before["defects"]), written_files(out))
            else:
                advice = "choose another folder, or replace the dataset with --force"
                check_continues(out, before, description, advice)
                remove_temporaries(out, tuple(description["defects"]))
        if before == description and not force:
            return
    write_json(file, description)


def kept_count(out: Path, count: int, oversample: float) -> int:
    """Return how many pairs of each a dataset of `count` is to hold: none that is there is dropped."""
    records = RecordFile(out / RECORDS_NAME)
    records.load()
    made = {False: 0, True: 0}
    for defect, index in records.lines:
        made[defect == GOOD] = max(made[defect == GOOD], index + 1)
    return max(count, made[True], count_of_pairs(made[False], oversample))


def written_files(out: Path) -> set[str]:
    """Return the files of pairs that the records, or the list of the batch in the making, call ours."""
    records = RecordFile(out / RECORDS_NAME)
    records.load()
    files = {
        path
        for record in records.records()
        if is_kept(record)
        for path in pair_paths(record["defect"], record["index"]).values()
    }
    return files | pending_files(out)


def read_description(file: Path) -> dict[str, Any]:
    """Return what a `dataset.json` says; UserError where it is none of ours."""
    return check_description(read_json(file, "dataset description"), str(file))


def check_description(value: Any, where: str) -> dict[str, Any]:
    """Return a dataset's description as it was read; UserError where it is none of ours."""
    try:
        fields = Fields(value, where)
        fields.integer("schema", SCHEMA, SCHEMA)
        fields.integer("count", 1, MAX_COUNT)
        if fields.has("oversample"):
            fields.number("oversample", 1.0, MAX_OVERSAMPLE)
        for name in fields.items("defects"):
            if not isinstance(name, str) or not is_safe_name(name):
                fields.fail("defects", "names of defects", name)
    except UserError as error:
        raise UserError(f"{error}; remove the folder or choose another one") from None
    result: dict[str, Any] = value
    return result


def check_continues(
    out: Path | str, before: Mapping[str, Any], description: Mapping[str, Any], advice: str
) -> None:
    """Refuse to mix two datasets in one place; only `count` may change, and defects be added.

    What decides a backend's bytes besides its name is compared where it was written down: earlier versions
    did not.
    """
    unsaid: dict[str, Any] = {
        "options": {},
        "oversample": 1.0,
        "placing": {},
        "photographs": {},
        "mask_from": None,
    }
    for key, value in {**unsaid, **description}.items():
        found = before.get(key, unsaid.get(key))
        if key.startswith("backend_") and key not in before:
            continue
        if key in ("count", "labels") or (key == "defects" and set(found or ()) <= set(value)):
            continue
        if found != value:
            raise UserError(
                f"{out}: holds a dataset of another {key}: expected {describe(value)}, "
                f"found {describe(found)}; {advice}"
            )

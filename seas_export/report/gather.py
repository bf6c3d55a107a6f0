"""Reads what a build made, for its report."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from seas_export.report.content import (
    Content,
    Curve,
    DefectPictures,
    GateCounts,
    Latency,
    MaskScores,
    Table,
    parts_of,
)
from seas_export.report.pictures import REAL, SHOWN, GeneratedPictures, RealPictures
from seas_export.report.proven import proven
from seas_export.verdict import Verdict
from seas_export.verdict.files import SET_ASIDE, VERDICT_FILE, read_verdicts
from seas_runtime.bundle.placement.backgrounds import FOLDER
from seas_runtime.dataset.layout import is_kept
from seas_runtime.manifest.types import GOOD, Manifest
from seas_runtime.methods.request import PLACED
from seas_runtime.photographs.values import Values
from seas_runtime.placement.options import BOXES

if TYPE_CHECKING:
    from seas_train.data import Product

PARITY = {"graphs": "Each graph", "pipeline": "Whole pairs"}


def gather(out: Path, product: Product, build: Mapping[str, Any]) -> Content:
    """Collect the report of the build in `out`.

    product: for the real pictures. build: the content of build.json.

    Raises:
        UserError: something that it shows is missing or unreadable.
    """
    from seas_runtime.bundle.reading import read_manifest_file

    model = out / build.get("pairs_by", ".")
    manifest, fingerprint = read_manifest_file(model / "bundle")
    verdicts = read_verdicts(model / VERDICT_FILE)
    records, beside = split_records(out, verdicts)
    labels = product.labels
    descriptions = _descriptions(out)
    real = RealPictures(product)
    made = GeneratedPictures(Values.of(manifest.preprocessing), _photograph_folders(model, build))
    gates = (
        *gate_counts(records, labels),
        *(replace(gate, counted=False) for gate in gate_counts(beside, labels)),
    )
    words = (
        "the sample product, rendered by code; these are not photographs"
        if _is_sample(build)
        else "photographs"
    )
    return Content(
        product=product.label,
        subtitle=f"Real pictures: {words} · base {build['base']['name']} · seas-export {build['version']}",
        defects=tuple(
            DefectPictures(
                labels.get(defect.name, defect.name),
                tuple(map(real.pair, defect.train[:REAL])),
                made.of_defect(out / "dataset", records, defect.name)
                or made.of_defect(out / SET_ASIDE, beside, defect.name),
            )
            for defect in product.defects
        ),
        real_normals=tuple(map(real.normal, product.normals[:SHOWN])),
        generated_normals=made.of_defect(out / "dataset", records, GOOD),
        made=how_made(descriptions, manifest),
        verdicts=tuple(replace(v, defect=labels.get(v.defect, v.defect)) for v in verdicts),
        curves=tuple(_curves(out / "training", manifest.method)),
        latency=_latency([*records, *beside], build),
        gates=gates,
        notes=(*notes(gates), *_fast(build)),
        mask_scores=_mask_scores(model / "mask_scores.json", labels),
        proven=proven(out, build),
        parity=tuple(parity_tables(manifest.parity)),
        timings=tuple(
            (name, part["path"], part["seconds"]) for name, part in build["parts"].items() if part["output"]
        ),
        configuration=build["config"],
        provenance={
            "bundle": fingerprint,
            "photographs": build["fingerprints"]["product"],
            "base": build["fingerprints"]["base"],
            **manifest.provenance,
            "licences of the base and the data": [
                f"{licence.name} ({licence.applies_to})" for licence in manifest.licences
            ],
            "machine": build["machine"],
        },
    )


def split_records(
    out: Path, verdicts: Sequence[Verdict]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The records of a build's data set, and of the pairs beside it that are not in it."""
    records = list(read_records(out / "dataset"))
    aside = {verdict.defect for verdict in verdicts} - {record["defect"] for record in records}
    return records, [record for record in read_records(out / SET_ASIDE) if record["defect"] in aside]


def read_records(dataset: Path) -> Iterator[dict[str, Any]]:
    """The records of a data set's pairs, without those that a person removed."""
    from seas_runtime.dataset.layout import RECORDS_NAME
    from seas_runtime.dataset.record_file import RecordFile

    records = RecordFile(dataset / RECORDS_NAME)
    records.load()
    yield from (record for record in records.records() if not record.get("deleted"))


def notes(gates: Sequence[GateCounts]) -> Iterator[str]:
    """What is wrong with what was generated, in words."""
    for gate in gates:
        if gate.given_up:
            most = max(gate.reasons, key=lambda reason: gate.reasons[reason], default="")
            yield (
                f"{gate.name}: {gate.given_up} of {gate.pairs} never passed the gates and have no files; "
                f"most often: {most}."
            )


def parity_tables(figures: Mapping[str, Any]) -> Iterator[Table]:
    """The manifest's parity figures as tables: every list of rows is one, single figures are another."""
    singles: list[tuple[str, str]] = []
    for name, value in figures.items():
        if (
            isinstance(value, Sequence)
            and not isinstance(value, str)
            and value
            and isinstance(value[0], Mapping)
        ):
            columns = tuple(value[0])
            rows = tuple(tuple(_cell(row.get(column)) for column in columns) for row in value)
            failed = frozenset(index for index, row in enumerate(value) if row.get("passed") is False)
            yield Table(PARITY.get(name, name), columns, rows, failed)
        elif isinstance(value, Mapping):
            yield Table(name, ("", ""), tuple((key, _cell(entry)) for key, entry in value.items()))
        else:
            singles.append((name, _cell(value)))
    if singles:
        yield Table("Altogether", ("", ""), tuple(singles))


def how_made(descriptions: Sequence[Mapping[str, Any]], manifest: Manifest) -> str:
    """Whether pairs were drawn into photographs, and what their masks are, in sentences.

    descriptions: what `dataset.json` says of each data set.
    """
    if not descriptions:
        return ""
    from seas_runtime.methods.table import find_method

    placing, measured = (
        descriptions[0].get("placing"),
        bool(find_method(manifest.method).readouts(manifest, None)),
    )
    if placing is None:
        what = "read by the mask head" if measured else "given to the model"
        return f"Whole pictures, made from noise; their masks are {what}."
    count = descriptions[0]["photographs"]["count"]
    refined = measured and placing["mask"] != PLACED
    masks = "what the mask head finds of the placement" if refined else "the placement itself"
    if not refined and placing["placement"].get("source") == BOXES:
        masks = "the boxes that were drawn into, and so weak labels"
    return (
        f"Placed pairs: defects drawn into {count} photograph{'s' * (count != 1)}, which stay as they are "
        f"around them; masks are {masks}."
    )


def _descriptions(out: Path) -> list[dict[str, Any]]:
    """What is said of a build's data set, and of the pairs beside it."""
    from seas_runtime.dataset.folder import read_description
    from seas_runtime.dataset.layout import DATASET_NAME

    files = (out / folder / DATASET_NAME for folder in ("dataset", SET_ASIDE))
    return [read_description(file) for file in files if file.is_file()]


def _fast(build: Mapping[str, Any]) -> Iterator[str]:
    """What a build that was asked for cheaper pairs took."""
    if build.get("fast"):
        yield build["fast"]["words"]


def _photograph_folders(model: Path, build: Mapping[str, Any]) -> list[Path]:
    """Where the photographs may lie that defects were drawn into: the build's choice, and the bundle."""
    chosen = build["config"].get("generate", {}).get("onto")
    return [*([Path(chosen)] if chosen else []), model / "bundle" / FOLDER]


def _curves(training: Path, method: str) -> Iterator[Curve]:
    """Every loss of every stage of a method."""
    from seas_train.methods.table import find_method

    for stage, words in find_method(method).stages.items():
        file = training / stage / "losses.jsonl"
        if not file.is_file():
            continue
        rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
        for name in rows[0] if rows else ():
            if name not in ("step", "learning_rate"):
                yield Curve(words, name, tuple((row["step"], row[name]) for row in rows if name in row))


def _latency(records: Sequence[Mapping[str, Any]], build: Mapping[str, Any]) -> Latency | None:
    """Times of pairs that took one attempt; retries would count twice."""
    times = [record["times"] for record in records if len(record["attempts"]) == 1]
    if not times:
        return None
    median, p95 = np.percentile([entry["total"] for entry in times], (50, 95)).tolist()
    return Latency(
        pairs=len(times),
        batch=build["config"]["generate"]["batch"],
        median=median,
        p95=p95,
        parts=tuple(parts_of(times).items()),
    )


def _mask_scores(file: Path, labels: Mapping[str, str]) -> MaskScores | None:
    """What the build's evaluation found; None where no pair was held out, or the method reads no masks."""
    from seas_runtime.files import read_json

    scores = read_json(file, "mask scores")
    if not scores.get("defects"):
        return None
    normals = scores["normals"]
    defects = {labels.get(name, name): score for name, score in scores["defects"].items()}
    return MaskScores(defects, normals["images"], normals["empty_masks"], bool(scores.get("regions")))


def gate_counts(
    records: Sequence[Mapping[str, Any]], labels: Mapping[str, str] | None = None
) -> Iterator[GateCounts]:
    """What the gates did, defect by defect; `labels` are shown instead of their names."""
    for name in dict.fromkeys(record["defect"] for record in records):
        own = [record for record in records if record["defect"] == name]
        accepted = [record for record in own if record["accepted"]]
        reasons = Counter(
            attempt["rejected"].split(": ")[0]  # figures follow, of this attempt alone
            for record in own
            for attempt in record["attempts"]
            if attempt["rejected"]
        )
        first = sum(len(record["attempts"]) == 1 for record in accepted)
        scores = [score for record in accepted if (score := record.get("score")) is not None]
        yield GateCounts(
            (labels or {}).get(name, name),
            len(own),
            first,
            len(accepted) - first,
            len(own) - len(accepted),
            reasons,
            score=float(np.median(scores)) if scores else None,
            left_out=sum(not is_kept(record) for record in accepted),
        )


def _is_sample(build: Mapping[str, Any]) -> bool:
    """Whether the product is the sample."""
    return bool(build["source"]["sample"])


def _cell(value: Any) -> str:
    """A figure as a table shows it."""
    if isinstance(value, bool):
        return "yes" if value else "NO"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    return "" if value is None else str(value)

"""Runs a campaign's parts one after another, each over all devices, and goes on where one fails."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from seas_export.campaign.estimate import Estimate, estimate
from seas_export.campaign.plan import Part, Plan, counts, out_of
from seas_export.campaign.target import PROOFS, Asked, ask, measure
from seas_export.placing.choice import choose_placing
from seas_export.version import version
from seas_runtime import DatasetRequest, Placing, Sampling, write_dataset
from seas_runtime.bundle.reading import read_manifest_file
from seas_runtime.dataset.folder import ALL, kept_count
from seas_runtime.dataset.layout import RECORDS_NAME
from seas_runtime.dataset.record_file import RecordFile
from seas_runtime.dataset.shards.names import SHARDS, missing, parse
from seas_runtime.dataset.shards.store import Store, is_url
from seas_runtime.dataset.shards.writing import ShardOptions, write_shards
from seas_runtime.errors import CheckFailed, UserError
from seas_runtime.files import json_bytes, read_json, write_json
from seas_runtime.generation.resolve import find_defect
from seas_runtime.manifest.types import GOOD
from seas_runtime.spreading.contract import PairSource
from seas_runtime.spreading.opening import open_source
from seas_runtime.spreading.worker import versions

NAME = "campaign.json"
Progress = Callable[[str, int, int], None]
"""Called with a part's name, its pairs done, and its pairs in all."""


@dataclass(frozen=True)
class PartPlan:
    """A part as it is run."""

    part: Part
    product: str
    method: str
    fingerprint: str
    """Of its bundle."""
    defects: tuple[str, ...]
    count: int
    """Pairs of each defect."""
    left: int
    """Pairs that are missing."""
    asked: Asked | None = None
    """Its target."""

    @property
    def pairs(self) -> int:
        """In all."""
        return self.count * len(self.defects)


@dataclass(frozen=True)
class PartDone:
    """How a part came out."""

    name: str
    product: str
    pairs: int
    accepted: int
    continued: int
    failed: str | None = None
    """Why it ended early."""
    decided: str | None = None
    """By its target, in words."""


def prepare(plan: Plan) -> list[PartPlan]:
    """Look at every bundle and at what is there; UserError for the first that cannot be used."""
    found = []
    for part in plan.parts:
        manifest, fingerprint = read_manifest_file(part.bundle)
        wanted = {find_defect(manifest, name, ALL) for name in part.defects}
        known = (*manifest.defects, GOOD)
        defects = known if ALL in wanted else tuple(name for name in known if name in wanted)
        found.append((part, manifest, fingerprint, defects))
    count = counts(plan, {part.name: len(defects) for part, _, _, defects in found})
    earlier = _targets_of(plan)
    made = []
    for part, manifest, fingerprint, defects in found:
        asked, pairs = None, count[part.name]
        if part.target is not None:
            asked = _ask(plan, part, fingerprint, defects, earlier.get(part.name))
            pairs = min(pairs, asked.enough or pairs)
        left = _left(out_of(plan, part), defects, pairs)
        made.append(
            PartPlan(part, manifest.product, manifest.method, fingerprint, defects, pairs, left, asked)
        )
    return made


def _ask(plan: Plan, part: Part, fingerprint: str, defects: tuple[str, ...], earlier: Any) -> Asked:
    assert part.target is not None
    seed = plan.seed if part.seed is None else part.seed
    onto = None if part.onto is None else str(part.onto)
    generated = (fingerprint, seed, part.source, onto, part.guidance, part.tau, plan.backend)
    try:
        return ask(part.target, defects, generated, earlier)
    except UserError as error:
        raise UserError(f"{part.name}: {error}") from None


def _targets_of(plan: Plan) -> Mapping[str, Any]:
    """Return what earlier runs found of targets, by part."""
    file = Path(plan.out) / NAME
    if is_url(plan.out) or not file.is_file():
        return {}
    parts = read_json(file, "record of a campaign")
    try:
        return {part["name"]: part["target"] for part in parts["parts"] if part.get("target")}
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{file}: expected the record of a campaign, found something else ({type(error).__name__}); "
            "remove it"
        ) from None


def _left(out: str, defects: tuple[str, ...], count: int) -> int:
    """Return how many pairs are missing, as a list of what is there has it."""
    if is_url(out):
        there = [shard.range for shard in parse(Store(out).names(SHARDS))]
        return sum(item.end - item.start for name in defects for item in missing(name, count, count, there))
    records = RecordFile(Path(out) / RECORDS_NAME)
    records.load()
    return sum((name, index) not in records.lines for name in defects for index in range(count))


def cost(plan: Plan, parts: list[PartPlan]) -> Estimate:
    """Return what the campaign costs from here on."""
    workers = plan.workers or 1
    spent = [0, 0.0]
    for item in parts:
        out = out_of(plan, item.part)
        if not is_url(out):
            records = RecordFile(Path(out) / RECORDS_NAME)
            records.load()
            for record in records.records():
                spent[0] += 1
                spent[1] += record["times"]["total"]
    measured = spent[1] / spent[0] if spent[0] else None
    pairs, left = sum(item.pairs for item in parts), sum(item.left for item in parts)
    return estimate(plan, pairs, left, workers, measured)


def run(plan: Plan, parts: list[PartPlan], progress: Progress) -> list[PartDone]:
    """Make the pairs of every part; one that fails does not keep the others from being made.

    What came out is in `campaign.json` after each part. Run again, it makes what is missing.
    """
    done: list[PartDone] = []
    parts = list(parts)

    def keep(item: PartPlan) -> None:
        parts[len(done)] = item
        _write_manifest(plan, parts, done)

    for item in parts.copy():
        try:
            done.append(_run_part(plan, item, progress, keep))
        except (UserError, CheckFailed) as error:
            done.append(PartDone(item.part.name, item.product, item.pairs, 0, 0, str(error)))
        _write_manifest(plan, parts, done)
    return done


def _run_part(plan: Plan, item: PartPlan, progress: Progress, keep: Callable[[PartPlan], None]) -> PartDone:
    part, out = item.part, out_of(plan, item.part)

    def report(done: int, total: int) -> None:
        progress(part.name, done, total)

    with open_source(part.bundle, plan.backend, plan.threads, None, plan.devices, plan.ray) as (source, _):
        if source.bundle.fingerprint != item.fingerprint:
            raise UserError(f"{part.bundle}: written since the campaign began; run the command again")
        request = DatasetRequest(
            defects=item.defects,
            count=item.count,
            seed=plan.seed if part.seed is None else part.seed,
            batch=plan.batch,
            sampling=Sampling(guidance=part.guidance, tau=part.tau),
            placing=choose_placing(source, part.source, part.onto, Placing()),
        )
        if is_url(out):
            options = ShardOptions(plan.shards, plan.shard_pairs)
            written = write_shards(source, request, out, options, report)
            return PartDone(part.name, item.product, written.pairs, written.accepted, written.continued)
        if item.asked is not None:
            item = _until_enough(plan, item, source, request, report, keep)
        summary = write_dataset(source, replace(request, count=item.count), Path(out), report)
    accepted = sum(entry.accepted for entry in summary.defects.values())
    decided = None if item.asked is None else item.asked.in_words(item.count)
    return PartDone(part.name, item.product, item.pairs, accepted, summary.continued, None, decided)


def _until_enough(
    plan: Plan,
    item: PartPlan,
    source: PairSource,
    request: DatasetRequest,
    report: Callable[[int, int], None],
    keep: Callable[[PartPlan], None],
) -> PartPlan:
    """Make pairs in steps until one gains too little; return the part with what was found."""
    asked, out = item.asked, Path(out_of(plan, item.part))
    assert asked is not None
    for count in asked.counts(item.count):
        if asked.enough is not None:
            break
        count = kept_count(out, count, request.oversample)  # pairs that are there already are not dropped
        if any(step.count == count for step in asked.found):
            continue
        write_dataset(source, replace(request, count=count), out, report)
        step = measure(asked, count, out, Path(plan.out) / PROOFS / item.part.name, plan.threads)
        asked = replace(asked, found=tuple(sorted((*asked.found, step), key=lambda one: one.count)))
        keep(replace(item, asked=asked, count=asked.enough or item.count))
    return replace(item, asked=asked, count=asked.enough or item.count)


def _write_manifest(plan: Plan, parts: list[PartPlan], done: list[PartDone]) -> None:
    value: dict[str, Any] = {
        "schema": 1,
        "version": version(),
        "versions": versions(),
        "plan": plan.to_dict(),
        "parts": [
            {
                "name": item.part.name,
                "product": item.product,
                "method": item.method,
                "bundle": item.fingerprint,
                "defects": list(item.defects),
                "count": item.count,
                "out": out_of(plan, item.part),
                "target": None if item.asked is None else item.asked.to_dict(item.count),
                "came_out": next((asdict(one) for one in done if one.name == item.part.name), None),
            }
            for item in parts
        ],
    }
    if is_url(plan.out):
        Store(plan.out).put(NAME, json_bytes(value))
    else:
        write_json(Path(plan.out) / NAME, value)

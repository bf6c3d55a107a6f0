"""Runs a campaign's parts one after another, each over all devices, and goes on where one fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from seas_export.campaign.estimate import Estimate, estimate
from seas_export.campaign.plan import Part, Plan, counts, out_of
from seas_export.placing.choice import choose_placing
from seas_export.version import version
from seas_runtime import DatasetRequest, Placing, Sampling, write_dataset
from seas_runtime.bundle.reading import read_manifest_file
from seas_runtime.dataset.folder import ALL
from seas_runtime.dataset.layout import RECORDS_NAME
from seas_runtime.dataset.record_file import RecordFile
from seas_runtime.dataset.shards.names import SHARDS, missing, parse
from seas_runtime.dataset.shards.store import Store, is_url
from seas_runtime.dataset.shards.writing import ShardOptions, write_shards
from seas_runtime.errors import CheckFailed, UserError
from seas_runtime.files import json_bytes, write_json
from seas_runtime.generation.resolve import find_defect
from seas_runtime.manifest.types import GOOD
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
    return [
        PartPlan(
            part,
            manifest.product,
            manifest.method,
            fingerprint,
            defects,
            count[part.name],
            _left(out_of(plan, part), defects, count[part.name]),
        )
        for part, manifest, fingerprint, defects in found
    ]


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
    for item in parts:
        try:
            done.append(_run_part(plan, item, progress))
        except (UserError, CheckFailed) as error:
            done.append(PartDone(item.part.name, item.product, item.pairs, 0, 0, str(error)))
        _write_manifest(plan, parts, done)
    return done


def _run_part(plan: Plan, item: PartPlan, progress: Progress) -> PartDone:
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
        summary = write_dataset(source, request, Path(out), report)
        accepted = sum(entry.accepted for entry in summary.defects.values())
        return PartDone(part.name, item.product, item.pairs, accepted, summary.continued)


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
                "came_out": next((asdict(one) for one in done if one.name == item.part.name), None),
            }
            for item in parts
        ],
    }
    if is_url(plan.out):
        Store(plan.out).put(NAME, json_bytes(value))
    else:
        write_json(Path(plan.out) / NAME, value)

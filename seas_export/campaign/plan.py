"""What a campaign is to make: `plan.yaml`, checked whole before any work."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from seas_export.campaign.target import PROOFS, Target
from seas_runtime.dataset.shards.store import is_url
from seas_runtime.errors import UserError
from seas_runtime.generation.records import MAX_COUNT
from seas_runtime.manifest.fields import describe, is_safe_name
from seas_train.settings import Count, Positive, Settings, Whole, overlay, read_yaml, within

_PARTS = "parts"


@dataclass(frozen=True)
class Part(Settings):
    """Pairs of some defects of one bundle: a product by a method."""

    name: str = ""
    """Of its folder below the campaign's."""
    bundle: Path = Path()
    defects: tuple[str, ...] = ("all",)
    count: Annotated[int, within(1, MAX_COUNT)] | None = None
    """Pairs of each defect; None where the campaign's `pairs` are shared out."""
    share: Positive = 1.0
    """Its part of the campaign's `pairs`, beside the others' shares."""
    seed: Whole | None = None
    """None for the campaign's."""
    onto: Path | None = None
    """Photographs to draw into; None for the bundle's own, where it has some."""
    source: str = "auto"
    """auto, photographs or noise, as `generate --from`."""
    guidance: float | None = None
    tau: float | None = None
    target: Target | None = None
    """When it has pairs enough, `count` at most; None to make all."""


@dataclass(frozen=True)
class Plan(Settings):
    """A campaign."""

    out: str = ""
    """Folder, or URL for shards; each part has a folder of its own below."""
    parts: tuple[Part, ...] = ()
    pairs: Count | None = None
    """In all, where parts give no `count`: by their shares, the same for each defect of a part."""
    seed: Whole = 0
    batch: Annotated[int, within(1, 64)] = 4
    backend: str = "cpu"
    threads: Count | None = None
    devices: str | None = None
    ray: str | None = None
    shards: str = "tar"
    shard_pairs: Count = 256
    seconds_per_pair: Positive | None = None
    """Of one device, as `bench` measures it, for the estimate."""
    workers: Count | None = None
    """Devices that the estimate counts with."""
    board: str | None = None
    """Whose power the estimate counts with."""
    watts: Positive | None = None
    """Of one device, where no board is named."""


def read_plan(file: Path) -> Plan:
    """Read a plan.

    Raises UserError where it cannot be read, says what there is not, or leaves out what is needed.
    """
    values = read_yaml(file)
    where = str(file)
    listed = values.pop(_PARTS, None)
    if not isinstance(listed, list) or not listed:
        raise UserError(f"{where}: {_PARTS}: expected a list of one part or more, found {describe(listed)}")
    parts = tuple(_part(item, f"{_PARTS}[{place}]", file) for place, item in enumerate(listed))
    plan = dataclasses.replace(overlay(Plan(), values, where), parts=parts)
    _check(plan, where)
    return plan


def _part(values: Any, at: str, file: Path) -> Part:
    if not isinstance(values, Mapping):
        raise UserError(f"{file}: {at}: expected keys and values, such as bundle: out/bottle/bundle")
    values = dict(values)
    defects = values.get("defects")
    if isinstance(defects, str):
        values["defects"] = [defects]
    beside = file.absolute().parent  # paths are as the plan's reader sees them
    target = _target(values.pop("target", None), f"{at}.target", file, beside)
    part = overlay(Part(), values, str(file), at)
    if "bundle" not in values:
        raise UserError(f"{file}: {at}.bundle: expected a bundle's folder, found none")
    onto = None if part.onto is None else beside / part.onto
    bundle = beside / part.bundle
    name = part.name or (bundle.parent.name if bundle.name == "bundle" else bundle.name)
    return dataclasses.replace(part, name=name, bundle=bundle, onto=onto, target=target)


def _target(values: Any, at: str, file: Path, beside: Path) -> Target | None:
    if values is None:
        return None
    if not isinstance(values, Mapping) or "product" not in values:
        raise UserError(
            f"{file}: {at}: expected keys and values with the folder of the product's photographs, which "
            f"`prove` tests on, such as product: photographs/bottle, found {describe(values)}"
        )
    target = overlay(Target(), values, str(file), at)
    return dataclasses.replace(target, product=beside / target.product)


def _check(plan: Plan, where: str) -> None:
    if not plan.out:
        raise UserError(f"{where}: out: expected a folder, or a URL for shards, found none")
    names = [part.name.casefold() for part in plan.parts]
    for part in plan.parts:
        if not is_safe_name(part.name):
            raise UserError(f"{where}: name: expected a name usable as a folder, found {describe(part.name)}")
        if names.count(part.name.casefold()) > 1:
            raise UserError(f"{where}: name: {part.name} is there twice; give each part a name of its own")
        if part.target is not None and is_url(plan.out):
            raise UserError(
                f"{where}: {part.name}: target: `prove` reads a data set's folder, and out is a URL; give a "
                "folder, or leave the target out"
            )
        if part.target is not None and PROOFS in names:
            raise UserError(f"{where}: name: {PROOFS} is the folder of targets' proofs; choose another name")
        if part.count is None and plan.pairs is None:
            raise UserError(
                f"{where}: {part.name}: expected `count`, pairs of each defect, or `pairs` of the whole "
                "campaign, found neither"
            )
    if plan.ray is not None and not is_url(plan.out):
        output = f"file://{Path(plan.out).absolute()}"
        raise UserError(f"{where}: out: with ray expected a URL that every machine reaches, such as {output}")


def out_of(plan: Plan, part: Part) -> str:
    """Return where a part's pairs go."""
    return f"{plan.out.rstrip('/')}/{part.name}" if is_url(plan.out) else str(Path(plan.out) / part.name)


def counts(plan: Plan, defects: Mapping[str, int]) -> dict[str, int]:
    """Return how many pairs of each defect each part makes, by its name.

    defects: how many a part has, normals too. Shares are rounded up: no part is left without.
    """
    sharing = [part for part in plan.parts if part.count is None]
    whole = sum(part.share for part in sharing)
    made = {}
    for part in plan.parts:
        if part.count is not None:
            made[part.name] = part.count
        else:
            assert plan.pairs is not None
            wanted = plan.pairs * part.share / whole
            made[part.name] = min(MAX_COUNT, max(1, -int(-wanted // defects[part.name])))
    return made

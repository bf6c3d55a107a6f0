"""`campaign`: pairs of many products by one plan."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from seas_export.cli import options, output


@output.command("Run the same command again: what is there is kept, and what is missing is made.")
def campaign(
    plan: Annotated[Path, typer.Argument(metavar="PLAN.yaml", help="What to make: see docs/scale.md.")],
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Say what it costs and what is missing, and make nothing.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Make pairs of many products, each over all devices; a product that fails does not stop the others."""
    from seas_export.campaign.plan import read_plan
    from seas_export.campaign.running import cost, prepare, run
    from seas_export.progress import build_progress
    from seas_runtime.errors import CheckFailed

    wanted = read_plan(plan)
    parts = prepare(wanted)
    price = cost(wanted, parts)
    if estimate:
        rows: list[tuple[object, ...]] = [
            (item.part.name, item.product, item.method, len(item.defects), item.count, item.pairs, item.left)
            for item in parts
        ]
        table = output.table(
            "", "product", "method", "defects", "pairs of each", "pairs", "missing", rows=rows
        )
        output.report(price.to_dict(), output.group(table, price.in_words()), json)
        return
    output.say(price.in_words())
    with build_progress() as show:
        done = run(wanted, parts, lambda name, made, total: show(name, "pairs", made, total))
    for one in done:
        if one.decided:
            output.say(f"{one.name}: {one.decided}")
    rows = [(one.name, one.product, one.pairs, one.accepted, one.continued, one.failed or "") for one in done]
    table = output.table("", "product", "pairs", "accepted", "were there", "failed", rows=rows)
    value = {"estimate": price.to_dict(), "parts": [vars(one) for one in done]}
    output.report(value, table, json)
    failed = [one.name for one in done if one.failed]
    if failed:
        raise CheckFailed(
            f"{len(failed)} of {len(done)} parts ended early: {', '.join(failed)}; see the table. Run the "
            "command again to continue them"
        )

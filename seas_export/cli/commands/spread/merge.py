"""`merge`: shards of one or several stores become one data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from seas_export.cli import options, output


@output.command("Run the same command again: the folder appears whole or not at all.")
def merge(
    urls: Annotated[
        list[str], typer.Argument(metavar="URL...", help="What generate --out URL wrote: one or several.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Data set folder to make.")],
    partial: Annotated[
        bool, typer.Option("--partial", help="Take what is there where pairs are missing yet.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Bring shards together into a data set in MVTec AD layout, verifying every byte."""
    from seas_runtime.dataset.shards.merging import merge_shards

    merged = merge_shards(urls, out, partial=partial)
    words = f"{merged.path}: {merged.pairs} pairs of {merged.shards} shards, {merged.accepted} accepted"
    if merged.twice:
        words += f"; {merged.twice} in several shards, with the same bytes"
    if merged.missing:
        words += f"; {merged.missing} missing yet"
    output.report(merged.to_dict(), words, json)

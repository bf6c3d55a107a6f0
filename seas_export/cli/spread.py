"""Options of commands that spread their work over devices and machines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from seas_runtime.dataset.shards.writing import ShardOptions, ShardsSummary

Devices = Annotated[
    str | None,
    typer.Option(
        "--devices",
        help="A process for each GPU: all, or some, as 0,1,3; cores:2 for two groups of the processor's "
        "cores. Pairs are those of one process.",
        show_default=False,
    ),
]
Ray = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="ADDRESS",
        help="Make pairs on a Ray cluster: head:6379, ray://head:10001, auto, or local to start one here.",
        show_default=False,
    ),
]
MixedDevices = Annotated[
    bool,
    typer.Option(
        "--mixed-devices", help="With --ray: let machines of several kinds make pairs; records say which."
    ),
]
Shards = Annotated[
    str,
    typer.Option(
        "--shards",
        help="Where --out is a URL: tar, as WebDataset reads it, or files, as in a data set's folder.",
    ),
]
ShardPairs = Annotated[int, typer.Option("--shard-pairs", help="Where --out is a URL: pairs of a shard.")]
Part = Annotated[
    str,
    typer.Option(
        "--part",
        metavar="K/N",
        help="Where --out is a URL: the K-th of N equal parts of the shards, for machines without Ray.",
    ),
]


def shard_options(
    out: str, shards: str, pairs: int, part: str, *, force: bool, restore: bool
) -> ShardOptions | None:
    """How shards are written, None where `out` is a folder; UserError for options of the other."""
    from seas_runtime.dataset.shards.names import Part as Which
    from seas_runtime.dataset.shards.store import is_url
    from seas_runtime.dataset.shards.writing import ShardOptions
    from seas_runtime.errors import UserError

    asked = ShardOptions(shards, pairs, Which.parse(part))
    if not is_url(out):
        if asked != ShardOptions():
            raise UserError(
                f"--out {out}: --shards, --shard-pairs and --part are of URLs, such as file:///data/pairs; a "
                "folder is written by one command. Give a URL, or leave them out"
            )
        return None
    for name, given in (("--force", force), ("--restore", restore)):
        if given:
            raise UserError(
                f"{name}: what a store holds is never changed; leave it out, or choose another --out"
            )
    return asked


def shards_in_words(written: ShardsSummary) -> str:
    """What a run wrote."""
    from seas_runtime.units import size_words

    words = (
        f"{written.url}: {written.shards} shards written, {size_words(written.bytes)}, "
        f"{written.accepted} pairs accepted; {written.seconds_per_pair:.2f} s per pair"
    )
    if written.continued:
        words += f"; {written.continued} pairs were there already"
    if written.left:
        words += f"; {written.left} of {written.pairs} are left to other parts"
    return f"{words}\nBring them together: seas-export merge {written.url} --out FOLDER"

"""Options of commands that spread their work over devices and machines."""

from __future__ import annotations

from typing import Annotated

import typer

Devices = Annotated[
    str | None,
    typer.Option(
        "--devices",
        help="A process for each GPU: all, or some, as 0,1,3; cores:2 for two groups of the processor's "
        "cores. Pairs are those of one process.",
        show_default=False,
    ),
]

"""The `seas-export` application: every command and where its function lives."""

from __future__ import annotations

from typing import Annotated

import typer

from seas_export.cli import build, bundles, datasets, machine, products, training

app = typer.Typer(
    name="seas-export",
    help="From a few photographs of a product and its defects to labelled image/mask pairs at the edge.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # rendering help with rich takes longer than everything else together
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    """Print the version and leave."""
    if asked:
        from seas_export.version import version

        typer.echo(f"seas-export {version()}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show tracebacks and debug logging; may stand anywhere.")
    ] = False,
) -> None:
    """From a few photographs of a product and its defects to labelled image/mask pairs at the edge."""


_COMMANDS = (
    (build.build, "build", "Everything at once: photographs to a report."),
    (products.sample, "sample", "Write the sample product as files."),
    (training.train, "train", "Fine-tune a base on a product: a checkpoint."),
    (training.export, "export", "Turn a checkpoint into a bundle."),
    (datasets.generate, "generate", "Make labelled pairs from a bundle."),
    (bundles.inspect, "inspect", "Say in words what a bundle is."),
    (bundles.verify, "verify", "Check that a bundle is whole, or its parity."),
    (bundles.bench, "bench", "Measure how fast a bundle is here."),
    (machine.doctor, "doctor", "What this machine can run."),
)
for _function, _name, _short in _COMMANDS:
    app.command(_name, short_help=_short)(_function)

_data = typer.Typer(help="Look at the photographs of a product.", no_args_is_help=True, rich_markup_mode=None)
_data.command("inspect", short_help="Check a product whole.")(products.inspect)
app.add_typer(_data, name="data")

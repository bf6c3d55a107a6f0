"""The `seas-export` application: every command and where its function lives."""

from __future__ import annotations

from typing import Annotated

import typer

from seas_export.cli import serving
from seas_export.cli.commands import (
    bases,
    build,
    bundles,
    datasets,
    machine,
    products,
    training,
    travel,
)
from seas_export.cli.commands.proving import evaluate as evaluating
from seas_export.cli.commands.proving import prove as proving
from seas_export.cli.commands.spread import campaign, merge

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
    (products.preset, "preset", "The configuration for a published data set."),
    (training.train, "train", "Fine-tune a base on a product: a checkpoint."),
    (bases.import_seas, "import-seas", "The authors' training output: a checkpoint."),
    (training.distill, "distill", "A student of a checkpoint, of few steps."),
    (bundles.export, "export", "Turn a checkpoint into a bundle."),
    (machine.engine, "engine", "Compile a bundle for the machine that runs it."),
    (datasets.generate, "generate", "Make labelled pairs from a bundle."),
    (bundles.place, "place", "Draw where defects would go, without generating."),
    (bundles.masks, "masks", "Generate masks, with a bundle that learned them."),
    (campaign.campaign, "campaign", "Pairs of many products by one plan."),
    (merge.merge, "merge", "Shards of many machines: one data set."),
    (datasets.convert, "convert", "A data set in another tool's format."),
    (evaluating.evaluate, "evaluate", "How generated pictures compare with real ones."),
    (proving.prove, "prove", "What pairs are worth to your own model."),
    (bundles.inspect, "inspect", "Say in words what a bundle is."),
    (bundles.verify, "verify", "Check that a bundle is whole, or its parity."),
    (machine.bench, "bench", "Measure how fast a bundle is here."),
    (travel.diff, "diff", "Say in words what changed between two bundles."),
    (travel.pack, "pack", "Put a bundle into one file."),
    (travel.unpack, "unpack", "Take a bundle out of one, trusting nothing."),
    (travel.sign, "sign", "Sign a bundle with your own key."),
    (travel.wheelhouse, "wheelhouse", "Collect what a box without network needs."),
    (machine.doctor, "doctor", "What this machine can run."),
)
for _function, _name, _short in _COMMANDS:
    app.command(_name, short_help=_short)(_function)

_data = typer.Typer(help="Look at the photographs of a product.", no_args_is_help=True, rich_markup_mode=None)
_data.command("inspect", short_help="Check a product whole.")(products.inspect)
_data.command("import", short_help="A product from a labelling tool's files.")(products.import_labels)
app.add_typer(_data, name="data")

app.add_typer(serving.app, name="serve", short_help="A page and an API that make pairs.")

_base = typer.Typer(
    help="Bases and checkpoints to measure a machine with.", no_args_is_help=True, rich_markup_mode=None
)
_base.command("random", short_help="A base of random weights.")(bases.random)
_base.command("untrained", short_help="A checkpoint without training.")(bases.untrained)
app.add_typer(_base, name="base")

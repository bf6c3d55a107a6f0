"""The command line: one module per group of commands, each importing what it needs only when it runs."""

from seas_export.cli.entry import main

__all__ = ["main"]

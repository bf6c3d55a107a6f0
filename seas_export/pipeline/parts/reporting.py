"""A build's page and picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from seas_export.pipeline.ledger import Before, Ledger
from seas_export.version import version
from seas_runtime.printable import printable

if TYPE_CHECKING:
    from seas_train.data import Product


def write_report(
    ledger: Ledger, product: Product, page: Path, overview: Path, say: Callable[[str], None]
) -> bool:
    """Write the page and the picture where they are not current; False, with a warning, where that fails."""
    from seas_export.report import gather, write_overview, write_page

    def make(before: Before) -> None:
        content = gather(ledger.folder, product, ledger.content)
        write_overview(content, overview)
        write_page(content, page)

    inputs = {
        "version": version(),
        "pairs_by": ledger.content.get("pairs_by"),
        "fast": ledger.content.get("fast"),
        **{name: entry.output for name, entry in ledger.entries.items() if name != "report"},
    }
    try:
        ledger.part("report", inputs, page, make)
    except Exception as error:  # the pairs are there: what shows them must not cost them
        say(
            f"warning: report: could not be written ({printable(str(error))}); all else is there. "
            "Run the same command again for the report alone."
        )
        return False
    return True

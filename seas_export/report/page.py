"""The page itself: one HTML file that needs nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from seas_export.report.charts import COLOURS, line_chart, share_bar
from seas_export.report.content import Content
from seas_export.report.images import mask_uri, overlay, photograph_uri
from seas_runtime.files import atomic_write_text
from seas_runtime.printable import printable
from seas_runtime.units import duration

TEMPLATES = Path(__file__).with_name("templates")


def write_page(content: Content, file: Path) -> None:
    """Lay `content` out as one self-contained HTML file."""
    atomic_write_text(file, page(content))


def page(content: Content) -> str:
    """The page's HTML."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # of the extras `export` and `report`

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        finalize=_shown,
    )
    filters = (duration, _flat, mask_uri, overlay, photograph_uri)
    environment.filters |= {function.__name__.lstrip("_"): function for function in filters}
    template = environment.get_template("page.html.j2")
    return template.render(content=content, colours=COLOURS, line_chart=line_chart, share_bar=share_bar)


def _shown(value: Any) -> Any:
    """What stands in the page for a value: text without characters that turn its direction or hide."""
    return type(value)(printable(value, keep="\n")) if isinstance(value, str) else value


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    """Dotted names and values as text."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
            text = "not set" if value is None else text
            yield f"{prefix}{key}", text

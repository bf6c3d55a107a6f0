"""The table of a proof, in Markdown, and its sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from seas_export.proof.measures.figures import TITLES
from seas_export.proof.results.summary import POOLED, Spread, Summary

SEGMENTER_COLUMNS = (
    "iou",
    "ap",
    "auroc",
    "f1_max",
    "image_auroc",
    "image_ap",
    "image_auroc_pooled",
    "image_ap_pooled",
    "detected",
    "false_regions",
)
"""The figures of a segmenter, as tables show them."""
NOT_MEASURED = "not measured"


def cell(figure: str, spread: Spread | None) -> str:
    """Return a figure as a table shows it: mean and spread over seeds, shares as per cent."""
    if spread is None:
        return NOT_MEASURED
    factor, digits = (1, 2) if figure == "false_regions" else (100, 1)
    text = f"{factor * spread.mean:.{digits}f}"
    return text if spread.spread is None else f"{text} ± {factor * spread.spread:.{digits}f}"


def rows(summary: Summary, scope: str, columns: Sequence[str] = SEGMENTER_COLUMNS) -> list[tuple[str, ...]]:
    """Return the rows of a scope: the set, then its figures."""
    return [
        (arm, *(cell(name, scopes[scope][name]) for name in columns))
        for arm, scopes in summary.figures.items()
    ]


def heads(columns: Sequence[str] = SEGMENTER_COLUMNS) -> tuple[str, ...]:
    """Return the titles of the columns."""
    return ("trained on", *(TITLES[name] for name in columns))


def sentences(summary: Summary, scope: str | None = None) -> list[str]:
    """Return what the bootstrap says, of one scope or of all."""
    return [one.words() for one in summary.comparisons if scope in (None, one.scope)]


def worse(summary: Summary) -> list[str]:
    """Return the sentences of all that is worse with 95 % of the resampled photographs."""
    return [one.words() for one in summary.comparisons if one.difference.verdict == "worse"]


def markdown(
    summary: Summary,
    about: Mapping[str, str],
    notes: Sequence[str],
    columns: Sequence[str] = SEGMENTER_COLUMNS,
    pages: Sequence[str] = (),
) -> str:
    """Return the whole as a page. pages: what follows the tables, in Markdown."""
    scopes = list(next(iter(summary.figures.values())))
    lines = ["# Proof", "", *(f"- {name}: {value}" for name, value in about.items())]
    lines += [f"- {note}" for note in notes]
    for scope in scopes:
        lines += ["", f"## {scope if scope != POOLED else 'All defects, pooled'}", ""]
        lines += grid(heads(columns), rows(summary, scope, columns))
        if said := sentences(summary, scope):
            lines += ["", *(f"- {sentence}" for sentence in said)]
    for page in pages:
        lines += ["", page]
    return "\n".join(lines) + "\n"


def grid(titles: Sequence[str], cells: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table in Markdown."""
    return [_line(titles), _line(["---"] * len(titles)), *(_line(row) for row in cells)]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

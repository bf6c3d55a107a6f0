"""The page itself: one HTML file that needs nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from seas_export.report import charts
from seas_export.report.content import (
    Content,
    DefectPictures,
    GateCounts,
    Latency,
    MaskScores,
    Picture,
    Table,
)
from seas_export.report.images import mask_uri, overlay, photograph_uri
from seas_export.report.style import STYLE
from seas_runtime.files import atomic_write_text

# How many pictures of a kind stand side by side.
COLUMNS = 8


def write_page(content: Content, file: Path) -> None:
    """Lay `content` out as one self-contained HTML file."""
    atomic_write_text(file, page(content))


def page(content: Content) -> str:
    """The page's HTML."""
    sections = [
        _section("Generated pairs", *(_defect(defect) for defect in content.defects)),
        _section("Normals", _normals(content)),
        _section("Gates", _gates(content.gates)),
        _section("Mask head on held-out pairs", _mask_scores(content.mask_scores)),
        _section("Training", *_curves(content)),
        _section("Latency", _latency(content.latency)),
        _section("Parity with PyTorch", *(table(part) for part in content.parity)),
        _section("Time of each part", _timings(content.timings)),
        _section("Configuration", _definition(content.configuration)),
        _section("Provenance", _definition(content.provenance)),
    ]
    title = f"{content.product} · seas-export"
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style></head><body><main>"
        f"<header><h1>{escape(content.product)}</h1><p>{escape(content.subtitle)}</p>{_tiles(content)}{_notes(content)}</header>"
        f"{''.join(sections)}</main></body></html>\n"
    )


def _section(title: str, *parts: str) -> str:
    """A section; empty where it has nothing to show."""
    body = "".join(parts)
    return f"<section><h2>{escape(title)}</h2>{body}</section>" if body else ""


def _notes(content: Content) -> str:
    """What a reader must know before looking."""
    return "".join(f'<p class="note">{escape(note)}</p>' for note in content.notes)


def _tiles(content: Content) -> str:
    """The figures that a reader looks for first."""
    tiles = [("pairs", str(sum(len(defect.generated) for defect in content.defects)))]
    tiles = [("pairs generated", str(sum(gate.pairs for gate in content.gates)))] if content.gates else tiles
    if content.gates:
        total = sum(gate.pairs for gate in content.gates)
        first = sum(gate.first_try for gate in content.gates)
        tiles.append(("pass the gates at the first try", f"{100 * first / max(total, 1):.0f} %"))
    if content.mask_scores is not None:
        lowest = min(score["iou"] for score in content.mask_scores.defects.values())
        tiles.append(("lowest mask IoU, held-out pairs", f"{lowest:.2f}"))
    if content.latency is not None:
        tiles.append(("seconds per pair, median", f"{content.latency.median:.2f}"))
    if content.timings:
        tiles.append(("to make it all", _duration(sum(seconds for _, _, seconds in content.timings))))
    cells = "".join(f"<div><b>{escape(value)}</b><span>{escape(name)}</span></div>" for name, value in tiles)
    return f'<div class="tiles">{cells}</div>'


def _defect(defect: DefectPictures) -> str:
    """A defect's generated pairs, then training pairs for comparison."""
    real = f"<h4>training pairs</h4>{_strips(defect.real, 'small')}" if defect.real else ""
    made = _strips(defect.generated) if defect.generated else '<p class="empty">none generated</p>'
    return f"<h3>{escape(defect.name)}</h3><h4>generated</h4>{made}{real}"


def _strips(pictures: Sequence[Picture], kind: str = "") -> str:
    """Rows of up to eight pictures: image, mask, overlay, one below the other."""
    made = []
    for start in range(0, len(pictures), COLUMNS):
        cells = []
        for picture in pictures[start : start + COLUMNS]:
            shown = [_image(photograph_uri(picture.image), f"{picture.caption}: image")]
            if picture.mask is not None:
                shown.append(_image(mask_uri(picture.mask), f"{picture.caption}: mask"))
                both = overlay(picture.image, picture.mask)
                shown.append(_image(photograph_uri(both), f"{picture.caption}: mask over the image"))
            cells.append(
                f"<figure>{''.join(shown)}<figcaption>{escape(picture.caption)}</figcaption></figure>"
            )
        made.append(f'<div class="strip {kind}">{"".join(cells)}</div>')
    return "".join(made)


def _normals(content: Content) -> str:
    """Generated normals next to training images."""
    if not content.generated_normals and not content.real_normals:
        return ""
    made = _strips(content.generated_normals) or '<p class="empty">none generated</p>'
    return f"<h4>generated</h4>{made}<h4>training images</h4>{_strips(content.real_normals)}"


def _gates(gates: Sequence[GateCounts]) -> str:
    """What the gates let through."""
    if not gates:
        return ""
    rows = [
        (
            gate.name,
            str(gate.pairs),
            f"{gate.first_try} ({100 * gate.first_try / max(gate.pairs, 1):.0f} %)",
            str(gate.retried),
            str(gate.given_up),
            ", ".join(f"{reason} {count}" for reason, count in sorted(gate.reasons.items())) or "none",
        )
        for gate in gates
    ]
    columns = ("", "pairs", "accepted at the first try", "at a later try", "never", "rejections")
    failed = frozenset(index for index, gate in enumerate(gates) if gate.given_up)
    return table(Table("", columns, tuple(rows), failed))


def _mask_scores(scores: MaskScores | None) -> str:
    """How well the mask head finds the defects of photographs that it has not seen."""
    if scores is None:
        return ""
    rows = tuple(
        (name, f"{score['pairs']}", *(f"{score[figure]:.3f}" for figure in ("iou", "precision", "recall")))
        for name, score in scores.defects.items()
    )
    words = (
        "Real pairs, noised as in the last steps of generation; figures pooled over pixels. "
        f"Of {scores.normals} normals, {scores.empty_normals} got an empty mask."
    )
    return f"<p>{words}</p>{table(Table('', ('defect', 'pairs', 'IoU', 'precision', 'recall'), rows))}"


def _curves(content: Content) -> list[str]:
    """Small charts, one per loss, stage by stage."""
    made = []
    for stage in dict.fromkeys(curve.stage for curve in content.curves):
        cells = [
            f"<figure><figcaption>{escape(curve.name)}</figcaption>"
            + charts.line_chart(
                curve.points,
                title=f"{stage}: {curve.name}",
                x_label="step",
                colour=charts.COLOURS[index % len(charts.COLOURS)],
                smooth=len(curve.points) > 20,
            )
            + "</figure>"
            for index, curve in enumerate(c for c in content.curves if c.stage == stage)
        ]
        made.append(f'<h3>{escape(stage)}</h3><div class="charts">{"".join(cells)}</div>')
    return made


def _latency(latency: Latency | None) -> str:
    """The whole and where it goes."""
    if latency is None:
        return ""
    shares = [(name, 1000 * seconds) for name, seconds in latency.parts]
    total = sum(seconds for _, seconds in latency.parts)
    rows = [
        (name, f"{1000 * s:.1f}", f"{100 * s / total if total else 0:.1f} %") for name, s in latency.parts
    ]
    rows.append(("whole pair, mean of the parts", f"{1000 * total:.1f}", "100 %"))
    words = (
        f"{latency.pairs} pairs, batches of {latency.batch}: median {latency.median:.3f} s per pair, "
        f"95th percentile {latency.p95:.3f} s. Measured while the data set was made; "
        "seas-export bench measures every batch size."
    )
    return (
        f"<p>{escape(words)}</p>{charts.share_bar(shares, title='share of a pair')}"
        f"{table(Table('', ('part', 'ms per pair', 'share'), tuple(rows)))}"
    )


def _timings(timings: Iterable[tuple[str, str, float]]) -> str:
    """How long each part took when it was made."""
    rows = tuple((name, what, _duration(seconds)) for name, what, seconds in timings)
    return table(Table("", ("part", "what it made", "time"), rows)) if rows else ""


def _definition(values: Mapping[str, Any]) -> str:
    """Nested values as a two-column table of dotted names."""
    rows = tuple(_flat(values))
    if not rows:
        return ""
    return f"<details><summary>{len(rows)} values</summary>{table(Table('', ('', ''), rows))}</details>"


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    """Dotted names and values as text."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
            text = "not set" if value is None else text
            yield f"{prefix}{key}", text


def table(content: Table) -> str:
    """A table as HTML."""
    head = "".join(f"<th>{escape(name)}</th>" for name in content.columns) if any(content.columns) else ""
    rows = "".join(
        f"<tr{' class=failed' if index in content.failed else ''}>"
        + "".join(f"<td>{escape(cell)}</td>" for cell in row)
        + "</tr>"
        for index, row in enumerate(content.rows)
    )
    title = f"<h3>{escape(content.title)}</h3>" if content.title else ""
    return (
        f'{title}<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _image(uri: str, alternative: str) -> str:
    """An image of the page."""
    return f'<img src="{uri}" alt="{escape(alternative, quote=True)}">'


def _duration(seconds: float) -> str:
    """Seconds in words."""
    if seconds < 90:
        return f"{seconds:.1f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60)} s"

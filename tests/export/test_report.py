"""The page and the picture."""

import base64
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seas_export.report import write_overview, write_page
from seas_export.report.charts import line_chart, running_mean, share_bar, ticks
from seas_export.report.content import (
    Content,
    Curve,
    DefectPictures,
    GateCounts,
    Latency,
    MaskScores,
    Picture,
    Table,
)
from seas_export.report.gather import gate_counts, notes, parity_tables, split_records
from seas_export.report.images import OVERLAY_COLOUR, overlay
from seas_export.verdict import Figures, Normals, PromptEffect, Scores, verdict_of
from seas_export.verdict.files import SET_ASIDE


def _picture(masked: bool, name: str = "000.png") -> Picture:
    image = np.full((64, 64, 3), 90, np.uint8)
    mask = np.zeros((64, 64), np.uint8)
    mask[10:30, 20:40] = 255
    return Picture(image, mask if masked else None, name)


@pytest.fixture
def content() -> Content:
    return Content(
        product="a <b> & c",
        subtitle="somewhere",
        defects=(DefectPictures("crack", (_picture(True),), tuple(_picture(True) for _ in range(9))),),
        real_normals=(_picture(False),),
        generated_normals=(_picture(False),),
        curves=(Curve("Stage 1", "loss", ((1, 0.5), (2, float("nan")), (3, 0.25))),),
        latency=Latency(9, 4, 0.4, 0.5, (("step", 0.3), ("decode_mask", 0.1))),
        gates=(GateCounts("crack", 9, 7, 1, 1, {"mask is only speckle": 3}),),
        parity=(Table("graphs", ("graph", "bound"), (("unet", "1e-4"), ("step", "<x>")), frozenset({1})),),
        mask_scores=MaskScores({"crack": {"pairs": 4, "iou": 0.61, "precision": 0.7, "recall": 0.8}}, 5, 4),
        timings=(("train", "checkpoint", 100.0),),
        configuration={"train": {"steps": 3}, "tau": None},
        provenance={"base": "micro"},
        notes=("crack: 1 of 9 never passed",),
    )


class _Parsed(HTMLParser):
    """Collects what a page refers to, and checks that tags close."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.references: list[str] = []
        self.images: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("img", "meta", "link"):
            self.open.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "data", "srcset", "action", "poster"):
                (self.images if tag == "img" else self.references).append(value or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag


def test_the_page_needs_nothing_else(content: Content, tmp_path: Path) -> None:
    write_page(content, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    page = _Parsed(text)
    assert page.open == []
    assert page.references == []
    assert page.images
    for uri in page.images:
        kind, data = uri.split(",", 1)
        assert kind in ("data:image/jpeg;base64", "data:image/png;base64")
        Image.open(io.BytesIO(base64.b64decode(data, validate=True))).verify()
    assert not re.search(r"https?://|@import|url\(|<script", text)


def test_the_page_shows_every_part(content: Content, tmp_path: Path) -> None:
    write_page(content, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    # Nine generated and one real pair of three pictures, and two normals of one.
    assert text.count("<img ") == 10 * 3 + 2
    assert "a &lt;b&gt; &amp; c" in text
    for words in (
        "mask is only speckle 3",
        "7 (78 %)",
        "0.610",
        "Of 5 normals, 4 got",
        "median 0.400 s",
        "train.steps",
        "not set",
        "1 min 40 s",
        "never passed",
        "&lt;x&gt;",
        "class=failed",
    ):
        assert words in text, words


def test_an_overlay_marks_the_mask_and_nothing_else() -> None:
    picture = _picture(True)
    assert picture.mask is not None
    made = overlay(picture.image, picture.mask)
    outside = picture.mask == 0
    assert np.array_equal(made[outside], picture.image[outside])
    assert tuple(made[10, 25]) == OVERLAY_COLOUR  # the outline
    assert tuple(made[20, 30]) not in (OVERLAY_COLOUR, (90, 90, 90))  # tinted inside


def test_the_overview_has_a_row_for_each_defect_and_the_normals(content: Content, tmp_path: Path) -> None:
    write_overview(content, tmp_path / "overview.png")
    with Image.open(tmp_path / "overview.png") as picture:
        assert picture.format == "PNG"
        both = np.asarray(picture)
    marked = (both == OVERLAY_COLOUR).all(axis=2)
    # One real and five generated pairs stand side by side, so there are six marked places from left to right.
    columns = marked.any(axis=0)
    assert np.count_nonzero(np.diff(columns.astype(int)) == 1) >= 6


def test_the_verdict_stands_before_everything_else(content: Content, tmp_path: Path) -> None:
    """A reader sees it before the pictures, which may look convincing."""
    bad = Figures(Scores(6, 0.05, 0.01), Normals(6, 0), PromptEffect(4, 2.0, 60.0))
    gates = (GateCounts("good", 8, 8, 0, 0, {}), GateCounts("crack", 9, 9, 0, 0, {}, counted=False))
    judged = replace(content, verdicts=(verdict_of("crack", bad),), gates=gates)
    write_page(judged, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert _Parsed(text).open == []
    assert 0 < text.index("crack: not usable") < text.index('class="tiles"') < text.index("<h2>")
    for words in ("IoU of 0.05", "6 of 6 held-out normals", "What to try", "beside the data set"):
        assert words in text, words
    tiles = text[text.index('<div class="tiles">') : text.index("</header>")]
    assert "<b>8</b><span>pairs in the data set" in tiles  # those of the crack do not count
    assert "<b>9</b><span>pairs set aside" in tiles


def test_pairs_beside_the_data_set_are_shown_and_not_counted(tmp_path: Path) -> None:
    """Those of a defect that is not usable; what an earlier build left there of others is not shown."""
    out = tmp_path / "out"
    _write_records(out / "dataset", [_record("dent", True), _record("good", True)])
    _write_records(out / SET_ASIDE, [_record("crack", True), _record("dent", True)])
    counted, beside = split_records(out, (verdict_of("dent", Figures()), verdict_of("crack", Figures())))
    assert [record["defect"] for record in counted] == ["dent", "good"]
    assert [record["defect"] for record in beside] == ["crack"]


def _write_records(folder: Path, records: list[dict[str, object]]) -> None:
    folder.mkdir(parents=True)
    lines = [json.dumps({**record, "index": 0, "times": {"total": 1.0}}) for record in records]
    (folder / "records.jsonl").write_text("".join(f"{line}\n" for line in lines))


def test_ticks_are_round_and_span_the_range() -> None:
    assert ticks(0, 1, 4) == [0, 0.25, 0.5, 0.75, 1]
    assert ticks(0, 0.37, 4) == [0, 0.1, 0.2, 0.3, 0.4]
    assert ticks(5, 5, 4) == [5, 10]


def test_a_running_mean_looks_back() -> None:
    assert running_mean([(1, 2.0), (2, 4.0), (3, 6.0)], 2) == [(1, 2.0), (2, 3.0), (3, 5.0)]


def test_charts_of_nothing_say_so() -> None:
    assert "nothing recorded" in line_chart([], title="loss")
    assert "nothing recorded" in share_bar([("step", 0.0)], title="share")
    assert line_chart([(1, 2.0)], title="one point").startswith("<svg")


def _record(defect: str, accepted: bool, *rejected: str) -> dict[str, object]:
    attempts: list[dict[str, object]] = [{"rejected": reason} for reason in rejected]
    attempts += [{"rejected": None}] if accepted else []
    return {"defect": defect, "accepted": accepted, "attempts": attempts}


def test_gates_are_counted_by_defect() -> None:
    records = [
        _record("crack", True),
        _record("crack", True, "speckle"),
        _record("crack", False, "speckle", "speckle", "empty", "speckle"),
        _record("good", True),
    ]
    crack, good = gate_counts(records)
    assert (crack.pairs, crack.first_try, crack.retried, crack.given_up) == (3, 1, 1, 1)
    assert crack.reasons == {"speckle": 4, "empty": 1}
    assert (good.pairs, good.first_try, good.given_up) == (1, 1, 0)
    assert list(notes([crack, good])) == [
        "crack: 1 of 3 never passed the gates and have no files; most often: speckle."
    ]


def test_parity_figures_become_tables() -> None:
    rows = [
        {"graph": "unet", "relative": 2e-7, "passed": True},
        {"graph": "step", "relative": 1.0, "passed": False},
    ]
    graphs, rest = parity_tables({"graphs": rows, "passed": False})
    assert graphs.columns == ("graph", "relative", "passed")
    assert graphs.rows[0] == ("unet", "2e-07", "yes")
    assert graphs.failed == {1}
    assert rest.rows == (("passed", "NO"),)

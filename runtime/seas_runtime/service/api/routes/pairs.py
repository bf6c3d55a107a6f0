"""Pairs: page through, look at, accept, reject, draw the mask again."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from seas_runtime.service.api.access import Operator, Service, Viewer
from seas_runtime.service.api.bodies import small_body
from seas_runtime.service.api.schemas import Opinion
from seas_runtime.service.assets.pictures import SIZES, mask_of, shown, size_of
from seas_runtime.service.refusals import Conflict
from seas_runtime.service.state.pairs import Pair

router = APIRouter(prefix="/v1/jobs/{id}/pairs", tags=["pairs"])

Index = Annotated[int, Query(ge=0, lt=1_000_000)]
Size = Annotated[int | None, Query(ge=SIZES[0], le=SIZES[1])]


@router.get("")
def list_pairs(
    id: str,
    box: Service,
    caller: Viewer,
    limit: Annotated[int, Query(ge=1, le=500)] = 60,
    offset: Annotated[int, Query(ge=0, le=1_000_000_000)] = 0,
    defect: Annotated[str | None, Query(max_length=200)] = None,
    verdict: Literal["accepted", "rejected", "none"] | None = None,
    gate: Literal["passed", "rejected"] | None = None,
    least_score: Annotated[float | None, Query(ge=0, le=1)] = None,
) -> dict[str, Any]:
    """Pairs in the order that they were made in, by these filters."""
    every = box.pairs_of(id).all()
    found = [
        pair
        for pair in every
        if (defect is None or pair.key[0] == defect)
        and (verdict is None or (pair.review.verdict or "none") == verdict)
        and (gate is None or pair.passed == (gate == "passed"))
        and (least_score is None or (pair.record.get("score") or 0.0) >= least_score)
    ]
    verdicts = Counter(pair.review.verdict or "none" for pair in every if pair.passed)
    return {
        "total": len(found),
        "pairs": [pair.shown() for pair in found[offset : offset + limit]],
        "verdicts": {name: verdicts[name] for name in ("accepted", "rejected", "none")},
        "defects": list(dict.fromkeys(pair.key[0] for pair in every)),
        "scored": any(pair.record.get("score") is not None for pair in every),
    }


@router.get("/{defect}/{index}")
def get_pair(id: str, defect: str, index: int, box: Service, caller: Viewer) -> dict[str, Any]:
    """A pair with its whole record."""
    pair = box.pairs_of(id).get(defect, index)
    return {**pair.shown(), "record": pair.record, "review": pair.review.to_dict()}


@router.get("/{defect}/{index}/image", response_class=Response)
def pair_image(
    id: str, defect: str, index: int, request: Request, box: Service, caller: Viewer, size: Size = None
) -> Response:
    """The picture as PNG: as it was made, or with `size` of 8 bits and at most so many pixels."""
    pairs = box.pairs_of(id)
    return _picture(request, pairs.image(pairs.get(defect, index)), size)


@router.get("/{defect}/{index}/mask", response_class=Response)
def pair_mask(
    id: str,
    defect: str,
    index: int,
    request: Request,
    box: Service,
    caller: Viewer,
    size: Size = None,
    original: bool = False,
) -> Response:
    """The mask: as a person drew it again, or as it was generated; `original` is always the latter."""
    pairs = box.pairs_of(id)
    return _picture(request, pairs.mask(pairs.get(defect, index), original), size)


@router.put("/{defect}/{index}/review")
def review_pair(
    id: str, defect: str, index: int, opinion: Opinion, box: Service, caller: Operator
) -> dict[str, Any]:
    """Accept or reject a pair, with a reason or a comment; null takes a verdict back."""
    pairs = box.pairs_of(id)
    pair = _whole(pairs.get(defect, index))
    said = pairs.reviews.say(pair.key, caller.name, **opinion.model_dump(exclude_unset=True))
    box.audit.note(caller.name, "pair reviewed", job=id, defect=defect, index=index, verdict=said.verdict)
    return Pair(pair.record, said).shown()


@router.put("/{defect}/{index}/mask")
async def correct_mask(
    id: str, defect: str, index: int, request: Request, box: Service, caller: Operator
) -> dict[str, Any]:
    """Keep a mask that a person drew, a PNG of the picture's size, beside the generated one."""
    data = await small_body(request, int(box.settings.max_photograph_mb * 1e6))

    def keep() -> dict[str, Any]:
        pairs = box.pairs_of(id)
        pair = _whole(pairs.get(defect, index))
        pairs.mask(pair)  # a normal has none
        png = mask_of(data, size_of(pairs.image(pair)))
        return Pair(pair.record, pairs.reviews.correct(pair.key, caller.name, png)).shown()

    done = await run_in_threadpool(keep)
    box.audit.note(caller.name, "mask corrected", job=id, defect=defect, index=index)
    return done


@router.delete("/{defect}/{index}/mask")
def restore_mask(id: str, defect: str, index: int, box: Service, caller: Operator) -> dict[str, Any]:
    """Let the generated mask hold again."""
    pairs = box.pairs_of(id)
    pair = _whole(pairs.get(defect, index))
    said = pairs.reviews.restore(pair.key, caller.name)
    box.audit.note(caller.name, "mask restored", job=id, defect=defect, index=index)
    return Pair(pair.record, said).shown()


def _whole(pair: Pair) -> Pair:
    if not pair.passed:
        raise Conflict("pair: it did not pass the gates, and has no files to review")
    return pair


def _picture(request: Request, path: Path, size: int | None) -> Response:
    """A picture, or that the browser's own copy is as it is here."""
    found = path.stat()
    tag = f'"{found.st_mtime_ns:x}-{found.st_size:x}-{size or 0}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    data = path.read_bytes() if size is None else shown(path, size)
    return Response(data, media_type="image/png", headers=headers)

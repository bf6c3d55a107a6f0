"""Signing in, tokens, the audit log, and how the service is set up."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from seas_runtime.service.api.access import COOKIE, Admin, Limited, Service, Viewer
from seas_runtime.service.api.schemas import NewToken, SignIn
from seas_runtime.service.refusals import NotThere, Unknown
from seas_runtime.service.state.tokens import find_role

router = APIRouter(prefix="/v1", tags=["administration"])

_MONTH = 30 * 24 * 3600


@router.post("/session")
def sign_in(asked: SignIn, request: Request, box: Service, limits: Limited) -> Response:
    """Give a browser its cookie for a token, or for the code of a one-time link, which ends by that."""
    address = request.client.host if request.client else "unknown"
    limits.count(address)
    found = box.tokens.redeem(asked.token)
    if found is None:
        limits.guessed(address)
        box.audit.note("unknown", "refused", address=address, path="/v1/session")
        raise Unknown("token: it is not known, was used already, or its time is over; ask for a new one")
    text, token = found
    box.audit.note(token.name, "signed in", address=address)
    answer = Response(status_code=204)
    secure = request.url.scheme == "https"
    answer.set_cookie(COOKIE, text, max_age=_MONTH, path="/", secure=secure, httponly=True, samesite="strict")
    return answer


@router.delete("/session")
def sign_out() -> Response:
    """Take the browser's cookie back."""
    answer = Response(status_code=204)
    answer.delete_cookie(COOKIE, path="/")
    return answer


@router.get("/me")
def me(box: Service, caller: Viewer) -> dict[str, Any]:
    """Who asks, and what is to be known of the service."""
    return {"name": caller.name, "role": caller.role.word, "notice": box.queue.notice}


@router.get("/tokens")
def list_tokens(box: Service, caller: Admin) -> dict[str, Any]:
    """The tokens' names, roles and times; never themselves."""
    return {"tokens": [token.shown() for token in box.tokens.all()]}


@router.post("/tokens", status_code=201)
def make_token(new: NewToken, box: Service, caller: Admin) -> dict[str, Any]:
    """Make a token; it is said here and never again."""
    lasts = None if new.days is None else new.days * 86400
    text, token = box.tokens.make(new.name, find_role(new.role), lasts)
    box.audit.note(caller.name, "token made", token=token.id, name=token.name, role=token.role)
    return {**token.shown(), "token": text}


@router.delete("/tokens/{id}", status_code=204)
def revoke_token(id: str, box: Service, caller: Admin) -> Response:
    """End a token, at once."""
    if not box.tokens.revoke(id):
        raise NotThere("token: there is none of that id")
    box.audit.note(caller.name, "token revoked", token=id)
    return Response(status_code=204)


@router.get("/audit")
def audit(box: Service, caller: Admin, limit: Annotated[int, Query(ge=1, le=10_000)] = 200) -> dict[str, Any]:
    """Who did what, the newest first."""
    return {"entries": box.audit.last(limit)}


@router.get("/config")
def config(box: Service, caller: Admin) -> dict[str, Any]:
    """All settings; of secrets only whether they are set."""
    return box.settings.shown()

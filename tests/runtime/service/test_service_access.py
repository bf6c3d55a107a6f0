"""Every route has a role, and keeps to it; tokens are kept as hashes and reach no log."""

from __future__ import annotations

import hmac
import logging
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from seas_runtime.errors import UserError
from seas_runtime.service.api.access import COOKIE
from seas_runtime.service.app import make_app
from seas_runtime.service.box import Box
from seas_runtime.service.state.tokens import Role, Tokens, find_role
from tests.runtime.service.boxes import client, running

NOBODY, VIEWER, OPERATOR, ADMIN = None, Role.VIEWER, Role.OPERATOR, Role.ADMIN
ROUTES = {
    ("GET", "/healthz"): NOBODY,
    ("GET", "/readyz"): NOBODY,
    ("POST", "/v1/session"): NOBODY,
    ("DELETE", "/v1/session"): NOBODY,
    ("GET", "/metrics"): VIEWER,
    ("GET", "/v1/status"): VIEWER,
    ("GET", "/v1/me"): VIEWER,
    ("GET", "/v1/bundles"): VIEWER,
    ("POST", "/v1/bundles"): ADMIN,
    ("GET", "/v1/bundles/{bundle}/photographs/{index}"): VIEWER,
    ("GET", "/v1/photographs"): VIEWER,
    ("GET", "/v1/photographs/{name}"): VIEWER,
    ("GET", "/v1/photographs/{name}/{picture}"): VIEWER,
    ("PUT", "/v1/photographs/{name}/{picture}"): OPERATOR,
    ("GET", "/v1/jobs"): VIEWER,
    ("POST", "/v1/jobs"): OPERATOR,
    ("GET", "/v1/jobs/{id}"): VIEWER,
    ("GET", "/v1/jobs/{id}/events"): VIEWER,
    ("POST", "/v1/jobs/{id}/{wish}"): OPERATOR,
    ("PUT", "/v1/jobs/{id}/priority"): OPERATOR,
    ("DELETE", "/v1/jobs/{id}"): OPERATOR,
    ("GET", "/v1/jobs/{id}/pairs"): VIEWER,
    ("GET", "/v1/jobs/{id}/pairs/{defect}/{index}"): VIEWER,
    ("GET", "/v1/jobs/{id}/pairs/{defect}/{index}/image"): VIEWER,
    ("GET", "/v1/jobs/{id}/pairs/{defect}/{index}/mask"): VIEWER,
    ("PUT", "/v1/jobs/{id}/pairs/{defect}/{index}/review"): OPERATOR,
    ("PUT", "/v1/jobs/{id}/pairs/{defect}/{index}/mask"): OPERATOR,
    ("DELETE", "/v1/jobs/{id}/pairs/{defect}/{index}/mask"): OPERATOR,
    ("GET", "/v1/jobs/{id}/download"): VIEWER,
    ("POST", "/v1/place"): OPERATOR,
    ("GET", "/v1/tokens"): ADMIN,
    ("POST", "/v1/tokens"): ADMIN,
    ("DELETE", "/v1/tokens/{id}"): ADMIN,
    ("GET", "/v1/audit"): ADMIN,
    ("GET", "/v1/config"): ADMIN,
}
GIVEN = {"bundle": "0" * 64, "index": "0", "name": "none", "picture": "none.png", "id": "20260101-00000000"}
GIVEN |= {"wish": "pause", "defect": "none"}


def test_every_route_is_in_the_table(box: Box) -> None:
    found = set()
    pending = list(make_app(box).routes)
    for route in pending:
        pending += getattr(getattr(route, "original_router", None), "routes", [])
        if isinstance(route, APIRoute):
            found |= {(method, route.path) for method in route.methods}
    assert found == set(ROUTES)


@pytest.fixture(scope="module")
def clients(box: Box) -> dict[Role | None, TestClient]:
    return {role: client(box, role) for role in (None, *Role)}


@pytest.mark.parametrize(("method", "path"), ROUTES, ids=lambda value: str(value))
def test_a_route_lets_in_its_role_and_those_above(
    method: str, path: str, clients: dict[Role | None, TestClient]
) -> None:
    wanted = ROUTES[method, path]
    for role, asking in clients.items():
        answer = asking.request(method, path.format(**GIVEN), content=b"{}")
        if wanted is None:
            assert answer.status_code != 403
        elif role is None:
            assert answer.status_code == 401, answer.text
            assert answer.headers["www-authenticate"] == "Bearer"
        elif role < wanted:
            assert answer.status_code == 403, answer.text
        else:
            assert answer.status_code not in (401, 403, 500), answer.text


def test_tokens_are_kept_as_hashes_and_compared_in_constant_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = Tokens(tmp_path)
    text, token = tokens.make("line 3", Role.VIEWER)
    tokens.make("line 4", Role.OPERATOR)
    assert text not in tokens.file.read_text()
    assert token.sha256 in tokens.file.read_text()
    assert tokens.file.stat().st_mode & 0o077 == 0
    compared = []
    real = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append(a) or real(a, b))
    found = tokens.find(text)
    assert found is not None
    assert found.id == token.id
    assert len(compared) == 2  # also after the one that fits
    assert tokens.find(text[:-1]) is None
    assert tokens.find("\ud800") is None


def test_a_token_ends_by_time_and_by_being_revoked(box: Box) -> None:
    short, _ = box.tokens.make("short", Role.VIEWER, lasts=-1)
    asking = client(box, None)
    assert asking.get("/v1/me", headers={"authorization": f"Bearer {short}"}).status_code == 401
    text, token = box.tokens.make("leaver", Role.VIEWER)
    headers = {"authorization": f"Bearer {text}"}
    assert asking.get("/v1/me", headers=headers).json()["role"] == "viewer"
    assert client(box).delete(f"/v1/tokens/{token.id}").status_code == 204
    assert asking.get("/v1/me", headers=headers).status_code == 401


def test_a_link_is_good_for_one_sign_in(box: Box) -> None:
    code = box.tokens.make_link()
    first, second = client(box, None), client(box, None)
    assert first.get("/v1/me", headers={"authorization": f"Bearer {code}"}).status_code == 401
    assert first.post("/v1/session", json={"token": code}).status_code == 204
    assert first.get("/v1/me").json()["role"] == "admin"
    assert second.post("/v1/session", json={"token": code}).status_code == 401
    first.delete("/v1/session")
    first.cookies.clear()
    assert first.get("/v1/me").status_code == 401


def test_a_cookie_needs_the_pages_own_header_to_change_something(box: Box) -> None:
    text, _ = box.tokens.make("browser", Role.OPERATOR)
    asking = client(box, None)
    answer = asking.post("/v1/session", json={"token": text})
    kept = answer.headers["set-cookie"].lower()
    assert "httponly" in kept
    assert "samesite=strict" in kept
    assert asking.cookies[COOKIE] == text
    path = "/v1/jobs/20260101-00000000/pause"
    assert asking.post(path).status_code == 403
    assert asking.post(path, headers={"X-Seas": "1"}).status_code == 404


def test_guesses_are_counted(builds: Path, tmp_path: Path) -> None:
    with running(builds, tmp_path / "state") as own:
        asking = client(own, None)
        codes = [
            asking.get("/v1/me", headers={"authorization": f"Bearer x{n}"}).status_code for n in range(30)
        ]
        assert codes[0] == 401
        assert codes[-1] == 429
        known, _ = own.tokens.make("known", Role.VIEWER)
        assert asking.get("/v1/me", headers={"authorization": f"Bearer {known}"}).status_code == 200


def test_requests_are_counted(builds: Path, tmp_path: Path) -> None:
    with running(builds, tmp_path / "state", requests_per_second=5.0) as own:
        asking = client(own)
        codes = [asking.get("/v1/me").status_code for _ in range(40)]
        assert 429 in codes
        assert codes[:10] == [200] * 10


def test_this_machine_is_let_in_without_a_token_only_if_asked_for(builds: Path, tmp_path: Path) -> None:
    here: dict[str, Any] = {"base_url": "http://127.0.0.1", "client": ("127.0.0.1", 5000)}
    with running(builds, tmp_path / "closed") as own:
        assert client(own, None, **here).get("/v1/me").status_code == 401
    with running(builds, tmp_path / "open", open_localhost=True) as own:
        assert client(own, None, **here).get("/v1/me").json()["role"] == "admin"
        assert client(own, None, **{**here, "client": ("10.0.0.7", 5000)}).get("/v1/me").status_code == 401
        foreign = client(own, None, **{**here, "base_url": "http://evil.example"})  # DNS that points here
        assert foreign.get("/v1/me").status_code == 403
        assert client(own, None, **here).post("/v1/jobs", json={}).status_code == 403


def test_tokens_reach_neither_log_nor_audit(
    box: Box, admin: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    made = admin.post("/v1/tokens", json={"name": "secret keeper", "role": "viewer"}).json()
    asking = client(box, None)
    asking.get("/v1/me", headers={"authorization": f"Bearer {made['token']}"})
    asking.get("/v1/me", headers={"authorization": "Bearer seas_guess"})
    asking.post("/v1/session", json={"token": made["token"]})
    everything = caplog.text + box.state.audit.read_text() + admin.get("/v1/tokens").text
    assert made["token"] not in everything
    assert "seas_guess" not in everything
    assert "secret keeper" in everything


def test_a_bad_list_of_tokens_lets_nobody_in(box: Box, tmp_path: Path) -> None:
    tokens = Tokens(tmp_path)
    text, _ = tokens.make("one", Role.ADMIN)
    tokens.file.write_text('{"schema": 1, "tokens": [{"id": "x"}]}')
    with pytest.raises(UserError, match="Nobody is let in until it is put back"):
        tokens.find(text)
    with pytest.raises(UserError, match="expected viewer, operator or admin"):
        find_role("root")

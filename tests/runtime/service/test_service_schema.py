"""Whatever the OpenAPI schema allows, and what it does not, is answered without a fault of the server's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

pytest.importorskip("schemathesis", reason="schemathesis is not installed")

import schemathesis
from schemathesis.checks import not_a_server_error

from seas_runtime.service.app import make_app
from seas_runtime.service.state.tokens import Role
from tests.runtime.service.boxes import running


@pytest.fixture(scope="module")
def api(builds: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The schema of a service of its own, whose jobs wait: what is asked for here would take years."""
    with running(builds, tmp_path_factory.mktemp("schema") / "state", max_photograph_mb=1.0) as own:
        for device in own.devices:
            device.stop(5.0)
        app = make_app(own)
        api.headers = {"authorization": f"Bearer {own.tokens.make('fuzz', Role.ADMIN)[0]}"}  # type: ignore[attr-defined]
        yield schemathesis.openapi.from_asgi("/v1/openapi.json", app)


schema = schemathesis.pytest.from_fixture("api")
WAITS = ("/v1/jobs/{id}/events", "/v1/place")
"""Answers that wait for a device; tests of their own ask for them."""


@schema.exclude(path=list(WAITS)).parametrize()
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
def test_no_request_is_a_fault_of_the_server(case: Any) -> None:
    case.headers = {**(case.headers or {}), **api.headers}  # type: ignore[attr-defined]
    case.call_and_validate(checks=[not_a_server_error])

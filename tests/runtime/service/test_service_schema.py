"""Whatever the OpenAPI schema allows, and what it does not, is answered without a fault of the server's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

pytest.importorskip("schemathesis", reason="schemathesis is not installed")

import schemathesis
from schemathesis.checks import not_a_server_error

from seas_runtime.service.app import make_app
from seas_runtime.service.state.tokens import Role
from tests.runtime.service.boxes import running

LEFT_OUT = ("/v1/jobs/{id}/events", "/v1/place", "/readyz")
"""Two wait for a device, the third says rightly that none runs; tests of their own ask for them."""


@pytest.fixture(scope="module")
def box(builds: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A service of its own, whose jobs wait: what is asked for here would take years."""
    with running(builds, tmp_path_factory.mktemp("schema") / "state", max_photograph_mb=1.0) as own:
        for device in own.devices:
            device.stop(5.0)
        yield own


def test_no_request_is_a_fault_of_the_server(box: Any) -> None:
    schema = schemathesis.openapi.from_asgi("/v1/openapi.json", make_app(box))
    headers = {"authorization": f"Bearer {box.tokens.make('fuzz', Role.ADMIN)[0]}"}
    asked = set()
    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.path in LEFT_OUT:
            continue

        @settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
        @given(case=operation.as_strategy())
        def ask(case: Any) -> None:
            case.headers = {**(case.headers or {}), **headers}
            case.call_and_validate(checks=[not_a_server_error])

        ask()
        asked.add((operation.method, operation.path))
    assert len(asked) > 20

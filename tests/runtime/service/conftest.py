"""Bundles for a service, and one service that tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the extra [serve] is not installed")
pytest.importorskip("httpx", reason="FastAPI's test client needs httpx")

from fastapi.testclient import TestClient

from seas_runtime.service.box import Box
from seas_runtime.service.state.tokens import Role
from tests.runtime.bundles import Toy, write_tiny_bundle
from tests.runtime.placing.photographs import write_placing_bundle
from tests.runtime.service.boxes import client, ended, running


@pytest.fixture(scope="session")
def builds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `build` leaves it: `PRODUCT/bundle`. No test may change it."""
    out = tmp_path_factory.mktemp("builds")
    write_tiny_bundle(out / "bottle/bundle", Toy(bias=2.0), product="bottle")
    write_placing_bundle(out / "plate/bundle")
    (out / "half/bundle").mkdir(parents=True)
    return out


@pytest.fixture(scope="session")
def box(builds: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    """A service that tests share."""
    with running(builds, tmp_path_factory.mktemp("service") / "state") as made:
        yield made


@pytest.fixture(scope="session")
def admin(box: Box) -> TestClient:
    """A client with an administrator's token."""
    return client(box)


@pytest.fixture(scope="session")
def operator(box: Box) -> TestClient:
    """A client with an operator's token."""
    return client(box, Role.OPERATOR)


@pytest.fixture(scope="session")
def ids(box: Box) -> dict[str, str]:
    """The bundles' ids: `whole` makes whole pictures, `placed` draws into photographs."""
    found = {one.manifest.generation.get("regions", False): one.fingerprint for one in box.bundles.all()}
    return {"whole": found[False], "placed": found[True]}


@pytest.fixture(scope="session")
def job(operator: TestClient, ids: dict[str, str]) -> dict[str, Any]:
    """A job that is done: four pairs of each defect and normals, none judged."""
    new = {"bundle": ids["whole"], "defects": ["all"], "count": 4, "seed": 3, "batch": 2, "gate": False}
    made = operator.post("/v1/jobs", json=new)
    assert made.status_code == 201, made.text
    return ended(operator, made.json()["id"])

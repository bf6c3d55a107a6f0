"""A service that is killed while it makes pairs: nothing lost, nothing doubled, the same bytes."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from seas_runtime import DatasetRequest, Generator, Sampling, write_dataset
from tests.runtime.bundles import Toy, write_tiny_bundle
from tests.runtime.datasets import snapshot
from tests.runtime.service.boxes import Served, ended

KILLS, COUNT = 30, 300
STEP = 12
"""Fewer than so many more pairs before the next kill: the jobs outlive all kills on a fast machine too."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("killed")
    write_tiny_bundle(folder / "out/bottle/bundle", Toy(bias=2.0))
    made = Served(folder / "out", folder / "state")
    made.start()
    yield made
    made.stop()


def test_a_killed_service_goes_on_and_ends_with_the_same_bytes(served: Served, tmp_path: Path) -> None:
    random.seed(4)
    asking = served.client()
    bundle = asking.get("/v1/bundles").json()["bundles"][0]["id"]
    new = {"bundle": bundle, "defects": ["all"], "count": COUNT, "seed": 6, "batch": 3, "gate": False}
    jobs = [asking.post("/v1/jobs", json={**new, "seed": seed}).json()["id"] for seed in (6, 7)]
    seen = [0]
    for _ in range(KILLS):
        _wait_for_pairs(asking, jobs, seen[-1] + random.randrange(STEP))
        time.sleep(random.random() / 20)  # anywhere in a pair
        served.kill()
        served.start()
        seen.append(_made(asking, jobs))
    assert seen == sorted(seen)
    assert len({*seen}) > KILLS / 2  # it was killed while it worked, not when it was done
    for job in jobs:
        assert ended(asking, job)["status"] == "done"
    assert len(asking.get("/v1/jobs").json()["jobs"]) == len(jobs)
    for seed, job in zip((6, 7), jobs, strict=True):
        request = DatasetRequest(("all",), COUNT, seed, 3, sampling=Sampling(gate=False))
        generator = Generator.open(served.bundles / "bottle/bundle", threads=1)
        write_dataset(generator, request, tmp_path / job)
        assert snapshot(served.state / "jobs" / job / "dataset") == snapshot(tmp_path / job)


def test_sigterm_ends_within_ten_seconds_and_the_job_waits(served: Served) -> None:
    asking = served.client()
    bundle = asking.get("/v1/bundles").json()["bundles"][0]["id"]
    new = {"bundle": bundle, "defects": ["all"], "count": 20_000, "batch": 3, "gate": False}
    job = asking.post("/v1/jobs", json=new).json()["id"]
    _wait_for_pairs(asking, [job], 0)
    with httpx.stream(
        "GET", f"{served.url}/v1/jobs/{job}/events", headers=asking.headers, timeout=60
    ) as events:
        next(events.iter_lines())  # somebody follows
        _, seconds = served.stop()
    assert seconds < 10
    served.start()
    _wait_for_pairs(asking, [job], _made(asking, [job]))
    asking.post(f"/v1/jobs/{job}/cancel")
    assert ended(asking, job)["status"] == "cancelled"


def test_the_first_start_says_a_link_that_is_good_once(tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path / "out/bottle/bundle")
    first = Served(tmp_path / "out", tmp_path / "state")
    first.start()
    try:
        code = first.link()
        assert httpx.post(f"{first.url}/v1/session", json={"token": code}).status_code == 204
        assert httpx.post(f"{first.url}/v1/session", json={"token": code}).status_code == 401
    finally:
        first.stop()


def _made(asking: httpx.Client, jobs: list[str]) -> int:
    return sum(asking.get(f"/v1/jobs/{job}").json()["done"] for job in jobs)


def _wait_for_pairs(asking: httpx.Client, jobs: list[str], more_than: int) -> None:
    deadline = time.monotonic() + 90
    while _made(asking, jobs) <= more_than:
        if all(asking.get(f"/v1/jobs/{job}").json()["status"] == "done" for job in jobs):
            return
        assert time.monotonic() < deadline
        time.sleep(0.02)

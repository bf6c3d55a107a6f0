"""A service on tiny bundles: in this process, or in one of its own that can be killed."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from fastapi.testclient import TestClient

from seas_runtime.service.app import make_app
from seas_runtime.service.box import Box
from seas_runtime.service.settings import ServiceSettings
from seas_runtime.service.state.tokens import Role

PATIENCE = 180.0  # seconds: test machines are slow and busy


@contextmanager
def running(bundles: Path, state: Path, **settings: Any) -> Iterator[Box]:
    """A box that is on, with a thread for each worker."""
    values = {"threads": 1, "min_free_gb": 0.0, "requests_per_second": 10_000.0, **settings}
    with Box(ServiceSettings(bundles, state, **values)).running() as box:
        yield box


def client(box: Box, role: Role | None = Role.ADMIN, **options: Any) -> TestClient:
    """A client with a token of this role, or without one."""
    made = TestClient(make_app(box), raise_server_exceptions=False, **options)
    if role is not None:
        made.headers["authorization"] = f"Bearer {box.tokens.make(role.word, role)[0]}"
    return made


def wait_for(found: Callable[[], Any], what: str = "") -> Any:
    """Return what a function gives once it is true."""
    deadline = time.monotonic() + PATIENCE
    while not (value := found()):
        assert time.monotonic() < deadline, f"waited in vain {what}"
        time.sleep(0.05)
    return value


def ended(asking: Any, job: str, *statuses: str) -> dict[str, Any]:
    """Return a job once it has one of these statuses, or is over."""
    wanted = statuses or ("done", "failed", "cancelled")

    def look() -> dict[str, Any] | None:
        now: dict[str, Any] = asking.get(f"/v1/jobs/{job}").json()
        return now if now["status"] in wanted else None

    found: dict[str, Any] = wait_for(look, f"for {wanted}")
    return found


class Served:
    """`seas-export serve` in a process of its own."""

    def __init__(self, bundles: Path, state: Path, *words: str) -> None:
        self.state, self.bundles, self.words = state, bundles, words
        self.port = _free_port()
        self.process: subprocess.Popen[str] | None = None
        self.said = ""

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "seas_export", "serve", "--bundles", str(self.bundles)),
                *("--state", str(self.state), "--port", str(self.port), "--threads", "1", *self.words),
            ],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "SEAS_SERVE_MIN_FREE_GB": "0", "PYTHONUNBUFFERED": "1"},
        )

        def up() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, self.process.stderr.read() if self.process.stderr else ""
            try:
                return httpx.get(f"{self.url}/healthz", timeout=5).status_code == 200
            except httpx.HTTPError:
                return False

        wait_for(up, "for the service")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self, role: str = "admin") -> httpx.Client:
        """A client with a new token."""
        words = [sys.executable, "-m", "seas_export", "serve", "token", "--state", str(self.state)]
        made = subprocess.run(
            [*words, "--name", role, "--role", role], capture_output=True, text=True, check=True
        )
        token = made.stdout.split()[0]
        return httpx.Client(base_url=self.url, headers={"authorization": f"Bearer {token}"}, timeout=60)

    def link(self) -> str:
        """The code of the one-time link that it said at its first start."""
        assert self.process is not None
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if found := re.search(r"#link=(\S+)", line):
                return found[1]
        raise AssertionError("no link was said")

    def kill(self) -> None:
        """Kill it, as a power loss would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> tuple[int, float]:
        """End it as a system does; return its exit code and how many seconds that took."""
        assert self.process is not None
        begun = time.monotonic()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60), time.monotonic() - begun


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])

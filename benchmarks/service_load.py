"""Does the service answer, and the generation keep its pace, while a plant's clients ask all the time?

    python benchmarks/service_load.py out --minutes 15

Starts `seas-export serve` on a folder's bundles with a job that does not end, and beside it 50 clients that
ask for lists and status every 2 s, 8 that upload 1 MB every 10 s and 4 that download at 2 MB/s. Before and
after that, for a quarter of the time each, the same pairs are made by `generate` while clients of the same
numbers ask a static file server: a machine that grows slower meanwhile does so for both. Exits with 1 where a
bar is missed: an error of the server's, p95 over 150 ms, under 95 % of the pairs, memory that grows by more
than 5 %.
"""

from __future__ import annotations

import io
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from machine import result_parser, write_result
from PIL import Image

POLLING, UPLOADING, DOWNLOADING = 50, 8, 4
RATE = 2_000_000
"""Bytes a second of a download."""
READINGS = 15
"""Of memory, spread evenly over the time that is measured."""
BARS = {"p95_ms": 150.0, "pairs_share": 0.95, "memory_growth": 0.05}


class Clients:
    """Threads that ask an address until they are stopped; what they measured afterwards."""

    def __init__(self, url: str, token: str) -> None:
        self._url, self._headers = url, {"authorization": f"Bearer {token}"}
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self.seconds: list[float] = []
        self.errors: list[str] = []
        self.uploads = self.downloaded = 0

    def start(
        self, polled: list[str], upload: Callable[[httpx.Client, int], httpx.Response], path: str
    ) -> None:
        """Begin: every client at a moment of its own."""
        for number in range(POLLING):
            self._begin(self._poll, polled, number)
        for number in range(UPLOADING):
            self._begin(self._upload, upload, number)
        for _ in range(DOWNLOADING):
            self._begin(self._download, path)

    def stop(self) -> None:
        """End."""
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def _begin(self, work: Callable[..., None], *words: Any) -> None:
        def run() -> None:
            self._stop.wait(random.random() * 2)
            with httpx.Client(base_url=self._url, headers=self._headers, timeout=60) as asking:
                while not self._stop.is_set():
                    try:
                        work(asking, *words)
                    except httpx.HTTPError as error:
                        self.errors.append(type(error).__name__)
                        self._stop.wait(1.0)

        self._threads.append(threading.Thread(target=run, daemon=True))
        self._threads[-1].start()

    def _poll(self, asking: httpx.Client, paths: list[str], number: int) -> None:
        begun = time.perf_counter()
        answer = asking.get(paths[number % len(paths)])
        self.seconds.append(time.perf_counter() - begun)
        self._check(answer)
        self._stop.wait(2.0)

    def _upload(
        self, asking: httpx.Client, upload: Callable[[httpx.Client, int], httpx.Response], number: int
    ) -> None:
        self._check(upload(asking, self.uploads % 50 + 50 * number))
        self.uploads += 1
        self._stop.wait(10.0)

    def _download(self, asking: httpx.Client, path: str) -> None:
        with asking.stream("GET", path) as answer:
            self._check(answer)
            begun, got = time.perf_counter(), 0
            for block in answer.iter_bytes(1 << 16):
                got += len(block)
                self.downloaded += len(block)
                ahead = got / RATE - (time.perf_counter() - begun)
                if self._stop.wait(max(0.0, ahead)):
                    return
        self._stop.wait(0.5)

    def _check(self, answer: httpx.Response) -> None:
        if answer.status_code >= 400:
            self.errors.append(str(answer.status_code))


def photograph(number: int) -> bytes:
    """A picture of noise of about 1 MB."""
    noise = np.random.default_rng(number).integers(0, 256, (580, 580, 3)).astype(np.uint8)
    held = io.BytesIO()
    Image.fromarray(noise).save(held, "PNG", compress_level=1)
    return held.getvalue()


def memory(pid: int) -> int:
    """Resident bytes of a process and of all that it started; the worker that makes pairs is one of these."""
    process = Path(f"/proc/{pid}")
    own = int((process / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    started = [int(child) for file in process.glob("task/*/children") for child in file.read_text().split()]
    return own + sum(memory(child) for child in started)


def warm_up(seconds: float) -> float:
    """Seconds before anything is measured."""
    return min(120.0, seconds / 4)


def wait_for(url: str) -> None:
    """Wait until an address answers."""
    for _ in range(600):
        try:
            httpx.get(url, timeout=5)
            return
        except httpx.HTTPError:
            time.sleep(0.2)
    raise SystemExit(f"{url} does not answer")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def served(bundles: Path, scratch: Path, seconds: float, pictures: list[bytes]) -> dict[str, Any]:
    """Pairs a second of a job of the service, with its clients."""
    port, state = free_port(), scratch / "state"
    command = [sys.executable, "-m", "seas_export", "serve"]
    words = ["--bundles", str(bundles), "--state", str(state), "--port", str(port)]
    limits = {"SEAS_SERVE_REQUESTS_PER_SECOND": "1000", "SEAS_SERVE_MIN_FREE_GB": "1"}
    process = subprocess.Popen([*command, *words], env={**os.environ, **limits}, stderr=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for(f"{url}/healthz")
        made = subprocess.run(
            [*command, "token", "--state", str(state), "--name", "load", "--role", "admin"],
            capture_output=True,
            text=True,
            check=True,
        )
        token = made.stdout.split()[0]
        asking = httpx.Client(base_url=url, headers={"authorization": f"Bearer {token}"}, timeout=60)
        bundle = asking.get("/v1/bundles").json()["bundles"][0]
        new = {
            "bundle": bundle["id"],
            "defects": [bundle["defects"][0]["name"]],
            "count": 90_000,
            "gate": False,
        }
        job = asking.post("/v1/jobs", json={**new, "batch": 1}).json()["id"]
        while asking.get(f"/v1/jobs/{job}").json()["done"] < 4:
            time.sleep(0.2)

        def upload(client: httpx.Client, number: int) -> httpx.Response:
            return client.put(f"/v1/photographs/load/{number}.png", content=pictures[number % len(pictures)])

        clients = Clients(url, token)
        clients.start(["/v1/jobs", "/v1/status", f"/v1/jobs/{job}"], upload, f"/v1/jobs/{job}/download")
        time.sleep(warm_up(seconds))
        before, begun = asking.get(f"/v1/jobs/{job}").json()["done"], time.perf_counter()
        clients.seconds.clear()
        held = [memory(process.pid)]
        for _ in range(READINGS):
            time.sleep(seconds / READINGS)
            held.append(memory(process.pid))
        pairs = asking.get(f"/v1/jobs/{job}").json()["done"] - before
        rate = pairs / (time.perf_counter() - begun)
        grown = held[-1] / held[0] - 1
        clients.stop()
        p95 = statistics.quantiles(clients.seconds, n=20)[-1] * 1000
        return {
            "pairs": pairs,
            "pairs_per_second": rate,
            "requests": len(clients.seconds),
            "median_ms": round(statistics.median(clients.seconds) * 1000, 1),
            "p95_ms": round(p95, 1),
            "errors": clients.errors[:20],
            "uploads": clients.uploads,
            "downloaded_mb": round(clients.downloaded / 1e6, 1),
            "memory_mb": [round(one / 1e6, 1) for one in held],
            "memory_growth": round(grown, 4),
        }
    finally:
        process.terminate()
        process.wait(30)


def beside_files(bundles: Path, scratch: Path, seconds: float, pictures: list[bytes]) -> float:
    """Pairs a second of `generate`, beside clients of the same numbers at a static file server."""
    files = scratch / "files"
    files.mkdir(parents=True)
    (files / "list.json").write_text(json.dumps({"jobs": [{"id": n, "status": "done"} for n in range(20)]}))
    (files / "large.zip").write_bytes(b"".join(pictures))
    port = free_port()
    server = [sys.executable, "-m", "http.server", str(port)]
    server += ["--bind", "127.0.0.1", "--directory", str(files)]
    static = subprocess.Popen(server, stderr=subprocess.DEVNULL)
    bundle = next(iter(sorted(bundles.glob("*/bundle/manifest.json")))).parent
    from seas_runtime.bundle.reading import read_manifest_file

    defect = read_manifest_file(bundle)[0].defects[0]
    out = scratch / "generated"
    generate = [sys.executable, "-m", "seas_export", "generate", str(bundle), "--defect", defect]
    generate += ["--count", "90000", "--batch", "1", "--no-gate", "--out", str(out)]
    making = subprocess.Popen(generate, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for(url)
        while _lines(out) < 4:
            time.sleep(0.2)
        clients = Clients(url, "none")
        clients.start(["/list.json"], lambda client, number: client.get("/list.json"), "/large.zip")
        time.sleep(warm_up(seconds))
        before, begun = _lines(out), time.perf_counter()
        time.sleep(seconds)
        rate = (_lines(out) - before) / (time.perf_counter() - begun)
        clients.stop()
        return rate
    finally:
        for process in (making, static):
            process.kill()
            process.wait()


def _lines(out: Path) -> int:
    file = out / "records.jsonl"
    return file.read_bytes().count(b"\n") if file.exists() else 0


def main() -> int:
    """Measure, write the result, and say which bars are missed."""
    parser = result_parser("service_load", __doc__)
    parser.add_argument("bundles", type=Path)
    parser.add_argument("--minutes", type=float, default=15.0)
    asked = parser.parse_args()
    seconds = asked.minutes * 60
    pictures = [photograph(number) for number in range(8)]
    with tempfile.TemporaryDirectory() as held:
        scratch = Path(held)
        before = beside_files(asked.bundles, scratch / "before", seconds / 4, pictures)
        service = served(asked.bundles, scratch, seconds, pictures)
        after = beside_files(asked.bundles, scratch / "after", seconds / 4, pictures)
    files = (before + after) / 2
    share = service["pairs_per_second"] / files if files else 0.0
    missed = [name for name in ("p95_ms", "memory_growth") if service[name] > BARS[name]]
    missed += ["pairs_share"] if share < BARS["pairs_share"] else []
    missed += ["errors"] if service["errors"] else []
    result = {"minutes": asked.minutes, "load_at_the_end": os.getloadavg(), "service": service}
    result |= {
        "generate_pairs_per_second": {"before": before, "after": after},
        "pairs_share": round(share, 3),
        "bars": BARS,
        "missed": missed,
    }
    write_result(asked.out, result)
    print(json.dumps(result, indent=2))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

"""How long does a newcomer take from our wheel with `[serve]` to the first pair on the page?

    python benchmarks/serve_install.py out

Installs the wheel with its `serve` extra alone into a new virtual environment, looks at what came, starts
`seas-export serve` on the bundles of a folder, signs in by the link that it says, starts a job as the page
does, and waits for the first picture of a pair. Exits with 1 where a bar is missed.
"""

from __future__ import annotations

import http.client
import json
import re
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from edge_install import Edge, build_wheel
from machine import result_parser, write_result

BARS = {"brought_mb": 320.0, "first_pair_seconds": 60.0}
PATIENCE = 600.0


class Asking:
    """A browser's part: a cookie, and JSON."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._headers = {"x-seas": "1", "content-type": "application/json"}

    def __call__(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, bytes]:
        """Return an answer's status and body; keeps the cookie that it gives."""
        asking = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        asking.request(method, path, None if body is None else json.dumps(body), self._headers)
        answer = asking.getresponse()
        if cookie := answer.getheader("set-cookie"):
            self._headers["cookie"] = cookie.partition(";")[0]
        return answer.status, answer.read()


def first_pair(edge: Edge, bundles: Path) -> dict[str, float]:
    """Return the seconds from the command to the link, and from the command to the first pair's picture."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = int(found.getsockname()[1])
    begun = time.perf_counter()
    process = edge.start("serve", "--bundles", bundles, "--port", port)
    try:
        assert process.stderr is not None
        link = next(found[1] for line in process.stderr if (found := re.search(r"#link=(\S+)", line)))
        said = time.perf_counter() - begun
        ask = Asking(port)
        assert ask("POST", "/v1/session", {"token": link})[0] == 204
        bundle = json.loads(ask("GET", "/v1/bundles")[1])["bundles"][0]
        new = {"bundle": bundle["id"], "defects": [bundle["defects"][0]["name"]], "count": 8}
        status, body = ask("POST", "/v1/jobs", new)
        assert status == 201, body
        pairs = f"/v1/jobs/{json.loads(body)['id']}/pairs"
        while time.perf_counter() - begun < PATIENCE:
            made = [pair for pair in json.loads(ask("GET", pairs)[1])["pairs"] if pair["passed"]]
            if made:
                status, _ = ask("GET", f"{pairs}/{made[0]['defect']}/{made[0]['index']}/image?size=320")
                assert status == 200
                return {
                    "link_seconds": round(said, 1),
                    "first_pair_seconds": round(time.perf_counter() - begun, 1),
                }
            time.sleep(0.1)
        return {"link_seconds": round(said, 1), "first_pair_seconds": PATIENCE}
    finally:
        process.terminate()
        process.wait(30)


def main() -> int:
    """Build, install, serve, write the figures."""
    parser = result_parser("serve_install", __doc__)
    parser.add_argument("bundles", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="serve_install_") as folder:
        scratch = Path(folder)
        edge = Edge(scratch)
        installed = edge.install(build_wheel(scratch / "wheel"), "serve")
        times = first_pair(edge, asked.bundles.resolve())
    met = {
        "nothing_of_training": not installed["importable_though_it_must_not_be"],
        "brought_mb": installed["brought_mb"] <= BARS["brought_mb"],
        "first_pair_seconds": times["first_pair_seconds"] <= BARS["first_pair_seconds"],
    }
    write_result(asked.out, {"installed": installed, **times, "bars": BARS, "met": met})
    print(json.dumps({"brought_mb": installed["brought_mb"], **times, "met": met}, indent=2))
    return 0 if all(met.values()) else 1


if __name__ == "__main__":
    sys.exit(main())

"""Makes many pairs while workers are killed and the disk fills up, and compares with a run that had peace.

    python benchmarks/soak.py --bundle out/bottle/bundle --folder soak --pairs 3334 --steps 3

Every minute one worker process is killed with -9. At a third and at two thirds of the pairs the command
itself is killed and then, in place of a full disk, cannot write files over 16 KiB for one run (RLIMIT_FSIZE,
which ends in the same errors). It is started again without that limit. What is in --folder stays when this
script is stopped, and it continues there. In the end the pairs are compared with those of one undisturbed
process: none lost, none doubled, none different. Writes benchmarks/results/soak.json; exits with 1 if not so.
"""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from machine import result_parser, write_result

FULL_AT = 16 << 10
"""Bytes of the largest file while the disk is full."""
MAKE = """
import sys
from pathlib import Path
from seas_runtime import DatasetRequest, Sampling, write_dataset
from seas_runtime.methods.seas_options import SeasOptions
from seas_runtime.spreading.opening import open_source
bundle, out, pairs, steps, masks, backend, devices = sys.argv[1:]
sampling, options = Sampling(steps=int(steps) or None), SeasOptions(mask_steps=int(masks) or None)
request = DatasetRequest(("all",), int(pairs), 7, sampling=sampling, options=options)
with open_source(Path(bundle), backend, 1, None, devices or None) as (source, _):
    write_dataset(source, request, Path(out), lambda done, total: print(done, total, flush=True))
"""


def start(options: Any, out: Path, devices: str, limit: int | None) -> Any:
    """Start a run in a process; `limit` is the largest file that it can write, in bytes."""

    def limited() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    how = [str(value) for value in (options.pairs, options.steps, options.mask_steps)]
    words = [sys.executable, "-c", MAKE, str(options.bundle), str(out), *how, options.backend, devices]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True, preexec_fn=limited)


def children(process: int) -> list[int]:
    """Return the workers of a run."""
    file = Path(f"/proc/{process}/task/{process}/children")
    return [int(word) for word in file.read_text().split()] if file.exists() else []


def disturbed(options: Any) -> dict[str, int]:
    """Run to the end through kills and full disks; return how often each happened.

    The counts are kept in the folder, so that a script that is started again goes on with them.
    """
    kept = options.out / "told.json"
    told = {"workers_killed": 0, "runs_killed": 0, "disk_full": 0}
    if kept.exists():
        told = json.loads(kept.read_text())
    marks = [1 / 3, 2 / 3][told["runs_killed"] :]
    limit = FULL_AT if told["runs_killed"] > told["disk_full"] else None
    options.out.mkdir(parents=True, exist_ok=True)

    def tell(what: str) -> None:
        told[what] += 1
        kept.write_text(json.dumps(told))

    while True:
        run = start(options, options.out / "disturbed", "cores:2", limit)
        last = time.monotonic()
        for line in run.stdout:
            done, total = map(int, line.split())
            if marks and done >= marks[0] * total:
                marks.pop(0)
                run.kill()
                tell("runs_killed")
                limit = FULL_AT
            elif time.monotonic() - last > options.every and (found := children(run.pid)):
                os.kill(random.choice(found), signal.SIGKILL)
                tell("workers_killed")
                last = time.monotonic()
        code = run.wait()
        if code == 0:
            return told
        if limit is not None and code != -signal.SIGKILL:
            tell("disk_full")
            limit = None


def pairs_of(out: Path) -> tuple[dict[str, bytes], list[dict[str, Any]]]:
    """Return the pictures and the records, without their times."""
    files = {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("0*.png")}
    lines = (out / "records.jsonl").read_text().splitlines()
    return files, [{**json.loads(line), "times": None} for line in lines]


def main() -> int:
    """Run both and compare."""
    parser = result_parser("soak", __doc__)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--folder", type=Path, default=Path("soak"), help="where the pairs go (%(default)s)")
    parser.add_argument("--pairs", type=int, default=3_334, help="of each defect (%(default)s)")
    parser.add_argument("--steps", type=int, default=3, help="0 for the bundle's own (%(default)s)")
    parser.add_argument("--mask-steps", type=int, default=0, help="0 for the bundle's own (%(default)s)")
    parser.add_argument("--backend", default="cpu", help="(%(default)s)")
    parser.add_argument("--every", type=float, default=60, help="seconds between kills (%(default)s)")
    options = parser.parse_args()
    result, options.out = options.out, options.folder
    told = disturbed(options)
    calm = start(options, options.out / "calm", "", None)
    for _ in calm.stdout:
        pass
    if calm.wait():
        return 1
    files, records = pairs_of(options.out / "disturbed")
    expected, wanted = pairs_of(options.out / "calm")
    keys = [(record["defect"], record["index"]) for record in records]
    figures = {
        "pairs": len(wanted),
        "steps": options.steps,
        "mask_steps": options.mask_steps,
        "backend": options.backend,
        **told,
        "lost": len(wanted) - len(set(keys)),
        "doubled": len(keys) - len(set(keys)),
        "different": sum(files.get(name) != data for name, data in expected.items())
        + len(set(files) - set(expected))
        + (records != wanted),
    }
    write_result(result, figures)
    print(json.dumps(figures, indent=2))
    return int(bool(figures["lost"] or figures["doubled"] or figures["different"]))


if __name__ == "__main__":
    raise SystemExit(main())

"""Does our wheel with `[runtime]`, installed in an empty environment, do what the edge needs?

    python benchmarks/edge_install.py out/bottle/bundle

Builds the wheel, installs it with its `runtime` extra alone into a new virtual environment, and looks at what
came: which packages, how many megabytes, how long Python takes to import the runtime. Then every command that
the edge needs runs there, and `generate` must write the same bytes as in the environment of this script
(with the same versions of the packages that shape them). Exits with 1 where a bar is missed.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

from machine import result_parser, write_result

from seas_runtime.errors import CheckFailed, UserError

ROOT = Path(__file__).resolve().parent.parent
BARS = {"brought_mb": 250.0, "import_seconds": 0.3, "help_seconds": 0.3}
ABSENT = ("torch", "diffusers", "transformers", "accelerate", "onnx", "onnxscript", "polygraphy")
SHAPES_BYTES = ("numpy", "pillow", "onnxruntime")  # other versions may round or compress differently
RUNS = 9

# Runs in the new environment: what can be imported there, and what every distribution takes on disk.
_LOOK = """
import importlib.metadata, importlib.util, json, os, pathlib, sys, sysconfig
blocks = lambda path: os.lstat(path).st_blocks * 512
found = {}
for item in importlib.metadata.distributions():
    files = [pathlib.Path(item.locate_file(file)) for file in item.files or ()]
    size = sum(blocks(file) for file in files if file.is_file())
    found[item.metadata["Name"]] = {"version": item.version, "bytes": size}
site = pathlib.Path(sysconfig.get_path("purelib"))
print(json.dumps({
    "importable": [name for name in sys.argv[1:] if importlib.util.find_spec(name)],
    "total": sum(blocks(path) for path in site.rglob("*")),
    "distributions": found,
}))
"""


class Edge:
    """A virtual environment with `seas-export[runtime]`, or another extra, alone, under folder `scratch`."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._bin = scratch / "venv" / "bin"
        # What this script's own environment adds to Python's path must not reach the new one.
        dropped = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
        self._environment = {name: value for name, value in os.environ.items() if name not in dropped}

    def install(self, wheel: Path, extra: str = "runtime") -> dict[str, Any]:
        """Install `wheel[extra]`, with our versions of `SHAPES_BYTES`; returns what came with it."""
        constraints = self._scratch / "constraints.txt"
        constraints.write_text("".join(f"{name}=={metadata.version(name)}\n" for name in SHAPES_BYTES))
        _run([sys.executable, "-m", "venv", self._bin.parent], self._environment)
        empty = json.loads(self.python("-c", _LOOK))
        self.python("-m", "pip", "install", "--quiet", "--constraint", constraints, f"{wheel}[{extra}]")
        full = json.loads(self.python("-c", _LOOK, *ABSENT))
        sizes = {
            f"{name} {item['version']}": round(item["bytes"] / 1e6, 1)
            for name, item in full["distributions"].items()
            if name not in empty["distributions"]
        }
        return {
            "site_packages_mb": round(full["total"] / 1e6, 1),
            "of_that_pip_and_setuptools_mb": round(empty["total"] / 1e6, 1),
            "brought_mb": round((full["total"] - empty["total"]) / 1e6, 1),
            "distributions_mb": dict(sorted(sizes.items(), key=lambda item: -item[1])),
            "importable_though_it_must_not_be": full["importable"],
        }

    def python(self, *words: object) -> str:
        """Run its interpreter in a folder of no interest; returns what it printed."""
        return _run([self._bin / "python", *words], self._environment, self._scratch)

    def seas_export(self, *words: object) -> str:
        """Run its `seas-export`; returns what it printed."""
        return _run([self._bin / "seas-export", *words], self._environment, self._scratch)

    def start(self, *words: object) -> subprocess.Popen[str]:
        """Begin its `seas-export`, whose words for a person can be read."""
        command = [str(self._bin / "seas-export"), *map(str, words)]
        return subprocess.Popen(
            command, env=self._environment, cwd=self._scratch, stderr=subprocess.PIPE, text=True
        )

    def times(self) -> dict[str, Any]:
        """Median seconds that its processes take, of `RUNS` starts each: wall clock and processor.

        On a busy machine a process waits for its turn: there the bars hold for the processor's time.
        """
        load = os.getloadavg()[0] / (os.cpu_count() or 1)
        taken = {
            "bare_interpreter": _time(lambda: self.python("-c", "pass")),
            "import_seas_runtime": _time(lambda: self.python("-c", "import seas_runtime")),
            "import_generator": _time(lambda: self.python("-c", "from seas_runtime import Generator")),
            "help": _time(lambda: self.seas_export("--help")),
        }
        judged_by = "wall" if load < 0.5 else "processor"
        bare = taken["bare_interpreter"][judged_by]
        return {
            "runs": RUNS,
            "load_per_core": round(load, 2),
            "judged_by": judged_by,
            "seconds": taken,
            "import_seas_runtime_beyond_interpreter": round(
                max(0.0, taken["import_seas_runtime"][judged_by] - bare), 3
            ),
        }

    def commands(self, bundle: Path) -> dict[str, bool]:
        """Whether the commands that only look at the machine and the bundle say what is so."""
        doctor = json.loads(self.seas_export("doctor", "--json"))
        facts = json.loads(self.seas_export("inspect", bundle, "--json"))
        whole = json.loads(self.seas_export("verify", bundle, "--json"))
        manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
        return {
            "doctor": doctor["jobs"][0]["ready"] and doctor["packages"]["torch"] is None,
            "inspect": facts["product"] == manifest["product"],
            "verify": whole["whole"] is True,
        }


def build_wheel(out: Path) -> Path:
    """Build this repository's wheel into folder `out`, with uv where there is one and pip otherwise."""
    beside = Path(sys.executable).with_name("uv")
    uv = str(beside) if beside.exists() else shutil.which("uv")
    if uv:
        _run([uv, "build", "--quiet", "--wheel", "--out-dir", out, ROOT])
    else:
        _run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", out, ROOT])
    return next(out.glob("*.whl"))


def compare_pairs(edge: Edge, bundle: Path, scratch: Path, count: int, seed: int) -> dict[str, Any]:
    """Generate `count` pairs of each defect and of normals here and there; compare every PNG's bytes."""
    words = ["generate", bundle, "--defect", "all", "--count", count, "--seed", seed, "--json", "--out"]
    edge.seas_export(*words, scratch / "there")
    _run([sys.executable, "-m", "seas_export", *words, scratch / "here"])
    there, here = _hashes(scratch / "there"), _hashes(scratch / "here")
    different = sorted(name for name in there.keys() | here.keys() if there.get(name) != here.get(name))
    return {
        "count": count,
        "seed": seed,
        "pngs": len(there),
        "different": different,
        "with": {name: metadata.version(name) for name in SHAPES_BYTES},
    }


def verdict(
    installed: dict[str, Any], times: dict[str, Any], commands: dict[str, bool], pairs: dict[str, Any]
) -> dict[str, bool]:
    """Which bars are met."""
    judged_by, seconds = times["judged_by"], times["seconds"]
    return {
        "nothing_of_training": not installed["importable_though_it_must_not_be"],
        "brought_mb": installed["brought_mb"] <= BARS["brought_mb"],
        "import_seconds": seconds["import_seas_runtime"][judged_by] <= BARS["import_seconds"],
        "help_seconds": seconds["help"][judged_by] < BARS["help_seconds"],
        "commands": all(commands.values()),
        "same_bytes": pairs["pngs"] > 0 and not pairs["different"],
    }


def main() -> int:
    """Build, install, look, compare, write the figures."""
    parser = result_parser("edge_install", __doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--count", type=int, default=4, help="pairs of each defect that are compared")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    try:
        return measure(arguments.bundle.resolve(), arguments.count, arguments.seed, arguments.out)
    except (UserError, CheckFailed) as error:
        _say(f"failed: {error}")
        return 2 if isinstance(error, UserError) else 1


def measure(bundle: Path, count: int, seed: int, out: Path) -> int:
    """Measure with `bundle`, write the figures to `out`; returns the exit code."""
    if not (bundle / "manifest.json").is_file():
        raise UserError(f"{bundle}: expected a bundle, found no manifest.json in it")
    with tempfile.TemporaryDirectory(prefix="edge_install_") as folder:
        scratch = Path(folder)
        wheel = build_wheel(scratch / "wheel")
        edge = Edge(scratch)
        installed = edge.install(wheel)
        _say(f"installed: {installed['brought_mb']} MB beside pip and setuptools")
        times = edge.times()
        _say(f"times, {times['runs']} runs each: {times['seconds']}")
        commands = edge.commands(bundle)
        pairs = compare_pairs(edge, bundle, scratch, count, seed)
        wheel_mb = round(wheel.stat().st_size / 1e6, 1)
    met = verdict(installed, times, commands, pairs)
    write_result(
        out,
        {
            "bundle_manifest_sha256": hashlib.sha256((bundle / "manifest.json").read_bytes()).hexdigest(),
            "wheel_mb": wheel_mb,
            "installed": installed,
            "times": times,
            "commands": commands,
            "generated": pairs,
            "bars": BARS,
            "met": met,
        },
    )
    _say(f"commands: {commands}\n{pairs['pngs']} PNGs, {len(pairs['different'])} of them different")
    _say(f"bars met: {met}\nwritten: {out}")
    return 0 if all(met.values()) else 1


def _time(run: Callable[[], object]) -> dict[str, float]:
    """Medians over `RUNS` of a child process's wall-clock and processor seconds, after a first one."""
    run()
    wall, processor = [], []
    for _ in range(RUNS):
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        run()
        wall.append(time.perf_counter() - began)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        processor.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    return {"wall": round(statistics.median(wall), 3), "processor": round(statistics.median(processor), 3)}


def _hashes(folder: Path) -> dict[str, str]:
    """The sha256 of every PNG under `folder`, by its path there."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*.png"))
    }


def _run(command: list[Any], environment: dict[str, str] | None = None, folder: Path | None = None) -> str:
    """Run a command and return its output; CheckFailed with its last words where it fails."""
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, env=environment, cwd=folder)
    if done.returncode:
        said = "\n".join((done.stderr or done.stdout).strip().splitlines()[-15:])
        raise CheckFailed(f"expected exit code 0 of `{' '.join(words)}`, found {done.returncode}:\n{said}")
    return done.stdout


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main())

"""`build --all`: every product of a folder, each in its own process, so that none stops the others."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from seas_export.pipeline.ledger import BUILD_FILE
from seas_export.pipeline.on_ray.builder import CONFIG
from seas_export.pipeline.on_ray.cluster import Cluster
from seas_export.signals import Ended
from seas_export.verdict import State
from seas_runtime.errors import UserError
from seas_runtime.outputs.checking import check_file
from seas_runtime.packages import child_environment
from seas_runtime.printable import printable
from seas_runtime.units import duration

INTERRUPTED, TERMINATED = 130, 143
_LOG = "seas-export build --all"
"""The first line of a log."""


@dataclass(frozen=True)
class Outcome:
    """How one product ended."""

    product: str
    state: str
    """built, current or failed."""
    code: int
    """The exit code of its process."""
    seconds: float
    out: Path
    words: str = ""
    verdicts: dict[str, str] = field(default_factory=dict)
    """By defect: usable, doubtful or not usable."""


@dataclass(frozen=True)
class Everything:
    """How every product ended, in the folder's order."""

    outcomes: tuple[Outcome, ...]
    seconds: float

    @property
    def failed(self) -> tuple[Outcome, ...]:
        """Those that did not come to their end."""
        return tuple(outcome for outcome in self.outcomes if outcome.state == "failed")

    @property
    def not_usable(self) -> tuple[str, ...]:
        """Defects that are not, as PRODUCT/DEFECT."""
        return tuple(
            f"{outcome.product}/{defect}"
            for outcome in self.outcomes
            for defect, state in outcome.verdicts.items()
            if state == State.NOT_USABLE.value
        )

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        products = [asdict(outcome) for outcome in self.outcomes]
        return {"products": products, "failed": len(self.failed), "seconds": self.seconds}

    def to_text(self) -> str:
        """A line for each product, and a sum."""
        width = max(len(outcome.product) for outcome in self.outcomes)
        lines = [
            f"{outcome.product.ljust(width)}  {outcome.state.ljust(7)}  {duration(outcome.seconds)}"
            f"  {outcome.words or outcome.out}{_verdict_words(outcome.verdicts)}"
            for outcome in self.outcomes
        ]
        counts = {state: 0 for state in ("built", "current", "failed")}
        for outcome in self.outcomes:
            counts[outcome.state] += 1
        total = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
        states = [state for outcome in self.outcomes for state in outcome.verdicts.values()]
        verdicts = f"verdict: {_state_counts(states)} of {len(states)} defects"
        return "\n".join(
            [
                *lines,
                f"{len(self.outcomes)} products: {total}; {duration(self.seconds)}",
                *([verdicts] if states else []),
            ]
        )


def build_everything(
    data: Path,
    out: Path,
    values: Mapping[str, Any],
    *,
    jobs: int = 1,
    ray: str | None = None,
    force: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> Everything:
    """Build every product of the folder `data` into `out`/PRODUCT, `jobs` at a time.

    ray: the address of a cluster, whose machines build a product for each GPU, or by their cores; then `jobs`
    is not asked. `values` are the configuration of all of them, without product, data and out. What is
    current is kept. What a product says goes to stderr, or with several at a time to `out`/PRODUCT.log.
    Raises UserError where there is no product, or the cluster cannot build them; how each ended is in the
    result.
    """
    from seas_train.data.layouts import products_in
    from seas_train.data.layouts.found import is_folder, unreadable
    from seas_train.data.names import product_name, unique_names

    if not is_folder(data):
        raise UserError(f"--data {data}: expected a folder of products, found no such folder. Name one.")
    if (reason := unreadable(data)) is not None:
        raise UserError(f"--data {data}: the folder cannot be read: {reason}. Let this user read it.")
    names = products_in(data, say)
    if not names:
        raise UserError(
            f"--data {data}: expected a folder of products, found none in it. "
            "Give the folder that the products' own folders lie in."
        )
    places = {name: out / place for name, place in unique_names(names, product_name).items()}
    begun = time.perf_counter()
    running = _Running()
    aside = jobs > 1 or ray is not None
    logs = {name: place.with_name(f"{place.name}.log") for name, place in places.items()} if aside else {}
    for name, file in logs.items():
        # Earlier versions' logs lie beside a build. A folder fails its own product alone.
        if not file.is_dir() and not (places[name] / BUILD_FILE).is_file():
            check_file(file, "a log of build --all", _is_log, force=True)
    with contextlib.ExitStack() as stack:
        cluster = None if ray is None else stack.enter_context(Cluster(ray))
        threads = values.get("threads")
        needs: dict[str, float] = {}
        if cluster is not None:
            needs = cluster.needs(len(names), threads)
            threads = threads or int(needs["num_cpus"]) or None
            cluster.check(data.absolute(), out.absolute())
            jobs = len(names)
        elif jobs > 1:
            threads = threads or max(1, (os.cpu_count() or 1) // jobs)
        out.mkdir(parents=True, exist_ok=True)
        text = json.dumps(values if threads is None else {**values, "threads": threads}, default=str)
        config = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "all.yaml"
        config.write_text(text, encoding="utf-8")  # JSON is YAML

        def run(name: str) -> Outcome:
            place, label = places[name], printable(name)
            source, target = (data, place) if cluster is None else (data.absolute(), place.absolute())
            words = [*_command(), "--config", CONFIG, "--product", name, "--data", str(source)]
            words += ["--out", str(target), "--json", *(["--force"] if force else [])]

            def start() -> tuple[int, list[str]]:
                if cluster is not None:
                    return cluster.build(words[1:], text, needs)
                here = [str(config) if word == CONFIG else word for word in words]
                return running.run(here, quiet=name in logs)

            try:
                outcome = _run(label, start, place, logs.get(name))
            except OSError as error:  # as of a log that cannot be written: the others' summary stays
                outcome = Outcome(label, "failed", 1, 0.0, place, f"failed: {printable(str(error))}")
            say(f"{label}: {outcome.state}, {duration(outcome.seconds)}")
            return outcome

        with ThreadPoolExecutor(jobs) as pool:
            try:
                outcomes = tuple(pool.map(run, names))
            except KeyboardInterrupt as interrupt:
                if cluster is not None:
                    cluster.stop()
                if isinstance(interrupt, Ended):  # which came to this process alone, as Ctrl-C does not
                    running.stop()
                pool.shutdown(cancel_futures=True)  # the products' processes were interrupted with this one
                raise
    if any(outcome.code in (INTERRUPTED, TERMINATED) for outcome in outcomes):
        raise KeyboardInterrupt
    return Everything(outcomes, time.perf_counter() - begun)


def _command() -> list[str]:
    """The words that run one build."""
    return [sys.executable, "-m", "seas_export", "build"]


class _Running:
    """The processes of the products that are being built."""

    def __init__(self) -> None:
        self._processes: list[subprocess.Popen[bytes]] = []
        self._stopped = False

    def run(self, words: list[str], quiet: bool) -> tuple[int, list[str]]:
        """Run one to its end; return how it ended, and what it wrote to stderr, which is shown meanwhile."""
        environment = child_environment()
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment)
        self._processes.append(process)
        if self._stopped:
            process.terminate()
        lines: list[str] = []
        assert process.stderr is not None
        for line in process.stderr:
            text = line.decode("utf-8", "replace")
            lines += text.splitlines()
            if not quiet:
                sys.stderr.write(printable(text, keep="\n\r\t"))
        return process.wait(), lines

    def stop(self) -> None:
        """Tell all of them to end; they clean up."""
        self._stopped = True
        for process in self._processes:
            process.terminate()


def _run(name: str, start: Callable[[], tuple[int, list[str]]], out: Path, log: Path | None) -> Outcome:
    begun = time.perf_counter()
    before = _parts(out)
    code, lines = start()
    if log is not None:
        log.write_text("\n".join([_LOG, *lines]) + "\n", encoding="utf-8")
    seconds = time.perf_counter() - begun
    if code == 0:
        state = "current" if before is not None and before == _parts(out) else "built"
        return Outcome(name, state, code, seconds, out, verdicts=_recorded(out, "verdicts") or {})
    return Outcome(name, "failed", code, seconds, out, _reason(lines, code))


def _is_log(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(len(_LOG)) == _LOG.encode()


def _parts(out: Path) -> Any:
    """What a build's record says of its parts; None where there is none."""
    return _recorded(out, "parts")


def _recorded(out: Path, name: str) -> Any:
    """A value of a build's record; None where there is none."""
    try:
        return json.loads((out / BUILD_FILE).read_text(encoding="utf-8")).get(name)
    except (OSError, ValueError, AttributeError):
        return None


def _verdict_words(verdicts: Mapping[str, str]) -> str:
    """How many defects are in which state, and which are not usable."""
    if not verdicts:
        return ""
    bad = ", ".join(name for name, state in verdicts.items() if state == State.NOT_USABLE.value)
    return f"  {_state_counts(list(verdicts.values()))}{f' ({bad})' if bad else ''}"


def _state_counts(states: Sequence[str]) -> str:
    """How many are in which state, from best to worst."""
    counts = [(states.count(state.value), state.value) for state in State]
    return ", ".join(f"{count} {name}" for count, name in counts if count)


def _reason(lines: list[str], code: int) -> str:
    """Why a build failed, in the words of its last error."""
    errors = [line for line in lines if line.startswith(("error: ", "failed: "))]
    if errors:
        return printable(errors[-1])
    return printable(f"ended with code {code}; {lines[-1] if lines else 'it said nothing'}")

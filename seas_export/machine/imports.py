"""Whether installed packages import, tried in another process: one that crashes or hangs harms nobody."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping

from seas_runtime.packages import child_environment

SECONDS = 120.0
"""That one package may take to import; a slow disk takes half a minute for PyTorch."""
_SCRIPT = """
import importlib, json, os, sys
real = os.dup(1)
os.dup2(2, 1)  # libraries print
def say(*values):
    os.write(real, (json.dumps(values) + "\\n").encode())
dispensable, *names = sys.argv[1:]
def hide(name):  # as training does, so that it is not taken for a fault of who imports it
    package = name.partition(":")[0].partition(".")[0]
    for other in [other for other in sys.modules if other.partition(".")[0] == package]:
        del sys.modules[other]
    sys.modules[package] = None
for name in json.loads(dispensable)["broken"]:
    hide(name)
for name in names:
    say("begin", name)
    try:
        module, _, attribute = name.partition(":")
        found = importlib.import_module(module)
        attribute and getattr(found, attribute)
    except BaseException as error:
        say("broken", name, type(error).__name__ + ": " + " ".join(str(error).split()))
        if name in json.loads(dispensable)["all"]:
            hide(name)
    else:
        say("whole", name)
"""
_LONGEST = 800  # of a reason; its end says most


def broken_imports(
    modules: Iterable[str], dispensable: Iterable[str] = (), seconds: float = SECONDS
) -> dict[str, str]:
    """Return the modules, `name` or `name:attribute`, that do not import, and why, in their order.

    dispensable: those of them that others do without; they are tried first, and hidden where they are broken.
    seconds: what each of them may take.
    """
    modules, free = list(modules), set(dispensable)
    modules = sorted(modules, key=lambda name: name not in free)
    waiting, broken = list(dict.fromkeys(modules)), dict[str, str]()
    while waiting:
        hidden = [name for name in broken if name in free]
        ended = _try(waiting, json.dumps({"broken": hidden, "all": list(free)}), seconds)
        for name, reason in ended.items():
            waiting.remove(name)
            if reason:
                broken[name] = reason if len(reason) <= _LONGEST else f"... {reason[-_LONGEST:]}"
        if not ended:  # not even one was begun: this Python does not start a second one
            return broken
    return broken


def _try(modules: list[str], dispensable: str, seconds: float) -> Mapping[str, str]:
    """Import one after another until one ends the process; what each came to, in words, empty where whole."""
    words = [sys.executable, "-c", _SCRIPT, dispensable, *modules]
    try:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_environment(),
            text=True,
        )
    except OSError:
        return {}
    lines: queue.Queue[str | None] = queue.Queue()
    threading.Thread(target=_read, args=(process, lines), daemon=True).start()
    ended, at, until = dict[str, str](), "", time.monotonic() + seconds
    while True:
        try:
            line = lines.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            process.kill()
            process.wait()
            return {**ended, at: f"its import does not end within {seconds:.0f} s"} if at else ended
        if line is None:
            code = process.wait()
            return {**ended, at: f"its import ends the process, with code {code}"} if at else ended
        what, name, *reason = json.loads(line)
        at, until = (name if what == "begin" else ""), time.monotonic() + seconds
        if what != "begin":
            ended[name] = reason[0] if reason else ""


def _read(process: subprocess.Popen[str], lines: queue.Queue[str | None]) -> None:
    """Hand on each line, then None."""
    assert process.stdout is not None
    for line in process.stdout:
        lines.put(line)
    lines.put(None)


def _environment() -> dict[str, str]:
    """What this process imports, the other one does; nothing is downloaded, no window opens."""
    return {**child_environment(), "HF_HUB_OFFLINE": "1"}

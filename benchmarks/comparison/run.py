"""One contestant in this process: `python -m comparison.run NAME FOLDER`, with the task in FOLDER.

Exits with 3, and the reason on stderr, where the contestant cannot run here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from comparison.task import Outcome, Task

CANNOT_RUN = 3
PEERS = ("optimum-onnxruntime", "optimum-openvino-f32", "optimum-openvino-bf16")
PYTORCH = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}


def contestant(name: str) -> Callable[[Task], Outcome]:
    """Return what runs the contestant called `name`; KeyError where there is none."""
    family, _, rest = name.partition("-")
    if family == "pytorch":
        from comparison.ours import run_pytorch

        precision, _, compiled = rest.partition("-")
        dtype = PYTORCH[precision]
        return lambda task: run_pytorch(task, dtype, compiled == "compiled")
    if family == "seas":
        from comparison.ours import run_ours

        return lambda task: run_ours(task, rest)
    if name not in PEERS:
        raise KeyError(name)
    from comparison import peers

    if name == "optimum-onnxruntime":
        return peers.run_onnxruntime
    return lambda task: peers.run_openvino(task, rest.rpartition("-")[2])


def main() -> int:
    """Run it and write what it made."""
    name, folder = sys.argv[1], Path(sys.argv[2])
    task = Task.read(folder)
    try:
        outcome = contestant(name)(task)
    except ImportError as error:
        print(f"{name}: {error}", file=sys.stderr)
        return CANNOT_RUN
    except Exception as error:
        if type(error).__name__ != "UserError":
            raise
        print(f"{name}: {error}", file=sys.stderr)
        return CANNOT_RUN
    outcome.write(folder, name)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Measuring a graph must not hold all of its values at once: at full size they are tens of gigabytes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import sys
from pathlib import Path
import numpy as np
import onnx_ir as ir
from onnx import TensorProto, helper, numpy_helper
from seas_engines.precision.evaluator import Case, Evaluator
from seas_engines.precision.half import infer_types

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))

folder, nodes, side = Path(sys.argv[1]), 96, 1024
weight = numpy_helper.from_array(np.ones((1, 1, 1, 1), np.float32), "w")
layers = [
    helper.make_node("Conv", [f"v{i}", "w"], [f"v{i + 1}"], name=f"conv{i}") for i in range(nodes)
]
made = helper.make_graph(
    layers, "chain",
    [helper.make_tensor_value_info("v0", TensorProto.FLOAT, [1, 1, side, side])],
    [helper.make_tensor_value_info(f"v{nodes}", TensorProto.FLOAT, [1, 1, side, side])],
    [weight],
)
model = ir.from_proto(helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)]))
infer_types(model)
feeds = {"v0": np.full((1, 1, side, side), 2.0, np.float32)}
Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew: it is the parent's otherwise
before = peak()
with Evaluator(model, [Case("real", feeds)], folder, threads=1) as evaluator:
    largest = evaluator.largest()
    grown = peak() - before
assert len(largest) == nodes and min(largest.values()) == max(largest.values()) == 2.0, largest
print(grown * 1024 / (4 * side * side))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read as Linux counts it")
def test_watching_every_value_holds_few_of_them(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert 1 < float(done.stdout) < 48  # values' worth of memory, of 96 and what a session takes

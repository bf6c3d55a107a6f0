"""Importing the runtime must cost nothing and bring nothing."""

from __future__ import annotations

import json
from pathlib import Path

from tests.runtime.interpreters import run_python

HEAVY = (
    "torch",
    "onnx",
    "onnxruntime",
    "openvino",
    "tensorrt",
    "tensorrt_rtx",
    "cuda",
    "diffusers",
    "transformers",
    "accelerate",
    "numpy",
    "PIL",
)


def loaded_after(code: str) -> list[str]:
    """Return which heavy packages a fresh interpreter has loaded after `code`."""
    report = f"import json, sys\nprint(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))"
    status, output, errors = run_python(f"{code}\n{report}")
    assert status == 0, errors
    return list(json.loads(output))


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert loaded_after("import seas_runtime") == []


def test_importing_every_public_name_loads_no_backend() -> None:
    assert loaded_after("from seas_runtime import *") == ["numpy", "PIL"]


def test_generating_loads_onnxruntime_alone(tiny_bundle: Path) -> None:
    code = (
        f"from seas_runtime import Generator\nnext(Generator.open({str(tiny_bundle)!r}).generate('good', 1))"
    )
    assert loaded_after(code) == ["onnxruntime", "numpy", "PIL"]


def test_an_unknown_name_is_an_attribute_error() -> None:
    _, _, errors = run_python("import seas_runtime; seas_runtime.Nothing")
    assert "AttributeError: module 'seas_runtime' has no attribute 'Nothing'" in errors

"""Runs code in a fresh interpreter that finds the same packages as the tests."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from seas_runtime.packages import child_environment


def start_python(code: str, *arguments: str, **options: Any) -> subprocess.Popen[str]:
    """Start `python -c code arguments` with its output piped."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=child_environment(),
        **options,
    )


def run_python(code: str, *arguments: str, **options: Any) -> tuple[int, str, str]:
    """Run `python -c code arguments`; return exit code, output, errors."""
    process = start_python(code, *arguments, **options)
    output, errors = process.communicate(timeout=120)
    return process.returncode, output, errors

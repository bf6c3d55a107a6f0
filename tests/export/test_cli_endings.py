"""How commands end: exit codes, what goes to stdout and what to stderr."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import seas_export.machine.doctor
from seas_runtime.errors import CheckFailed, UserError
from seas_runtime.installing import install
from seas_runtime.packages import child_environment
from tests.export.commands import Run


def _raise(error: BaseException) -> Any:
    def diagnose(folder: Path, *, quick: bool) -> None:
        raise error

    return diagnose


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (UserError("plate.png: expected an image"), 2, "error: plate.png: expected an image\n"),
        (CheckFailed("parity 0.1, bound 0.01"), 1, "failed: parity 0.1, bound 0.01\n"),
        (ValueError("inner trouble\nsecond line"), 1, "failed: unexpected ValueError: inner trouble\n"),
        (KeyboardInterrupt(), 130, "\ninterrupted. Run it again."),
        (ModuleNotFoundError("x", name="onnxruntime"), 2, f"Install it: {install('runtime')}"),
        (ModuleNotFoundError("x", name="torch.nn"), 2, f"Install it: {install('train')}"),
        (ModuleNotFoundError("x", name="polygraphy"), 2, f"Install it: {install('export')}"),
        (ModuleNotFoundError("no inner_thing", name="inner_thing"), 1, "unexpected ModuleNotFoundError"),
    ],
)
def test_each_ending_has_its_code_and_words(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, words: str
) -> None:
    monkeypatch.setattr(seas_export.machine.doctor, "diagnose", _raise(error))
    ended = run("doctor")
    assert ended.code == code
    assert words in ended.err
    assert "Traceback" not in ended.err
    assert ended.out == ""


def test_debug_shows_the_traceback_wherever_it_stands(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seas_export.machine.doctor, "diagnose", _raise(ValueError("inner trouble")))
    for words in (("--debug", "doctor"), ("doctor", "--debug")):
        ended = run(*words)
        assert ended.code == 1
        assert "Traceback" in ended.err


def test_libraries_that_print_do_not_spoil_json(tmp_path: Path) -> None:
    """Python's print, and a native library's write to descriptor 1."""
    code = (
        "import os, sys, seas_export.machine.doctor as d\n"
        "from seas_export.cli import main\n"
        "real = d.diagnose\n"
        "def noisy(folder, quick):\n"
        "    print('from python'); os.write(1, b'from C')\n"
        "    return real(folder, quick=True)\n"
        "d.diagnose = noisy\n"
        "sys.exit(main(['doctor', '--json']))\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=child_environment()
    )
    assert ended.stdout.startswith("{")
    assert ended.stdout.rstrip().endswith("}")
    assert "from" not in ended.stdout.split('"version"')[0]
    assert "from python" in ended.stderr
    assert "from C" in ended.stderr


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "seas_export", "doctor", "--quick"]
    try:
        ended = subprocess.run(
            command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False, env=child_environment()
        )
    finally:
        os.close(writer)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr


def test_a_package_that_is_broken_is_named_with_its_cure(tmp_path: Path) -> None:
    """It is installed, so that no extra brings it."""
    site = tmp_path / "site-packages"
    (site / "onnxruntime").mkdir(parents=True)
    (site / "onnxruntime" / "__init__.py").write_text("raise ImportError('libcudnn.so.9: cannot open')\n")
    code = (
        "import sys, seas_export.machine.doctor as d\n"
        "from seas_export.cli import main\n"
        "def diagnose(folder, quick):\n"
        "    import onnxruntime\n"
        "d.diagnose = diagnose\n"
        "sys.exit(main(['doctor']))\n"
    )
    path = os.pathsep.join([str(site), *(entry for entry in sys.path if entry)])
    ended = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**child_environment(), "PYTHONPATH": path},
    )
    assert ended.returncode == 2
    assert "the package onnxruntime is installed but broken (ImportError: libcudnn.so.9" in ended.stderr
    assert "pip install --force-reinstall --no-deps onnxruntime" in ended.stderr

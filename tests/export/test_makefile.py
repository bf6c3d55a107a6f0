"""`.venv` as it is found: whole, half made, without pip, of a Python that is gone or too old."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed"),
]


def make(folder: Path, python: str = sys.executable) -> subprocess.CompletedProcess[str]:
    """`make environment` in a folder with nothing but the Makefile."""
    shutil.copy(ROOT / "Makefile", folder / "Makefile")
    outer = ("PYTHON", "MAKE")  # these tests may run under `make test`, and in an environment
    environment = {key: value for key, value in os.environ.items() if not key.startswith(outer)}
    return subprocess.run(
        ["make", "--no-print-directory", "environment", f"PYTHON={python}"],
        cwd=folder,
        capture_output=True,
        text=True,
        env=environment,
    )


def has_pip(folder: Path) -> bool:
    command = [str(folder / ".venv/bin/python"), "-m", "pip", "--version"]
    return subprocess.run(command, capture_output=True).returncode == 0


def half_made(folder: Path) -> None:
    """As a Python without its `ensurepip` leaves it: a Python that has no pip and cannot get it."""
    for name in ("bin", "include", "lib"):
        (folder / ".venv" / name).mkdir(parents=True)
    (folder / ".venv/pyvenv.cfg").write_text("home = /nowhere\n")
    (folder / ".venv/.installed").touch()


def gone(folder: Path) -> None:
    half_made(folder)
    (folder / ".venv/bin/python").symlink_to("/usr/bin/python-that-was-replaced")


def empty_folders(folder: Path) -> None:
    (folder / ".venv/bin").mkdir(parents=True)


def too_old(folder: Path) -> None:
    half_made(folder)
    python = folder / ".venv/bin/python"
    python.write_text("#!/bin/sh\ncase $1 in -c) exit 1;; esac\n")
    python.chmod(0o755)


@pytest.mark.parametrize("state", [lambda folder: None, half_made, gone, empty_folders, too_old])
def test_it_is_made_or_made_again(state: object, tmp_path: Path) -> None:
    state(tmp_path)  # type: ignore[operator]
    done = make(tmp_path)
    assert done.returncode == 0, done.stderr
    assert has_pip(tmp_path)
    assert not (tmp_path / ".venv/.installed").exists()


def test_one_without_pip_is_given_it_and_keeps_what_it_holds(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / ".venv")], check=True)
    mine = tmp_path / ".venv/lib/mine.txt"
    mine.write_text("installed by hand")
    assert make(tmp_path).returncode == 0
    assert has_pip(tmp_path)
    assert mine.read_text() == "installed by hand"
    assert make(tmp_path).stdout == ""  # a whole one is left as it is
    assert mine.exists()


def test_a_folder_that_is_none_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv/notes.txt").write_text("mine")
    done = make(tmp_path)
    assert done.returncode != 0
    assert "expected a virtual environment or nothing, found other files" in done.stderr
    assert (tmp_path / ".venv/notes.txt").read_text() == "mine"


def test_a_python_without_venv_is_told_of(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\ncase $2 in venv) mkdir -p .venv/bin; exit 1;; esac\n")
    python.chmod(0o755)
    done = make(tmp_path, str(python))
    assert done.returncode != 0
    assert "python3-venv" in done.stderr
    assert make(tmp_path).returncode == 0


def test_a_python_that_is_too_old_is_told_of(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'Python >= 3.10 is needed' >&2; exit 1\n")
    python.chmod(0o755)
    done = make(tmp_path, str(python))
    assert done.returncode != 0
    assert "Python >= 3.10 is needed" in done.stderr
    assert not (tmp_path / ".venv").exists()

"""Commands without streams, as services start them, and with streams that cannot be written."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from seas_runtime.packages import child_environment

CLOSED = {"no stderr": "2>&-", "no stdout": ">&-", "none of the three": "<&- >&- 2>&-"}


def _shell(words: str, streams: str = "", **options: object) -> subprocess.CompletedProcess[str]:
    """Run `seas-export WORDS` with the streams that a shell's redirections leave."""
    line = f'"{sys.executable}" -m seas_export {words} {streams}'
    return subprocess.run(
        ["/bin/sh", "-c", line],
        env=child_environment(),
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


@pytest.mark.parametrize("streams", CLOSED.values(), ids=CLOSED)
def test_a_command_works_without_streams(streams: str, tmp_path: Path, toy_bundle: Path) -> None:
    """What is written has no word of a library in it: files do not get the descriptors of streams."""
    words = f"generate {toy_bundle} --defect all --count 1 --out {{}}"
    expected, made = tmp_path / "expected", tmp_path / "made"
    assert _shell(words.format(expected)).returncode == 0
    ended = _shell(words.format(made), streams)
    assert ended.returncode == 0
    assert "Traceback" not in ended.stderr

    def pictures(folder: Path) -> dict[str, bytes]:
        return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("0*.png")}

    assert pictures(made) == pictures(expected) != {}


@pytest.mark.parametrize("streams", CLOSED.values(), ids=CLOSED)
def test_a_mistake_keeps_its_code_without_streams(streams: str) -> None:
    ended = _shell("inspect nowhere", streams)
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr + ended.stdout


def test_a_report_without_stdout_does_not_go_elsewhere() -> None:
    ended = _shell("doctor --quick --json", ">&-")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


@pytest.mark.parametrize("streams", ["2>/dev/full", "2</dev/null", "2>&1 >/dev/null | true"])
def test_words_that_cannot_be_written_cost_nothing(streams: str, tmp_path: Path, toy_bundle: Path) -> None:
    """A full disk under a log, a stderr that is only read from, a reader that went away."""
    out = tmp_path / "made"
    bundle = shutil.copytree(toy_bundle, tmp_path / "bundle")  # a backend may keep engines in it
    words = f"generate {bundle} --defect stain --no-gate --count 1 --out {out} --backend auto"
    inner = f'"{sys.executable}" -m seas_export {words}'
    code = tmp_path / "code"
    script = f"({inner}; echo $? > {code}) {streams}"
    subprocess.run(["/bin/sh", "-c", script], env=child_environment(), capture_output=True, check=False)
    assert code.read_text() == "0\n"
    assert (out / "contact_sheet.png").is_file()


@pytest.mark.parametrize("words", ["doctor --quick", "doctor --quick --json"])
def test_a_report_that_cannot_be_written_is_a_failure(words: str) -> None:
    ended = _shell(words, ">/dev/full")
    assert ended.returncode == 1
    assert "its report cannot be written to standard output" in ended.stderr
    assert "unexpected" not in ended.stderr


@pytest.mark.parametrize("words", ["doctor --quick", "doctor --quick --json", "--help", "--version"])
def test_a_reader_that_goes_away_is_silent(words: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "seas_export", *words.split()]
    try:
        ended = subprocess.run(
            command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False, env=child_environment()
        )
    finally:
        os.close(writer)
    assert (ended.returncode, ended.stderr) == (1, "")


@pytest.mark.parametrize("names", [("stderr",), ("stdin", "stdout", "stderr")])
def test_streams_that_are_none_are_as_good(names: tuple[str, ...], toy_bundle: Path, tmp_path: Path) -> None:
    """As under pythonw, where there are none in Python either."""
    code = (
        "import sys\n"
        f"for name in {names!r}: setattr(sys, name, None)\n"
        "from seas_export.cli import main\n"
        f"code = main(['generate', {str(toy_bundle)!r}, '--defect', 'good', '--count', '1', '--no-gate', "
        f"'--out', {str(tmp_path / 'out')!r}])\n"
        "import os; os._exit(code)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], env=child_environment(), check=False, capture_output=True
    )
    assert ended.returncode == 0
    record = json.loads((tmp_path / "out" / "records.jsonl").read_text())
    assert record["accepted"]

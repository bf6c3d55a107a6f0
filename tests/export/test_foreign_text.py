"""Text from files reaches no terminal as it is: escape sequences, C1, directions, lines of its own."""

import json
import logging
import os
import shutil
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import seas_export.machine.doctor
from seas_export.cli import output
from seas_export.progress import build_progress
from seas_export.report.page import page
from seas_runtime.errors import CheckFailed, UserError
from seas_runtime.packages import child_environment
from seas_runtime.printable import printable_values
from tests.export.commands import Ended, Run
from tests.export.test_report import content  # noqa: F401 - a fixture

ESC, C1, RLO, ISOLATE, HIDDEN = "\x1b[2J\x1b]0;owned\x07", "\x9b31m", "\u202e", "\u2066", "\u200b"
FOREIGN = f"x{ESC}{C1}{RLO}gnp{ISOLATE}{HIDDEN}y"
IN_NAMES = f"x{C1}{RLO}gnp{HIDDEN}"  # what a manifest takes as a name
UNSAFE = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}


def assert_harmless(*texts: str) -> None:
    for text in texts:
        found = {character for character in text if unicodedata.category(character) in UNSAFE}
        assert found <= {"\n"}, text


def hostile(toy_bundle: Path, folder: Path, **changes: Any) -> Path:
    """The toy bundle with values in its manifest that a terminal would obey."""
    bundle = Path(shutil.copytree(toy_bundle, folder))
    file = bundle / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest.update(
        product=IN_NAMES,
        prompts={**manifest["prompts"], "good": f"a {FOREIGN}\nSigned by the owner."},
        licences=[{"name": f"MIT{FOREIGN}", "applies_to": f"all\nSigned by the owner.{FOREIGN}"}],
        provenance={f"base{FOREIGN}": f"toy{FOREIGN}", "nested": {f"key{FOREIGN}": f"a\nb{FOREIGN}"}},
        **changes,
    )
    file.write_text(json.dumps(manifest))
    return bundle


def rename_defect(bundle: Path) -> Path:
    """Its defect `stain` called so that a terminal would turn the rest of the line."""
    file = bundle / "manifest.json"
    file.write_text(file.read_text().replace('"stain"', json.dumps(IN_NAMES)))
    return bundle


COMMANDS: dict[str, tuple[object, ...]] = {
    "inspect": ("inspect", "A"),
    "inspect --json": ("inspect", "A", "--json"),
    "diff": ("diff", "TOY", "A"),
    "diff of names": ("diff", "A", "B"),
    "diff --json": ("diff", "A", "TOY", "--json"),
    "verify": ("verify", "A"),
    "verify --json": ("verify", "A", "--json"),
    "generate": ("generate", "A", "--defect", "good", "--count", 1, "--threads", 1, "--out", "OUT"),
    "bench": ("bench", "A", "--batches", 1, "--pairs", 1, "--threads", 1),
    "pack": ("pack", "A", "--out", "OUT.zip"),
    "a defect that is not there": ("generate", "A", "--defect", FOREIGN, "--out", "OUT"),
    "a bundle that is not there": ("inspect", FOREIGN),
    "a hostile option": (f"--{FOREIGN}",),
    "a hostile command": (FOREIGN,),
    "a hostile value": ("generate", "A", "--count", FOREIGN),
    "a hostile backend": ("bench", "A", "--backend", FOREIGN),
    "names that do not fit": ("inspect", "B"),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_passes_on_what_a_terminal_obeys(
    command: str, run: Run, toy_bundle: Path, tmp_path: Path
) -> None:
    bundle = hostile(toy_bundle, tmp_path / "a")
    other = rename_defect(hostile(toy_bundle, tmp_path / "b", tau=0.3))
    places = {
        "A": bundle,
        "B": other,
        "TOY": toy_bundle,
        "OUT": tmp_path / "out",
        "OUT.zip": tmp_path / "o.zip",
    }
    ended = run(*(places.get(str(word), word) for word in COMMANDS[command]))
    assert_harmless(ended.out, ended.err)
    assert ended.out + ended.err
    assert not [line for line in ended.out.splitlines() if line.startswith("Signed")]


@pytest.mark.parametrize("command", ["inspect", "verify"])
def test_file_names_of_a_bundle(command: str, run: Run, toy_bundle: Path, tmp_path: Path) -> None:
    """Beside the listed files, in the manifest, and in the bundle's own path."""
    bundle = hostile(toy_bundle, tmp_path / f"a{IN_NAMES}")
    assert_harmless(*_said(run(command, bundle)))
    (bundle / f"graphs/{FOREIGN}.onnx").write_bytes(b"")
    assert_harmless(*_said(run(command, bundle)))
    text = (bundle / "manifest.json").read_text()
    (bundle / "manifest.json").write_text(
        text.replace("graphs/step.onnx", json.dumps(f"graphs/{IN_NAMES}.onnx").strip('"'))
    )
    assert_harmless(*_said(run(command, bundle)))


def test_a_file_name_that_is_not_unicode(run: Run, toy_bundle: Path, tmp_path: Path) -> None:
    bundle = hostile(toy_bundle, tmp_path / "a")
    try:
        (bundle / os.fsdecode(b"graphs/\xe4\x1b.onnx")).write_bytes(b"")
    except OSError:
        pytest.skip("this file system takes Unicode names only")
    assert_harmless(*_said(run("verify", bundle)))


def test_archives_with_such_names(run: Run, tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(f"bundle/{FOREIGN}", b"x")
        archive.comment = FOREIGN.encode()
    assert_harmless(*_said(run("unpack", tmp_path / "a.zip", "--out", tmp_path / "out")))


def test_products_with_such_names(run: Run, toy_product: Path, tmp_path: Path) -> None:
    product = Path(shutil.copytree(toy_product, tmp_path / f"plate{IN_NAMES}"))
    (product / f"train/good/{IN_NAMES}.png").write_bytes(b"no picture")
    assert_harmless(*_said(run("data", "inspect", product)))
    assert_harmless(*_said(run("build", "--product", product.name, "--data", tmp_path / FOREIGN)))


def test_bases_and_checkpoints_with_such_names(run: Run, toy_product: Path, tmp_path: Path) -> None:
    base = tmp_path / IN_NAMES
    base.mkdir()
    (base / "model_index.json").write_text(json.dumps({"_class_name": FOREIGN}))
    (base / "seas.json").write_text(json.dumps({"schema": FOREIGN}))
    assert_harmless(*_said(run("train", toy_product, "--base", base, "--out", tmp_path / "out")))
    assert_harmless(*_said(run("export", base, "--out", tmp_path / "out")))


@pytest.mark.parametrize(
    "error",
    [
        UserError(FOREIGN),
        CheckFailed(FOREIGN),
        ValueError(FOREIGN),
        ModuleNotFoundError(FOREIGN, name=FOREIGN),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("words", [("doctor",), ("doctor", "--debug")], ids=" ".join)
def test_errors_and_their_tracebacks(
    error: Exception, words: tuple[str, ...], run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diagnose(folder: Path, **options: bool) -> None:
        raise error

    monkeypatch.setattr(seas_export.machine.doctor, "diagnose", diagnose)
    ended = run(*words)
    assert "\\x1b[2J" in ended.err
    assert_harmless(*_said(ended))


def _log(name: str) -> Callable[[], None]:
    return lambda: logging.getLogger(name).warning("%s", FOREIGN)


def _log_error() -> None:
    try:
        raise ValueError(FOREIGN)
    except ValueError:
        logging.getLogger("seas_train").exception("no %s", FOREIGN)


@pytest.mark.parametrize(
    "write",
    [_log("seas_train"), _log("others"), _log_error],
    ids=["ours", "others", "with a traceback"],
)
def test_logs(
    write: Callable[[], None], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those of libraries that bring a handler of their own."""

    def diagnose(folder: Path, **options: bool) -> None:
        handler = logging.StreamHandler()
        logging.getLogger("others").addHandler(handler)
        try:
            write()
        finally:
            logging.getLogger("others").removeHandler(handler)
        raise UserError("the end")

    monkeypatch.setattr(seas_export.machine.doctor, "diagnose", diagnose)
    monkeypatch.setattr(logging.root, "handlers", [])
    from seas_export.cli import main

    main(["doctor"])
    said = capsys.readouterr().err
    assert "\\x1b[2J" in said
    assert_harmless(said)


def test_warnings() -> None:
    code = (
        "import warnings, seas_export.machine.doctor as d\n"
        "from seas_export.cli import main\n"
        f"d.diagnose = lambda folder, **options: warnings.warn({FOREIGN!r}, stacklevel=1)\n"
        "main(['doctor'])\n"
    )
    command = [sys.executable, "-c", code]
    said = subprocess.run(command, capture_output=True, encoding="utf-8", env=child_environment()).stderr
    assert "\\x1b[2J" in said
    assert_harmless(said)


def test_tables_and_lines(capsys: pytest.CaptureFixture[str]) -> None:
    output.say(FOREIGN)
    rows: list[tuple[object, ...]] = [(f"{FOREIGN}\nforged line", FOREIGN)]
    table = output.table(f"a{FOREIGN}", "b", rows=rows, title=FOREIGN)
    output.report({FOREIGN: FOREIGN}, output.group(FOREIGN, table), False)
    output.report({FOREIGN: FOREIGN + "\x7f\udce4"}, "", True)
    said = capsys.readouterr()
    assert_harmless(said.out, said.err)
    assert "\\x1b[2J" in said.err
    assert not [line for line in said.out.splitlines() if line.startswith("forged")]
    assert said.out.count(IN_NAMES) == 0


def test_progress_of_a_graph_with_such_a_name(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "dumb")
    with build_progress() as show:
        show(f"[/]{RLO}step{ESC}", "read", 1, 2)
    assert not {RLO, "\x07"} & set(capsys.readouterr().err)


def test_the_page_holds_no_characters_that_turn_its_text(content: Any) -> None:  # noqa: F811
    import dataclasses

    curve = dataclasses.replace(content.curves[0], name=f"loss{FOREIGN}")
    changed = dataclasses.replace(
        content,
        product=f"plate{FOREIGN}",
        subtitle=FOREIGN,
        notes=(FOREIGN,),
        provenance={f"base{FOREIGN}": {"name": FOREIGN}},
        curves=(curve,),
    )
    text = page(changed)
    assert "platex\\x1b[2J" in text
    assert_harmless(text)


def test_values_are_escaped_however_deep() -> None:
    assert printable_values({"a\x1b": [("b\n", 1, None)]}) == {"a\\x1b": [["b\\x0a", 1, None]]}


def _said(ended: Ended) -> tuple[str, str]:
    assert ended.out + ended.err
    return ended.out, ended.err

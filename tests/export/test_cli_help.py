import resource
import subprocess
import sys
from pathlib import Path

import pytest

from seas_runtime.packages import child_environment
from tests.export.commands import Run

COMMANDS = (
    ("build",),
    ("sample",),
    ("data",),
    ("data", "inspect"),
    ("train",),
    ("distill",),
    ("import-seas",),
    ("base",),
    ("base", "random"),
    ("base", "untrained"),
    ("export",),
    ("generate",),
    ("masks",),
    ("merge",),
    ("campaign",),
    ("inspect",),
    ("verify",),
    ("bench",),
    ("preset",),
    ("diff",),
    ("pack",),
    ("unpack",),
    ("sign",),
    ("wheelhouse",),
    ("engine",),
    ("serve",),
    ("serve", "token"),
    ("doctor",),
    ("prove",),
    ("evaluate",),
)
HEAVY = ("torch", "diffusers", "transformers", "onnx", "onnxruntime", "numpy", "PIL", "yaml", "rich.markdown")


def spent_by(*words: str, compiled: Path) -> float:
    """Return the processor seconds of a Python process, the best of five: other work must not count.

    Modules are compiled once, into the folder `compiled`, as an installation has them: where an
    environment writes no bytecode, compiling all of them is most of what is measured.
    """
    environment = {**child_environment(), "PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(compiled)}
    spent = []
    for _ in range(6):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *words], check=True, capture_output=True, env=environment)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    return min(spent[1:])


def test_help_answers_at_once(tmp_path: Path) -> None:
    """In 0.3 s; on a slower processor in five times what importing the library takes: it is three."""
    library = spent_by("-c", "import typer", compiled=tmp_path)
    assert spent_by("-m", "seas_export", "--help", compiled=tmp_path) < max(0.3, 5 * library)


@pytest.mark.parametrize("command", [(), *COMMANDS], ids=" ".join)
def test_help_imports_nothing_heavy(command: tuple[str, ...]) -> None:
    code = (
        "import sys; from seas_export.cli import main\n"
        f"assert main([*{command!r}, '--help']) == 0\n"
        f"print('loaded:', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=child_environment()
    ).stdout
    assert said.splitlines()[-1] == "loaded: []"


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help(run: Run, command: tuple[str, ...]) -> None:
    ended = run(*command, "--help")
    assert ended.code == 0
    assert f"Usage: seas-export {' '.join(command)}" in ended.out


def test_every_reporting_command_offers_json(run: Run) -> None:
    for command in COMMANDS:
        if command not in (("data",), ("base",), ("serve",)):
            assert "--json" in run(*command, "--help").out, command


def test_the_overview_names_every_command(run: Run) -> None:
    said = run("--help").out
    assert all(f"  {command[0]} " in said for command in COMMANDS)


def test_version_is_the_installed_one(run: Run) -> None:
    from seas_export.version import version

    assert run("--version").out == f"seas-export {version()}\n"


def test_no_command_shows_the_help_and_is_a_mistake(run: Run) -> None:
    ended = run()
    assert ended.code == 2
    assert "Usage: seas-export" in ended.err

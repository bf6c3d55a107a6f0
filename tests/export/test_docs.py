"""What README and docs/ say is what the code does: commands, options, links, configuration."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from torch import nn

from seas_export.cli.app import app
from seas_export.config.build import BuildConfig, load_config
from seas_train.methods.seas.config import TrainConfig

ROOT = Path(__file__).parents[2]
CONFIGURATION = ROOT / "docs" / "configuration.md"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\]\(([^)\s]+)\)")
SHELL = {"|", "&&", "||", ";", ">", ">>", "2>", "#"}
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]


def blocks(page: Path) -> Iterator[str]:
    """The page's code blocks, fenced or indented, without the fences and the indent."""
    text = page.read_text(encoding="utf-8")
    yield from re.findall(r"^```[^\n]*\n(.*?)^```", text, re.M | re.S)
    outside = re.sub(r"^```[^\n]*\n.*?^```", "", text, flags=re.M | re.S)
    for indented in re.findall(r"(?:^ {4}.*\n?)+", outside, re.M):
        yield re.sub(r"^ {4}", "", indented, flags=re.M)


def command_lines(page: Path) -> list[list[str]]:
    """The words of every `seas-export ...` line in the page's code blocks, to the end of the command."""
    lines = []
    for block in blocks(page):
        for line in block.replace("\\\n", " ").splitlines():
            if line.strip().removeprefix("$ ").startswith("seas-export "):
                lines.append(command_words(line.strip().removeprefix("$ ")))
    return lines


def command_words(line: str) -> list[str]:
    """The words after `seas-export`, up to a pipe, a redirection or a comment."""
    words = shlex.split(line)[1:]
    end = next((place for place, word in enumerate(words) if word in SHELL), len(words))
    return words[:end]


def inline_code(page: Path) -> list[str]:
    """The page's `code` within sentences and tables."""
    text = re.sub(r"^```[^\n]*\n.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    prose = re.sub(r"^ {4}.*$", "", text, flags=re.M)
    return [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", prose)]


def find_command(words: list[str]) -> tuple[Any, list[str]]:
    """The command that the words name, and the words after it."""
    command: Any = typer.main.get_command(app)
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        assert words[0] in command.commands, f"no command {words[0]!r}"
        command, words = command.commands[words[0]], words[1:]
    return command, words


def options_of(command: Any) -> set[str]:
    """Every spelling of a command's options."""
    help_names = {"--help", "-h"}
    return help_names.union(*({*option.opts, *option.secondary_opts} for option in command.params))


def all_options(command: Any) -> set[str]:
    """Those of a command and of all commands below it."""
    below = getattr(command, "commands", {}).values()
    return options_of(command).union(*(all_options(entry) for entry in below))


def table_cells(page: Path) -> Iterator[list[str]]:
    """The rows of the page's tables whose first cell is `code`."""
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.startswith("| `"):
            yield [cell.strip() for cell in line.strip("| \n").split(" | ")]


def flat(values: Any, at: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dotted names."""
    if not isinstance(values, dict) or not values:
        return {at: values}
    return {
        name: leaf
        for key, value in values.items()
        for name, leaf in flat(value, f"{at}.{key}" if at else key).items()
    }


class _Base:
    """As much of a base as the defaults depend on: the U-Net's number of parameters."""

    def __init__(self, parameters: int) -> None:
        self.unet = nn.ParameterList([nn.Parameter(nn.Linear(parameters, 1, device="meta").weight)])


SMALL, LARGE = _Base(1000), _Base(860_000_000)


def defaults(base: Any, defects: int) -> dict[str, Any]:
    """A base's training defaults; the seed is left out, as build's own is used."""
    made = TrainConfig.for_base(base, defects).to_dict()
    del made["seed"]
    return made


def yaml_blocks() -> list[str]:
    """The YAML examples of docs/configuration.md; the last one is complete."""
    return re.findall(r"^```yaml\n(.*?)^```", CONFIGURATION.read_text(encoding="utf-8"), re.M | re.S)


def plain(value: Any) -> Any:
    """A YAML value as the configuration holds it: YAML 1.1 reads 4e-6 as text."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_command_line_in_a_code_block_parses(page: Path) -> None:
    for words in command_lines(page):
        command, rest = find_command(words)
        try:
            command.make_context(command.name, list(rest))
        except Exception as error:
            pytest.fail(f"{page.name}: seas-export {' '.join(words)}: {error}")


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_option_named_in_the_text_exists(page: Path) -> None:
    known = all_options(typer.main.get_command(app))
    for code in inline_code(page):
        if code.startswith("seas-export "):
            command, words = find_command(command_words(code))
            unknown = {word.split("=")[0] for word in words if word.startswith("-")} - options_of(command)
            assert not unknown, f"{page.name}: `{code}`: no option {unknown}"
        elif code.startswith("--"):
            assert code.split()[0].split("=")[0] in known, f"{page.name}: `{code}`"


def test_the_checks_above_see_commands() -> None:
    """A page format that the readers miss would pass them empty."""
    seen = {words[0] for page in PAGES for words in command_lines(page)}
    assert {"build", "data", "train", "export", "generate", "bench", "verify", "inspect", "doctor"} <= seen


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        if not re.match(r"[a-z]+:|#", target):
            path = page.parent / target.split("#")[0]
            assert path.exists(), f"{page.name}: {target}"


def test_the_complete_yaml_example_holds_every_default() -> None:
    values = yaml.safe_load(yaml_blocks()[-1])
    expected = {**BuildConfig(product="bottle").to_dict(), "out": None, "train": defaults(SMALL, 3)}
    assert {key: plain(value) for key, value in flat(values).items()} == flat(expected)


def test_every_yaml_block_goes_through_load_config(tmp_path: Path) -> None:
    for number, block in enumerate(yaml_blocks()):
        file = tmp_path / f"{number}.yaml"
        file.write_text(block, encoding="utf-8")
        config = load_config(file, {})
        made = TrainConfig.for_base(SMALL, 3).updated(dict(config.train))  # type: ignore[arg-type]
        for key, value in flat(dict(config.train)).items():
            assert flat(made.to_dict())[key] == plain(value), key


def test_the_tables_of_keys_name_every_default() -> None:
    told = {cells[0].strip("`"): cells for cells in table_cells(CONFIGURATION)}
    build = flat({**BuildConfig(product="bottle").to_dict(), "out": None})
    del build["train"]
    small, large = flat(defaults(SMALL, 1), "train"), flat(defaults(LARGE, 1), "train")
    assert set(told) == {*build, *small}
    for key, value in build.items():
        if key != "product":
            assert _default(told[key][1]) == value, key
    for key in small:
        assert _default(told[key][1]) == small[key], key
        assert _default(told[key][2].removesuffix(" x defects")) == large[key], key


def _default(cell: str) -> Any:
    """A table's cell as a value."""
    return plain(yaml.safe_load(cell.strip("`")))

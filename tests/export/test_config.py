"""Configuration: which layer wins, and what is refused."""

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import pytest

from seas_export.config.build import load_config
from seas_runtime.errors import UserError
from seas_runtime.manifest.fields import is_safe_name
from seas_train.settings import merge, overlay, parse_assignments, read_yaml


class _Colour(str, Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class _Inner:
    rate: float = 0.1
    names: tuple[str, ...] = ()
    pair: tuple[int, int] = (1, 2)


@dataclass(frozen=True)
class _Outer:
    steps: int = 3
    colour: _Colour = _Colour.RED
    place: Path | None = None
    fast: bool = False
    inner: _Inner = field(default_factory=_Inner)

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise UserError(f"steps: expected 1 or more, found {self.steps}")


def test_the_command_line_wins_over_the_file_and_the_file_over_defaults(tmp_path: Path) -> None:
    file = tmp_path / "build.yaml"
    file.write_text(
        "product: bottle\nseed: 3\ngenerate: {pairs: 20, tau: 0.3}\n"
        "train: {finetune: {steps: 5, flip: false}}\n"
    )
    config = load_config(file, {"seed": 4, "generate": {"tau": 0.4}, "train": {"finetune": {"steps": 6}}})
    assert (config.product, config.seed) == ("bottle", 4)
    assert (config.generate.pairs, config.generate.tau, config.generate.batch) == (20, 0.4, 4)
    assert config.train == {"finetune": {"steps": 6, "flip": False}}
    assert config.folder == Path("out/bottle")


def test_values_take_the_field_s_type() -> None:
    values = {
        "colour": "blue",
        "place": "here",
        "fast": True,
        "inner": {"rate": "4e-6", "names": ["a"], "pair": [3, 4]},
    }
    expected = _Outer(3, _Colour.BLUE, Path("here"), True, _Inner(4e-6, ("a",), (3, 4)))
    assert overlay(_Outer(), values, "file.yaml") == expected
    assert overlay(_Outer(place=Path("x")), {"place": None}, "file.yaml").place is None


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"stpes": 1}, ("file.yaml", "'stpes'", "did you mean 'steps'?")),
        ({"inner": {"rates": 1}}, ("'inner.rates'", "did you mean 'rate'?")),
        ({"inner": 5}, ("inner", "a mapping of options", "5")),
        ({"steps": 1.5}, ("steps", "a whole number", "1.5")),
        ({"steps": True}, ("steps", "a whole number", "True")),
        ({"steps": 0}, ("file.yaml: steps: expected 1 or more, found 0",)),
        ({"fast": 1}, ("fast", "true or false", "1")),
        ({"colour": "blu"}, ("colour", "red | blue", "did you mean 'blue'?")),
        ({"place": 3}, ("place", "a path", "3")),
        ({"inner": {"rate": "fast"}}, ("inner.rate", "a number", "'fast'")),
        ({"inner": {"names": "a"}}, ("inner.names", "a list", "'a'")),
        ({"inner": {"names": [1]}}, ("inner.names", "text", "1")),
        ({"inner": {"pair": [1, 2, 3]}}, ("inner.pair", "a list of 2")),
    ],
)
def test_what_does_not_fit_is_refused_by_name(values: dict[str, object], words: tuple[str, ...]) -> None:
    with pytest.raises(UserError) as refused:
        overlay(_Outer(), values, "file.yaml")
    assert all(word in str(refused.value) for word in words), refused.value


@pytest.mark.parametrize(
    ("text", "words"),
    [("a: [", "expected YAML"), ("- a\n", "found list"), ("a: \x00", "expected YAML")],
)
def test_a_file_that_holds_no_options_is_refused(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "build.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=words):
        read_yaml(file)


def test_an_empty_file_says_nothing(tmp_path: Path) -> None:
    file = tmp_path / "build.yaml"
    file.write_text("# nothing yet\n")
    assert read_yaml(file) == {}


def test_assignments_nest() -> None:
    found = parse_assignments(["train.finetune.steps=100", "train.seed=1", "export.precision=fp16"])
    assert found == {"train": {"finetune": {"steps": 100}, "seed": 1}, "export": {"precision": "fp16"}}


def test_merging_keeps_what_is_not_said_again() -> None:
    below = {"a": {"b": 1, "c": 2}, "d": 3}
    assert merge(below, {"a": {"b": 4}, "d": {"e": 5}}) == {"a": {"b": 4, "c": 2}, "d": {"e": 5}}
    assert below == {"a": {"b": 1, "c": 2}, "d": 3}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_file_of_any_unicode_encoding_is_read(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "build.yaml"
    file.write_bytes("product: Gehäuse (links)\r\nseed: 3\r\n".encode(encoding))
    config = load_config(file, {})
    assert (config.product, config.seed) == ("Gehäuse (links)", 3)


def test_a_file_that_is_not_unicode_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "build.yaml"
    file.write_bytes("product: Gehäuse".encode("latin-1"))
    with pytest.raises(UserError, match=r"build\.yaml: expected YAML"):
        load_config(file, {})


@pytest.mark.parametrize("name", ["brake pad", "Gehäuse (links)", "con", "#1", "brake pad/"])
def test_a_product_of_any_name_has_a_folder_that_every_system_takes(name: str) -> None:
    folder = load_config(None, {"product": name}).folder
    assert folder.parent == Path("out")
    assert is_safe_name(folder.name)


@pytest.mark.parametrize("name", ["data/bottle", "/data/bottle", "..", "../bottle", "/"])
def test_a_path_is_no_products_name(name: str) -> None:
    with pytest.raises(UserError, match=r"product: expected the name of a product's folder.*--data"):
        load_config(None, {"product": name})

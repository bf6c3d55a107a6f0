"""What is clutter, and what a terminal must not be given."""

import pytest

from seas_runtime.clutter import is_clutter
from seas_runtime.printable import printable


@pytest.mark.parametrize(
    "name",
    [".DS_Store", "._000.png", "Thumbs.db", "DESKTOP.INI", "lost+found", "@eaDir", ".gitkeep",
     "000.png:Zone.Identifier", ".nfs000000000001", ".Trash-1000", "System Volume Information"],
)  # fmt: skip
def test_clutter_of_systems_and_shares_is_known(name: str) -> None:
    assert is_clutter(name)


@pytest.mark.parametrize(
    "name", ["000.png", "NOTES.txt", "manifest.json", ".hidden-notes", "thumbs", "normal"]
)
def test_a_persons_file_is_no_clutter(name: str) -> None:
    assert not is_clutter(name)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J", "\\x1b[2J"),
        ("a\x9bb", "a\\x9bb"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("Geh\udce4use", "Geh\\xe4use"),
        ("a\nb\r", "a\\x0ab\\x0d"),
        ("Gehäuse (links) 部品 🙂", "Gehäuse (links) 部品 🙂"),
    ],
)
def test_characters_that_a_terminal_obeys_are_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_a_line_break_is_kept_where_it_is_asked_for() -> None:
    assert printable("a\nb\x1b", keep="\n") == "a\nb\\x1b"

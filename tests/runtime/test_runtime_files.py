from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest

from seas_runtime import files
from seas_runtime.errors import UserError
from seas_runtime.outputs.kinds import MARKER, Kind
from seas_runtime.outputs.replacing import replace_directory


def full_disk(_: int) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_atomic_write_makes_folders_and_leaves_no_other_file(tmp_path: Path) -> None:
    files.atomic_write_bytes(tmp_path / "a/b/c.bin", b"\x00\x01")
    assert (tmp_path / "a/b/c.bin").read_bytes() == b"\x00\x01"
    assert [item.name for item in (tmp_path / "a/b").iterdir()] == ["c.bin"]


def test_full_disk_keeps_the_older_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "report.json"
    files.write_json(file, {"a": 1})
    before = file.read_bytes()
    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(UserError, match=r"report\.json: cannot write: the disk is full"):
        files.write_json(file, {"a": 2})
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


def test_write_below_a_file_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(UserError, match="cannot write"):
        files.atomic_write_text(tmp_path / "file/inner.txt", "y")


def test_json_round_trip_keeps_order_and_unicode(tmp_path: Path) -> None:
    value = {"b": [1, 2.5, None], "a": "Kratzer \u00fc", "n": {}}
    files.write_json(tmp_path / "x.json", value)
    assert list(files.read_json(tmp_path / "x.json", "thing").items()) == list(value.items())
    assert (tmp_path / "x.json").read_text().endswith("}\n")


def test_write_json_refuses_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        files.write_json(tmp_path / "x.json", float("nan"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"a": NaN}', "NaN"),
        (b'{"a": -Infinity}', "-Infinity"),
        (b'{"a": 1e999}', "beyond a float's range"),
        (b'{"a": 1, "a": 2}', "'a' twice"),
        (b'{"a": "\\ud800"}', "surrogates"),
        (b"\xff\xfe", "UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a": 1', "is broken"),
        (b"", "is broken"),
        (b"1" * 5000 + b"x", "is broken"),
    ],
)
def test_json_that_is_not_json(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "x.json").write_bytes(data)
    with pytest.raises(UserError, match=message) as error:
        files.read_json(tmp_path / "x.json", "thing")
    assert str(tmp_path / "x.json") in str(error.value)


def test_json_over_the_size_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "JSON_SIZE_LIMIT", 10)
    (tmp_path / "x.json").write_bytes(b'"0123456789"')
    with pytest.raises(UserError, match="too large: expected at most 10 bytes"):
        files.read_json(tmp_path / "x.json", "thing")


def test_missing_json(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no thing there"):
        files.read_json(tmp_path / "x.json", "thing")


def test_sha256_of_more_than_one_block(tmp_path: Path) -> None:
    data = bytes(range(256)) * 5000
    (tmp_path / "x").write_bytes(data)
    assert files.sha256_file(tmp_path / "x") == hashlib.sha256(data).hexdigest()


THING = Kind("a thing", "old", ("old", "new"))


def test_replace_directory_replaces_whole(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "old").write_text("old")
    with replace_directory(target, THING) as fresh:
        (fresh / "new").write_text("new")
        assert (target / "old").exists()
    assert sorted(item.name for item in target.iterdir()) == [MARKER, "new"]
    assert list(tmp_path.iterdir()) == [target]


def test_replace_directory_that_fails_changes_nothing(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "old").write_text("old")

    def fail() -> None:
        with replace_directory(target, THING) as fresh:
            (fresh / "new").write_text("new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert [item.name for item in target.iterdir()] == ["old"]
    assert list(tmp_path.iterdir()) == [target]


def test_replace_directory_reports_a_full_disk(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the disk is full"), replace_directory(tmp_path / "target", THING):
        full_disk(0)
    assert list(tmp_path.iterdir()) == []


def test_replace_directory_restores_what_a_kill_between_the_renames_left(tmp_path: Path) -> None:
    older = tmp_path / f".target.older{files.TEMPORARY_SUFFIX}"
    older.mkdir()
    (older / "old").write_text("old")
    with pytest.raises(RuntimeError), replace_directory(tmp_path / "target", THING):
        raise RuntimeError
    assert (tmp_path / "target/old").read_text() == "old"


def test_replace_directory_refuses_a_file(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("x")
    with (
        pytest.raises(UserError, match="expected a folder or nothing"),
        replace_directory(tmp_path / "target", THING),
    ):
        pass
    assert (tmp_path / "target").read_text() == "x"

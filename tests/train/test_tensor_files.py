"""Pickles of others: tensors are read, nothing is executed."""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from seas_runtime.errors import UserError
from seas_train.bases.tensor_files import read_pickle, read_shapes, write_safetensors


class Bomb:
    """Touches a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.target,)


class Settings:
    """A harmless object, but one that only its own code can make."""


def test_a_state_dict_is_read(tmp_path: Path) -> None:
    state = OrderedDict(a=torch.arange(6.0).view(2, 3), b=torch.ones(1, dtype=torch.float16))
    torch.save(state, tmp_path / "new.bin")
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "training.ckpt")
    torch.save(state, tmp_path / "old.bin", _use_new_zipfile_serialization=False)
    for name in ("new.bin", "training.ckpt", "old.bin"):
        read = read_pickle(tmp_path / name)
        assert set(read) == {"a", "b"}, name
        assert all(torch.equal(read[key], state[key]) for key in state), name


@pytest.mark.parametrize("way", ["plain pickle", "torch.save", "old torch.save", "beside tensors"])
def test_a_file_that_would_execute_something_does_not(tmp_path: Path, way: str) -> None:
    target, file = tmp_path / "executed", tmp_path / "weights.bin"
    if way == "plain pickle":
        file.write_bytes(pickle.dumps(Bomb(target)))
    elif way == "beside tensors":
        torch.save({"a": torch.zeros(1), "callbacks": Bomb(target)}, file)
    else:
        torch.save(Bomb(target), file, _use_new_zipfile_serialization=way == "torch.save")
    with pytest.raises(UserError, match="not executed"):
        read_pickle(file)
    assert not target.exists()
    with file.open("rb") as opened:  # the file is what it claims to be
        if way == "plain pickle":
            pickle.load(opened)
            assert target.exists()


def test_what_a_file_asks_for_is_named(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1), "settings": Settings()}, tmp_path / "w.ckpt")
    with pytest.raises(
        UserError, match=r"w.ckpt: expected tensors alone, but the file asks for .*Settings; it was not"
    ):
        read_pickle(tmp_path / "w.ckpt")


BROKEN = {
    "missing": (lambda file: None, "found nothing"),
    "folder": (lambda file: file.mkdir(), "found a folder"),
    "empty": (lambda file: file.write_bytes(b""), "expected a file that torch.save wrote"),
    "text": (lambda file: file.write_bytes(b"hello there"), "weights.bin"),
    "truncated": (lambda file: _truncated(file), "expected a file that torch.save wrote"),
    "another archive": (lambda file: _archive(file), "expected a file that torch.save wrote"),
    "a list": (lambda file: torch.save([torch.zeros(1)], file), "expected a state dict .* found list"),
    "a tensor": (lambda file: torch.save(torch.zeros(1), file), "expected a state dict .* found Tensor"),
    "nothing in it": (lambda file: torch.save({}, file), "expected a state dict"),
    "numbers in it": (
        lambda file: torch.save({"a": torch.zeros(1), "n": 3}, file),
        "found other values in n",
    ),
}


def _truncated(file: Path) -> None:
    torch.save({"a": torch.zeros(1000)}, file)
    file.write_bytes(file.read_bytes()[:2000])


def _archive(file: Path) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("hello.txt", "hello")


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_refused(tmp_path: Path, name: str) -> None:
    make, expected = BROKEN[name]
    file = tmp_path / "weights.bin"
    make(file)
    with pytest.raises(UserError, match=expected):
        read_pickle(file)


def test_tensors_that_share_memory_are_written_as_they_are(tmp_path: Path) -> None:
    whole = torch.arange(12.0).view(3, 4)
    state = {"whole": whole, "same": whole, "part": whole[1], "turned": whole.T}
    write_safetensors(state, tmp_path / "w.safetensors")
    read = load_file(tmp_path / "w.safetensors")
    assert all(torch.equal(read[name], state[name]) for name in state)
    assert read_shapes(tmp_path / "w.safetensors")["turned"] == (4, 3)


def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"w.safetensors: cannot write: .*TMPDIR"):
        write_safetensors({"a": torch.zeros(1)}, tmp_path / "missing" / "w.safetensors")


def test_a_broken_safetensors_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"\xff" * 100)
    with pytest.raises(UserError, match="found a broken one"):
        read_shapes(tmp_path / "w.safetensors")

"""What a library gets to read of a model's component: a folder of its own, with nothing else in it."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from seas_runtime.files import write_json
from seas_train.bases.configurations import CLASSES, CONFIG_FILES, read_configuration, read_special_tokens
from seas_train.bases.weight_files import STEMS, WEIGHTED, Weights, find_weights
from seas_train.foreign_files import TABLE_LIMIT, check_file, is_missing, tell_outside

_TABLES = ("vocab.json", "merges.txt", "tokenizer.json", "added_tokens.json")
_TOKENS = "special_tokens_map.json"


@contextlib.contextmanager
def staged(name: str, folder: Path, what: str) -> Iterator[Path]:
    """A temporary folder with what a library may read of a component, and nothing else that lies there.

    The configuration is written anew from what was read of it, weights are links under plain names. Pickled
    ones become safetensors first, so that no library but `read_pickle` ever opens a pickle.
    """
    with tempfile.TemporaryDirectory(prefix="seas-export-") as made:
        stage = Path(made)
        config = {**read_configuration(name, folder, what), "_class_name": CLASSES[name]}
        if name == "text_encoder":
            config |= {"architectures": [config.pop("_class_name")], "model_type": "clip_text_model"}
        elif name == "tokenizer":
            config.pop("_class_name")
            _stage_tokens(folder, stage, what)
        write_json(stage / CONFIG_FILES[name], config)
        if name in WEIGHTED:
            _stage_weights(find_weights(name, folder, what, allow_pickle=True), name, stage)
        for file in used_files(name, folder, what):
            tell_outside(file, folder.parent)
        yield stage


def _stage_tokens(folder: Path, stage: Path, what: str) -> None:
    for table in _tables(folder):
        shutil.copyfile(table, stage / table.name)
    if not is_missing(folder / _TOKENS):
        write_json(stage / _TOKENS, read_special_tokens(folder / _TOKENS, what))


def _tables(folder: Path) -> list[Path]:
    """A tokenizer's tables, checked."""
    files = [folder / table for table in _TABLES if not is_missing(folder / table)]
    for file in files:
        check_file(file, "a tokenizer's table", TABLE_LIMIT)
    return files


def _stage_weights(weights: Weights, name: str, stage: Path) -> None:
    from seas_train.bases.tensor_files import read_pickle, write_safetensors

    for target, file in weights.files.items():
        if weights.pickled:
            write_safetensors(read_pickle(file), stage / target)
            continue
        try:
            (stage / target).symlink_to(file.resolve())
        except OSError:  # where the system or its temporary folder has no links
            shutil.copyfile(file, stage / target)
    if weights.shards is not None:
        index = {"metadata": {"total_size": 0}, "weight_map": dict(weights.shards)}
        write_json(stage / f"{STEMS[name][0]}.safetensors.index.json", index)


def used_files(name: str, folder: Path, what: str) -> list[Path]:
    """The files of a component that loading reads, in the order of their names."""
    files = [folder / CONFIG_FILES[name]]
    if name == "tokenizer":
        files += [*_tables(folder), *([folder / _TOKENS] if not is_missing(folder / _TOKENS) else [])]
    if name in WEIGHTED:
        files += find_weights(name, folder, what, allow_pickle=True).read
    return sorted(files)

"""A stage's folder: the run's identity, and its state (weights, optimizer, step), whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from seas_runtime.errors import UserError
from seas_runtime.files import os_errors, read_json, write_json
from seas_runtime.outputs.kinds import MARKER, Kind, remove, some
from seas_runtime.outputs.replacing import replace_directory

RUN_FILE = "run.json"
_NAME = re.compile(r"state-(\d{6,})")
_WEIGHTS, _OPTIMIZER, _AVERAGE, _STATE = (
    "weights.safetensors",
    "optimizer.safetensors",
    "average.safetensors",
    "state.json",
)
STATE = Kind("a training state", _STATE, (_WEIGHTS, _OPTIMIZER, _AVERAGE, _STATE, MARKER))
STAGE: Kind = Kind(
    "a stage of training",
    RUN_FILE,
    (
        RUN_FILE,
        "losses.jsonl",
        "previews/[0-9][0-9][0-9][0-9][0-9][0-9]*.png",
        "tensorboard/events.out.tfevents.*",
        *(f"state-[0-9][0-9][0-9][0-9][0-9][0-9]*/{name}" for name in STATE.patterns),
    ),
    listed=lambda folder: _stage_files(folder),
)


def is_first_process() -> bool:
    """Whether this is the only process, or of accelerate's the one that asks and writes for all."""
    return int(os.environ.get("RANK", "0")) == 0


def _stage_files(folder: Path) -> set[str] | None:
    """What training wrote into a stage's folder."""
    return STAGE.matching(folder) if _is_stage(folder) else None


def _run_files(folder: Path) -> set[str] | None:
    """What training wrote into a run's folder: that of its stages."""
    found: set[str] = set()
    for stage in folder.iterdir():
        if stage.is_dir() and not stage.is_symlink() and _is_stage(stage):
            found.update(f"{stage.name}/{path}" for path in STAGE.matching(stage))
    return found or None


RUN = Kind("a training run", listed=_run_files)


@dataclass(frozen=True)
class State:
    """The state that a stage's next step depends on; random numbers follow from the step."""

    step: int
    """Steps done."""
    weights: Mapping[str, Tensor]
    optimizer: Mapping[str, Any]
    average: Mapping[str, Tensor] | None
    """The moving average of the weights, where there is one."""
    scaler: Mapping[str, Any] | None
    """fp16's loss scale."""
    losses: Mapping[str, float]
    """Means over the last steps."""


class AnotherRun(UserError):
    """States of a stage that are to be continued were made otherwise than is asked for now."""

    def __init__(self, stage: str, message: str) -> None:
        super().__init__(message)
        self.stage = stage


def claim(folder: Path, identity: dict[str, Any], resume: bool) -> None:
    """Make a stage's folder this run's: what an earlier run wrote is removed, or with `resume`
    checked to be of the same `identity`. Other files stay.

    Raises:
        AnotherRun: with `resume`, the folder is of a run with another configuration, seed or data.
        UserError: the folder cannot be written, or is something else.
    """
    run_file = folder / RUN_FILE
    if not resume:
        with os_errors(folder):
            _clear(folder)
    elif run_file.is_file():
        found = read_json(run_file, "training run")
        differing = _differences(identity, found)
        if differing:
            shown = "; ".join(f"{key}: now {new!r}, then {old!r}" for key, new, old in differing[:3])
            raise AnotherRun(
                folder.name,
                f"{folder}: this run was started otherwise ({shown}); "
                "continue it as it was started, choose another folder, or start again without --resume",
            )
        return
    write_json(run_file, identity)


def _is_stage(folder: Path) -> bool:
    """Whether training wrote a folder: its run.json names the stage as the folder."""
    try:
        found = read_json(folder / RUN_FILE, "training run")
    except UserError:
        return False
    return isinstance(found, dict) and found.get("stage") == folder.name and "seed" in found


def _clear(folder: Path) -> None:
    """Remove what an earlier run wrote; UserError where something else is in the way."""
    if _is_stage(folder):
        remove(folder, STAGE.matching(folder))
    taken = sorted(STAGE.matching(folder)) if folder.is_dir() else []
    if taken:
        raise UserError(
            f"{folder}: expected nothing, or a stage of training, found other files: {some(taken)}. "
            "Move them away, or choose another --run"
        )


def _differences(new: Any, old: Any, key: str = "") -> list[tuple[str, Any, Any]]:
    """Where two JSON values differ: (dotted key, new, old)."""
    if isinstance(new, dict) and isinstance(old, dict):
        return [
            difference
            for name in {**new, **old}
            for difference in _differences(new.get(name), old.get(name), f"{key}.{name}" if key else name)
        ]
    return [] if new == old else [(key, new, old)]


def trained_tensors(module: nn.Module) -> dict[str, Tensor]:
    """The tensors that training changes: parameters with gradients, and the buffers of modules that have
    some.

    Buffers count because batch norms keep their statistics there. The tensors are the module's own, not
    copies.
    """
    tensors: dict[str, Tensor] = {}
    for prefix, child in module.named_modules():
        own = {name: p for name, p in child.named_parameters(recurse=False) if p.requires_grad}
        if not own:
            continue
        persistent = {
            name: b
            for name, b in child.named_buffers(recurse=False)
            if name not in child._non_persistent_buffers_set
        }
        for name, tensor in {**own, **persistent}.items():
            tensors[f"{prefix}.{name}" if prefix else name] = tensor.detach()
    return tensors


def load_tensors(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Copy what `trained_tensors` gave back into the module, in place.

    Raises:
        UserError: the tensors are not those of this module.
    """
    own = trained_tensors(module)
    if own.keys() != tensors.keys() or any(own[name].shape != tensors[name].shape for name in own):
        odd = (
            sorted(own.keys() ^ tensors.keys())[:3]
            or [n for n in own if own[n].shape != tensors[n].shape][:3]
        )
        raise UserError(
            f"training state: its weights are not those of this model ({', '.join(odd)}); "
            "start again without --resume"
        )
    with torch.no_grad():
        for name, tensor in own.items():
            tensor.copy_(tensors[name])


def write_state(folder: Path, state: State) -> Path:
    """Write a state beside the last one, and remove that only afterwards.

    Raises:
        UserError: the disk is full or the folder cannot be written; the last state is still there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"state-{state.step:06d}"
    tensors, values = _flatten(state.optimizer)
    with replace_directory(path, STATE) as temporary:
        save_file(_contiguous(state.weights), temporary / _WEIGHTS)
        save_file(tensors, temporary / _OPTIMIZER)
        if state.average is not None:
            save_file(_contiguous(state.average), temporary / _AVERAGE)
        write_json(
            temporary / _STATE,
            {
                "step": state.step,
                "optimizer": values,
                "average": state.average is not None,
                "scaler": None if state.scaler is None else dict(state.scaler),
                "losses": dict(state.losses),
            },
        )
    for other in folder.iterdir():
        if _NAME.fullmatch(other.name) and other != path:
            with contextlib.suppress(OSError):
                remove(other, STATE.matching(other), _STATE)
                other.rmdir()
    return path


def last_state(folder: Path) -> Path | None:
    """The newest complete state of a stage, or None."""
    if not folder.is_dir():
        return None
    found = [path for path in folder.iterdir() if _NAME.fullmatch(path.name) and (path / _STATE).is_file()]
    return max(found, key=lambda path: int(path.name.removeprefix("state-")), default=None)


def read_state(path: Path) -> State:
    """Read what `write_state` wrote, onto the CPU.

    Raises:
        UserError: a file of it is missing or broken.
    """
    values = read_json(path / _STATE, "training state")
    try:
        return State(
            step=int(values["step"]),
            weights=load_file(path / _WEIGHTS),
            optimizer=_unflatten(load_file(path / _OPTIMIZER), values["optimizer"]),
            average=load_file(path / _AVERAGE) if values["average"] else None,
            scaler=values["scaler"],
            losses=values["losses"],
        )
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path}: the training state is broken ({error}); start again without --resume"
        ) from error


def _contiguous(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    # clone: safetensors refuses tensors that share memory, and channels-last ones are not contiguous.
    return {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }


def _flatten(optimizer: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """An optimizer's state dict as named tensors and JSON values."""
    tensors: dict[str, Tensor] = {}
    values: dict[str, dict[str, Any]] = {}
    for index, entries in optimizer["state"].items():
        for name, entry in entries.items():
            if isinstance(entry, Tensor):
                tensors[f"{index}/{name}"] = entry
            else:
                values.setdefault(str(index), {})[name] = entry
    groups = json.loads(json.dumps(optimizer["param_groups"]))
    return _contiguous(tensors), {"values": values, "param_groups": groups}


def _unflatten(tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> dict[str, Any]:
    state: dict[int, dict[str, Any]] = {
        int(index): dict(entries) for index, entries in values["values"].items()
    }
    for key, tensor in tensors.items():
        index, name = key.split("/", 1)
        state.setdefault(int(index), {})[name] = tensor
    return {"state": state, "param_groups": values["param_groups"]}


def match_memory(optimizer: torch.optim.Optimizer) -> None:
    """Lay out an optimizer's tensors in memory as their parameters are.

    They were saved contiguous; a fused optimizer walks parameter and state side by side, and would pair the
    wrong numbers of a channels-last convolution.
    """
    for parameter, entries in optimizer.state.items():
        for name, value in entries.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                entries[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)

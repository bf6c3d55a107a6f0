"""The task that every contestant is given, and what it hands back. Peers import it: it needs numpy alone."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

TASK = "task"


@dataclass(frozen=True, eq=False)
class Task:
    """Pairs of one request."""

    checkpoint: str
    """Folder of the PyTorch models."""
    bundle: str
    """Folder of ours."""
    plain: str | None
    """Folder in optimum's layout; None where no peer is asked for."""
    defect: str
    """Which one."""
    seed: int
    """Of the request; pair i of it is the same everywhere."""
    batch: int
    """Pairs made together."""
    pairs: int
    """How many are timed, after `warm_up` more that are not."""
    warm_up: int
    """Pairs made before the clock runs."""
    sampler: str
    """Of ours; the others' is DPM-Solver++ 2M."""
    steps: int
    """Of the sampler."""
    guidance: float
    """Of the prompt."""
    mask_steps: int
    """Final steps that give a mask."""
    threads: int
    """Of the processor."""
    device: str
    """PyTorch's name of the device for what runs there."""
    scheduler: dict[str, Any]
    """Diffusers' configuration of the sampler."""
    starts: npt.NDArray[np.float32]
    """[pairs + warm_up, C, h, w] f32: the scaled latents that each pair starts from."""
    context: npt.NDArray[np.float32]
    """[L, D] f32, the prompt's."""
    negative: npt.NDArray[np.float32]
    """[L, D] f32, the empty prompt's."""

    def write(self, folder: Path) -> None:
        """Write task.json and task.npz."""
        values = {key: value for key, value in vars(self).items() if not isinstance(value, np.ndarray)}
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{TASK}.json").write_text(json.dumps(values, indent=2), encoding="utf-8")
        np.savez(folder / f"{TASK}.npz", starts=self.starts, context=self.context, negative=self.negative)

    @classmethod
    def read(cls, folder: Path) -> Task:
        """Read what `write` wrote."""
        values = json.loads((folder / f"{TASK}.json").read_text(encoding="utf-8"))
        with np.load(folder / f"{TASK}.npz") as arrays:
            return cls(**values, **{name: arrays[name] for name in arrays.files})


@dataclass(frozen=True, eq=False)
class Outcome:
    """What a contestant did."""

    seconds: list[float]
    """A pair's share of its batch, pair by pair, without warm-up."""
    processor_seconds: list[float]
    """The same of all threads together, which tells a machine that was busy otherwise."""
    load_seconds: float
    """From the start of the process's imports to models that are ready."""
    warm_up_seconds: float
    """Of the warm-up, compilation with it."""
    images: npt.NDArray[np.uint8]
    """Uint8 [pairs, H, W, 3]."""
    probabilities: npt.NDArray[np.float32] | None
    """Float32 [pairs, H, W]; None of a peer that makes no masks."""
    parts: dict[str, float] = field(default_factory=dict)
    """Mean seconds per pair of the parts that the contestant tells apart."""
    packages: dict[str, str] = field(default_factory=dict)
    """Versions of what ran."""
    notes: list[str] = field(default_factory=list)
    """What a reader has to know beside the figures."""
    precision: str = ""
    """That it computed in; empty where its name says it."""
    device_gib: float | None = None
    """The GPU's memory in use at the end, by everything on it; None without a GPU."""

    def write(self, folder: Path, name: str) -> None:
        """Write NAME.json and NAME.npz."""
        arrays = {"images": self.images}
        if self.probabilities is not None:
            arrays["probabilities"] = self.probabilities
        np.savez_compressed(folder / f"{name}.npz", **arrays)  # type: ignore[arg-type]
        kept = {key: value for key, value in asdict(self).items() if key not in ("images", "probabilities")}
        (folder / f"{name}.json").write_text(json.dumps(kept, indent=2), encoding="utf-8")

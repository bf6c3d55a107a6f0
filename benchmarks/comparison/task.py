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
    """Pairs of one request.

    Attributes:
        checkpoint: folder of the PyTorch models.
        bundle: folder of ours.
        plain: folder in optimum's layout; None where no peer is asked for.
        defect: which one.
        seed: of the request; pair i of it is the same everywhere.
        batch: pairs made together.
        pairs: how many are timed, after `warm_up` more that are not.
        warm_up: pairs made before the clock runs.
        steps: of DPM-Solver++ 2M.
        guidance: of the prompt.
        mask_steps: final steps that give a mask.
        threads: of the processor.
        device: PyTorch's name of the device for what runs there.
        scheduler: diffusers' configuration of the sampler.
        starts: [pairs + warm_up, C, h, w] f32: the scaled latents that each pair starts from.
        context: [L, D] f32, the prompt's.
        negative: [L, D] f32, the empty prompt's.
    """

    checkpoint: str
    bundle: str
    plain: str | None
    defect: str
    seed: int
    batch: int
    pairs: int
    warm_up: int
    steps: int
    guidance: float
    mask_steps: int
    threads: int
    device: str
    scheduler: dict[str, Any]
    starts: npt.NDArray[np.float32]
    context: npt.NDArray[np.float32]
    negative: npt.NDArray[np.float32]

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
    """What a contestant did.

    Attributes:
        seconds: a pair's share of its batch, pair by pair, without warm-up.
        processor_seconds: the same of all threads together, which tells a machine that was busy otherwise.
        load_seconds: from the start of the process's imports to models that are ready.
        warm_up_seconds: of the warm-up, compilation with it.
        images: uint8 [pairs, H, W, 3].
        probabilities: float32 [pairs, H, W]; None of a peer that makes no masks.
        parts: mean seconds per pair of the parts that the contestant tells apart.
        packages: versions of what ran.
        precision: that it computed in; empty where its name says it.
        device_gib: the GPU's memory in use at the end, by everything on it; None without a GPU.
        notes: what a reader has to know beside the figures.
    """

    seconds: list[float]
    processor_seconds: list[float]
    load_seconds: float
    warm_up_seconds: float
    images: npt.NDArray[np.uint8]
    probabilities: npt.NDArray[np.float32] | None
    parts: dict[str, float] = field(default_factory=dict)
    packages: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    precision: str = ""
    device_gib: float | None = None

    def write(self, folder: Path, name: str) -> None:
        """Write NAME.json and NAME.npz."""
        arrays = {"images": self.images}
        if self.probabilities is not None:
            arrays["probabilities"] = self.probabilities
        np.savez_compressed(folder / f"{name}.npz", **arrays)  # type: ignore[arg-type]
        kept = {key: value for key, value in asdict(self).items() if key not in ("images", "probabilities")}
        (folder / f"{name}.json").write_text(json.dumps(kept, indent=2), encoding="utf-8")

"""A stage's log: losses.jsonl, TensorBoard, preview sheets, and a progress bar."""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from seas_runtime.files import atomic_write_bytes, os_errors
from seas_runtime.packages import broken, broken_import

LOSSES_FILE = "losses.jsonl"
AVERAGED_STEPS = 50
"""Losses are shown, and recorded as final, as means over this many steps: a single step's says little."""

logger = logging.getLogger(__name__)


class TrainingLog:
    """Writes a stage's records under its folder; a context manager around the loop."""

    def __init__(self, folder: Path, stage: str, *, start: int, steps: int, progress: bool) -> None:
        self._folder = folder
        self._stage = stage
        self._steps = steps
        self._recent: deque[Mapping[str, float]] = deque(maxlen=AVERAGED_STEPS)
        self._file = folder / LOSSES_FILE
        with os_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        self._truncate(start)
        self._handle = self._file.open("a", encoding="utf-8")
        self._board = _Board(folder / "tensorboard", start)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("{task.fields[losses]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            disable=not progress,
        )
        self._task = self._progress.add_task(stage, total=steps, completed=start, losses="")

    def __enter__(self) -> TrainingLog:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
        self._handle.close()
        self._board.close()

    @property
    def averages(self) -> dict[str, float]:
        """Means of the losses of the last steps."""
        if not self._recent:
            return {}
        return {name: float(np.mean([losses[name] for losses in self._recent])) for name in self._recent[-1]}

    def step(self, step: int, losses: Mapping[str, float], learning_rate: float) -> None:
        """Record the losses of step `step` (1..steps)."""
        self._recent.append(losses)
        record = {"step": step, **losses, "learning_rate": learning_rate}
        with os_errors(self._file):
            self._handle.write(json.dumps(record) + "\n")
            self._handle.flush()
        for name, value in {**losses, "learning_rate": learning_rate}.items():
            self._board.add(f"{self._stage}/{name}", value, step)
        shown = "  ".join(f"{name} {value:.4f}" for name, value in self.averages.items())
        self._progress.update(self._task, completed=step, losses=shown)
        if self._progress.disable and (step % max(1, self._steps // 10) == 0 or step == self._steps):
            logger.info("%s: step %d of %d: %s", self._stage, step, self._steps, shown)

    def preview(self, step: int, sheet: NDArray[np.uint8]) -> Path:
        """Write a preview sheet [H, W, 3]."""
        import io

        data = io.BytesIO()
        Image.fromarray(sheet).save(data, format="PNG")
        path = self._folder / "previews" / f"{step:06d}.png"
        atomic_write_bytes(path, data.getvalue())
        return path

    def _truncate(self, start: int) -> None:
        """Drop what was recorded after the state that training continues from."""
        kept: list[str] = []
        if self._file.is_file():
            for line in self._file.read_text(encoding="utf-8").splitlines():
                try:
                    record = json.loads(line)
                except ValueError:
                    break  # killed while it was written
                if record["step"] > start:
                    break
                kept.append(line)
                self._recent.append({k: v for k, v in record.items() if k not in ("step", "learning_rate")})
        atomic_write_bytes(self._file, "".join(f"{line}\n" for line in kept).encode())


class _Board:
    """TensorBoard's log, where tensorboard is installed and works; training never depends on it."""

    def __init__(self, folder: Path, start: int) -> None:
        self._writer: Any = None
        self._do(lambda: self._open(folder, start))

    def add(self, name: str, value: float, step: int) -> None:
        """Record one value."""
        if self._writer is not None:
            self._do(lambda: self._writer.add_scalar(name, value, step))

    def close(self) -> None:
        """Write what is left."""
        if self._writer is not None:
            self._do(lambda: self._writer.close())

    def _open(self, folder: Path, start: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder), purge_step=start + 1)

    def _do(self, action: Callable[[], object]) -> None:
        """Do something with the writer, or go on without it from now on."""
        try:
            action()
        except ModuleNotFoundError as error:
            self._writer = None
            if (error.name or "").partition(".")[0] == "tensorboard":
                logger.warning("tensorboard is not installed: losses go to %s alone", LOSSES_FILE)
            else:
                self._broken(error)
        except Exception as error:  # a broken installation, or a full disk, raises anything
            self._writer = None
            self._broken(error)

    def _broken(self, error: Exception) -> None:
        words = broken_import(error) or broken("tensorboard", error)
        logger.warning("%s; losses go to %s alone", words, LOSSES_FILE)

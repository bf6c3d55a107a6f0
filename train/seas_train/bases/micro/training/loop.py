"""The training loop under both of `micro`'s trainings: budgeted, averaged, and safe to kill at any time.

What a step sees follows from (seed, step) alone, so a run that was killed and resumed takes the same steps as
one that was not. With a budget of steps the result is the same to the bit; with a budget of minutes the
learning rate follows the clock, whose reading is saved with the state.
"""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from seas_runtime.files import write_json
from seas_train.bases.micro.training.workers import average_over_workers, barrier, rank

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Budget:
    """Length of a training: wall-clock minutes over all runs together, or steps. Exactly one is set."""

    minutes: float | None = None
    steps: int | None = None

    def __post_init__(self) -> None:
        if (self.minutes is None) == (self.steps is None):
            raise ValueError("a budget is either minutes or steps")

    def progress(self, minutes: float, steps: int) -> float:
        """Share of the budget that is used, 0..1."""
        used = minutes / self.minutes if self.minutes is not None else steps / max(1, self.steps or 0)
        return min(1.0, used)


@dataclass(frozen=True)
class Optimisation:
    """AdamW: warm-up, a constant rate, then a cosine to 0 over the last `decay_share` of the budget."""

    learning_rate: float = 4e-4
    warmup_steps: int = 200
    decay_share: float = 0.3
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.99)
    gradient_norm: float = 1.0
    average_decay: float = 0.999
    save_every_minutes: float = 5.0
    seed: int = 0

    def rate(self, step: int, progress: float) -> float:
        """Learning rate of a step."""
        warmup = min(1.0, (step + 1) / self.warmup_steps)
        decay = max(0.0, progress - (1 - self.decay_share)) / self.decay_share
        return self.learning_rate * warmup * 0.5 * (1 + math.cos(math.pi * decay))


Loss = Callable[[int, float, torch.Generator], torch.Tensor]
"""(step, progress 0..1, generator of that step) -> loss to minimise, a scalar."""


class Trainer:
    """Trains modules to a budget, keeps the state on disk, and averages the weights exponentially."""

    def __init__(
        self, modules: dict[str, nn.Module], folder: Path, optimisation: Optimisation, budget: Budget
    ) -> None:
        """Take up the run in `folder` where it was left, or begin one there."""
        self.modules = nn.ModuleDict(modules)
        self.folder, self.optimisation, self.budget = folder, optimisation, budget
        self.parameters = [p for p in self.modules.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.parameters,
            lr=optimisation.learning_rate,
            betas=optimisation.betas,
            weight_decay=optimisation.weight_decay,
            fused=True,
        )
        self.average = [p.detach().clone() for p in self.parameters]
        self.step, self.minutes, self._clock = 0, 0.0, 0.0
        self.losses: list[tuple[int, float, float]] = []  # step, minutes, mean loss since the line before
        folder.mkdir(parents=True, exist_ok=True)
        self._resume()

    @property
    def progress(self) -> float:
        """Share of the budget that is used, 0..1."""
        return self.budget.progress(self.minutes, self.step)

    def train(self, loss: Loss, on_save: Callable[["Trainer"], None] | None = None) -> None:
        """Step until the budget is spent, saving every few minutes and at the end.

        `on_save` is called after each save, with the averaged weights in the modules while it runs.
        """
        self._clock, saved = time.monotonic(), self.minutes
        total, count = 0.0, 0
        while self.progress < 1:
            value = self._take_step(loss)
            total, count = total + value, count + 1
            if self.step % 50 == 0 or self.progress >= 1:
                self.losses.append((self.step, round(self.minutes, 3), total / count))
                if rank() == 0:
                    logger.info("step %d, %.1f min, loss %.4f", self.step, self.minutes, total / count)
                total, count = 0.0, 0
            if self.minutes - saved >= self.optimisation.save_every_minutes or self.progress >= 1:
                saved = self.minutes
                if rank() == 0:
                    self.save()
                    if on_save is not None:
                        self.with_average(lambda: on_save(self))
                barrier()

    def _take_step(self, loss: Loss) -> float:
        """Take one step, read the clock, and return the loss."""
        settings = self.optimisation
        rate = settings.rate(self.step, self.progress)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        generator = torch.Generator().manual_seed((settings.seed * 1_000_003 + self.step) * 64 + rank())
        value = loss(self.step, self.progress, generator)
        value.backward()  # type: ignore[no-untyped-call]
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        # The clock is averaged too: all workers must agree on when the budget is spent.
        now = time.monotonic()
        elapsed, self._clock = now - self._clock, now
        mean, elapsed = average_over_workers(gradients, [float(value.detach()), elapsed])
        self.minutes += elapsed / 60
        nn.utils.clip_grad_norm_(self.parameters, settings.gradient_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        decay = min(settings.average_decay, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(self.average, [p.detach() for p in self.parameters], 1 - decay)
        self.step += 1
        return mean

    def with_average(self, work: Callable[[], None]) -> None:
        """Run `work` while the modules hold the averaged weights, in evaluation mode, without gradients."""
        mine = [p.detach().clone() for p in self.parameters]
        self._fill(self.average)
        self.modules.eval()
        try:
            with torch.no_grad():
                work()
        finally:
            self._fill(mine)
            self.modules.train()

    def _fill(self, values: list[torch.Tensor]) -> None:
        with torch.no_grad():
            for parameter, value in zip(self.parameters, values, strict=True):
                parameter.copy_(value)

    def save(self) -> None:
        """Write the whole state and the log, each beside and renamed into place."""
        state: dict[str, Any] = {
            "parameters": [p.detach() for p in self.parameters],
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "minutes": self.minutes,
            "losses": self.losses,
        }
        beside = self.folder / "state.pt.new"
        torch.save(state, beside)
        beside.replace(self.folder / "state.pt")
        write_json(self.folder / "log.json", self.log())

    def log(self) -> dict[str, Any]:
        """Steps, minutes and losses so far, for the model card."""
        return {
            "steps": self.step,
            "minutes": round(self.minutes, 2),
            "optimisation": asdict(self.optimisation),
            "losses": [list(line) for line in self.losses],
        }

    def _resume(self) -> None:
        path = self.folder / "state.pt"
        if not path.exists():
            return
        state = torch.load(path, weights_only=True)
        self._fill(state["parameters"])
        self.average = state["average"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.minutes = state["step"], state["minutes"]
        self.losses = [(int(a), float(b), float(c)) for a, b, c in state["losses"]]
        logger.info("resumed %s at step %d, %.1f min", self.folder, self.step, self.minutes)

"""The training loop: runs a stage so that it can be killed at any moment and end with the same weights."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from seas_runtime.errors import CheckFailed, UserError
from seas_train.training.allocator import keep_where_small
from seas_train.training.log import TrainingLog
from seas_train.training.optimizer import learning_rate_share, make_optimizer, set_learning_rate
from seas_train.training.precision import Precision
from seas_train.training.random import step_random
from seas_train.training.stage import Batch, LoopConfig, Stage
from seas_train.training.state import (
    State,
    claim,
    last_state,
    load_tensors,
    match_memory,
    read_state,
    trained_tensors,
    write_state,
)

_AVERAGE_EVERY = 5
"""Steps between updates of the moving average: at each one it took a thirtieth of a step of `micro`."""
logger = logging.getLogger(__name__)


def make_accelerator(precision: Precision) -> Any:
    """accelerate's Accelerator: the device, the precision, and the other processes if there are any."""
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state()  # it is one per process, and would hold on to an earlier run's precision
    return Accelerator(mixed_precision="no" if precision is Precision.FP32 else precision.value)


def run_training(
    stage: Stage, run_dir: Path, config: LoopConfig, *, resume: bool = False, progress: bool = True
) -> dict[str, float]:
    """Run a stage to its end; afterwards `stage.module` holds its final weights, on the CPU and in evaluation
    mode.

    Everything is kept under `run_dir / stage.name`. With `resume` the last state there is continued, or, if
    it is of the last step, loaded; without, the folder is emptied first.

    Returns:
        The final losses: means over the last 50 steps.

    Raises:
        AnotherRun: with `resume`, the folder is of a run with another configuration, seed or data.
        UserError: the folder cannot be written.
        CheckFailed: a loss or gradient is not finite; names the step and the photographs.
    """
    folder = run_dir / stage.name
    accelerator = make_accelerator(config.precision)
    parts = stage.optimizer.gradient_accumulation
    if parts % accelerator.num_processes:
        raise UserError(
            f"{stage.name}.optimizer.gradient_accumulation: expected a multiple of the "
            f"{accelerator.num_processes} processes, which share a step's batches; found {parts}"
        )
    if accelerator.is_main_process:
        claim(folder, _identity(stage, config), resume)
    accelerator.wait_for_everyone()
    run = _Run(stage, folder, config, accelerator)
    return run.to_end(progress=progress and accelerator.is_main_process)


def _identity(stage: Stage, config: LoopConfig) -> dict[str, Any]:
    loop = {
        "stage": stage.name,
        "steps": stage.steps,
        "seed": config.seed,
        "precision": config.precision.value,
    }
    return loop | stage.identity()


class _Run:
    """A stage being trained."""

    def __init__(self, stage: Stage, folder: Path, config: LoopConfig, accelerator: Any) -> None:
        self.stage = stage
        self.folder = folder
        self.config = config
        self.accelerator = accelerator
        self.average: dict[str, Tensor] | None = None
        self.step = 0
        self.restored: dict[str, float] = {}

    def to_end(self, *, progress: bool) -> dict[str, float]:
        path = last_state(self.folder)
        if path is not None and (state := read_state(path)).step == self.stage.steps:
            load_tensors(self.stage.module, state.weights if state.average is None else state.average)
            self.stage.module.eval()
            return dict(state.losses)
        self.stage.prepare(self.accelerator.device, progress=progress)
        optimizer = make_optimizer(self.stage.optimizer, self.stage.parameter_groups())
        model, optimizer = self.accelerator.prepare(self.stage.module, optimizer)
        trained = sum(parameter.numel() for parameter in self._trained_parameters())
        keep_where_small(self.accelerator.device.type, trained)
        if self.stage.optimizer.ema > 0:
            self.average = {
                name: tensor.clone() for name, tensor in trained_tensors(self.stage.module).items()
            }
        if path is not None:
            self._restore(read_state(path), optimizer)
        if self.average is not None:
            self.stage.follow(self.average)
        losses = self._train(model, optimizer, progress)
        if self.average is not None:
            load_tensors(self.stage.module, self.average)
        self.stage.module.to("cpu").eval()
        return losses

    def _train(self, model: nn.Module, optimizer: Any, progress: bool) -> dict[str, float]:
        if not self.accelerator.is_main_process:
            while self.step < self.stage.steps:
                self.step += 1
                self._one_step(model, optimizer)
                self._wait_for_save()
            return {}
        start, steps = self.step, self.stage.steps
        with TrainingLog(self.folder, self.stage.name, start=start, steps=steps, progress=progress) as log:
            while self.step < steps:
                self.step += 1
                losses = self._one_step(model, optimizer)
                log.step(self.step, losses, optimizer.param_groups[0]["lr"])
                if self._is_due(self.config.save_every):
                    self._save(optimizer, log.averages)
                    self._wait_for_save()
                if self.config.preview_every and self._is_due(self.config.preview_every):
                    self._preview(log)
            return log.averages

    def _is_due(self, every: int) -> bool:
        return self.step % every == 0 or self.step == self.stage.steps

    def _wait_for_save(self) -> None:
        if self._is_due(self.config.save_every):
            self.accelerator.wait_for_everyone()

    def _one_step(self, model: nn.Module, optimizer: Any) -> dict[str, float]:
        settings = self.stage.optimizer
        set_learning_rate(optimizer, learning_rate_share(settings, self.step, self.stage.steps))
        model.train()
        parts, world = settings.gradient_accumulation, self.accelerator.num_processes
        own = range(self.accelerator.process_index, parts, world)  # of the batches that a step sums up
        sums: dict[str, float] = {}
        files: list[str] = []
        for part in own:
            random = step_random(self.config.seed, self.stage.name, self.step, part)
            torch.manual_seed(int(random.numpy.integers(2**62)))
            batch = self.stage.draw(random)
            files += batch.files
            last = part == own[-1]
            with (
                contextlib.nullcontext() if last else self.accelerator.no_sync(model),
                self.accelerator.autocast(),
            ):
                losses = self.stage.losses(model, self._on_device(batch))
            self._check_finite(losses, batch)
            self.accelerator.backward(losses["loss"] / len(own))  # processes' gradients are averaged
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.0) + float(value.detach()) / len(own)
        if world > 1:
            sums = self._mean_of_processes(sums)
        if settings.gradient_clip > 0:
            norm = self.accelerator.clip_grad_norm_(self._trained_parameters(), settings.gradient_clip)
            if norm is not None and not math.isfinite(float(norm)) and self.accelerator.scaler is None:
                raise CheckFailed(self._failure("gradient", f"norm {float(norm)}", files))
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if self.average is not None:
            self._update_average()
        return sums

    def _mean_of_processes(self, values: dict[str, float]) -> dict[str, float]:
        numbers = torch.tensor(list(values.values()), dtype=torch.float32, device=self.accelerator.device)
        means = self.accelerator.reduce(numbers, reduction="mean")
        return dict(zip(values, means.tolist(), strict=True))

    def _trained_parameters(self) -> list[nn.Parameter]:
        return [parameter for parameter in self.stage.module.parameters() if parameter.requires_grad]

    def _on_device(self, batch: Batch) -> dict[str, Tensor]:
        return {name: tensor.to(self.accelerator.device) for name, tensor in batch.tensors.items()}

    def _check_finite(self, losses: dict[str, Tensor], batch: Batch) -> None:
        if not math.isfinite(float(losses["loss"].detach())):
            shown = ", ".join(f"{name} {float(value.detach())}" for name, value in losses.items())
            raise CheckFailed(self._failure("loss", shown, list(batch.files)))

    def _failure(self, what: str, values: str, files: list[str]) -> str:
        return (
            f"{self.stage.name}: the {what} of step {self.step} is not finite ({values}); the batch was "
            f"{', '.join(files)}. Look at these photographs, or lower the learning rate; "
            "the last state before it is kept"
        )

    def _update_average(self) -> None:
        assert self.average is not None
        if self.step % _AVERAGE_EVERY and self.step != self.stage.steps:
            return
        # Young averages follow faster, so that the first weights are soon forgotten (as in diffusers'
        # EMAModel). What went by since the last time counts as steps at these weights.
        steps = (self.step - 1) % _AVERAGE_EVERY + 1
        decay = min(self.stage.optimizer.ema, self.step / (self.step + 10)) ** steps
        with torch.no_grad():
            for name, tensor in trained_tensors(self.stage.module).items():
                if tensor.is_floating_point():
                    self.average[name].lerp_(tensor, 1 - decay)
                else:
                    self.average[name].copy_(tensor)

    def _save(self, optimizer: Any, losses: dict[str, float]) -> None:
        scaler = self.accelerator.scaler
        state = State(
            step=self.step,
            weights=trained_tensors(self.stage.module),
            optimizer=optimizer.state_dict(),
            average=self.average,
            scaler=None if scaler is None else scaler.state_dict(),
            losses=losses,
        )
        write_state(self.folder, state)

    def _restore(self, state: State, optimizer: Any) -> None:
        load_tensors(self.stage.module, state.weights)
        optimizer.load_state_dict(state.optimizer)
        match_memory(optimizer)
        if self.average is not None and state.average is not None:
            for name, tensor in state.average.items():  # in its place: memory's layout decides the last bits
                self.average[name].copy_(tensor)
        if state.scaler is not None and self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(dict(state.scaler))
        self.step = state.step
        logger.info("%s: continuing after step %d", self.stage.name, state.step)

    def _preview(self, log: TrainingLog) -> None:
        self.stage.module.eval()
        with self._averaged(), torch.no_grad():
            sheet = self.stage.preview()
        if sheet is not None:
            log.preview(self.step, sheet)

    @contextlib.contextmanager
    def _averaged(self) -> Iterator[None]:
        """With the averaged weights in the module, where there is an average."""
        if self.average is None:
            yield
            return
        own = {name: tensor.clone() for name, tensor in trained_tensors(self.stage.module).items()}
        load_tensors(self.stage.module, self.average)
        try:
            yield
        finally:
            load_tensors(self.stage.module, own)

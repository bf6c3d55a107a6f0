"""The authors' loop in PyTorch: what the runtime's pairs are compared with, in values and in speed.

Everything is diffusers' own: the U-Net's and the VAE's forward (taps are read by hooks), the scheduler
object, and one whole VAE decode in each of the final steps and one for the image. Noise and reference are the
runtime's choice, so that a pair of the same seed and index is the same pair.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from seas_export.methods.contract import ReferencePair
from seas_runtime.errors import UserError
from seas_runtime.manifest.types import GOOD, SCHEMA
from seas_runtime.methods.noise import PairNoise, Stream
from seas_runtime.methods.request import PlacedInputs
from seas_runtime.methods.seas import MASK_STEPS, START_TIMESTEPS, choose_reference, defective, follows

if TYPE_CHECKING:
    from torch import Tensor

    from seas_train import Checkpoint


class ReferenceLoop:
    """Generates pairs from a checkpoint with PyTorch, by default in float32 on the CPU.

    Args:
        checkpoint: or its folder; one that is given is moved to the device and the precision.
        steps: of the sampler.
        sampler: one of the schedules'.
        mask_steps: the final steps that give a mask.
        device: PyTorch's name of one.
        dtype: PyTorch's name of the precision of weights and activations; latents stay in float32.
        compiled: whether `torch.compile` compiles the U-Net and the VAE's decoder.
        schema: of the bundle whose noise is drawn.
        rescale: guidance rescale's phi.
        add_noise_step: steps that the schedule is stretched to for the start; None for the authors'.
        fresh_blend: whether a background is noised anew in each step.
        strength: of pairs that are drawn into a background: which part of the steps is run.
    """

    def __init__(
        self,
        checkpoint: Checkpoint | Path,
        steps: int = 25,
        sampler: str = "dpmpp_2m",
        mask_steps: int = MASK_STEPS,
        *,
        device: str = "cpu",
        dtype: str = "float32",
        compiled: bool = False,
        schema: int = SCHEMA,
        rescale: float = 0.0,
        add_noise_step: int | None = None,
        fresh_blend: bool = False,
        strength: float = 1.0,
    ) -> None:
        import torch

        from seas_export.graphs.schedules import make_start_scheduler
        from seas_train import load_checkpoint
        from seas_train.diffusion.taps import tap_indices

        if isinstance(checkpoint, Path):
            checkpoint = load_checkpoint(checkpoint)
        self.checkpoint = checkpoint
        self.steps, self.sampler, self.mask_steps = steps, sampler, mask_steps
        self._schema = schema
        self._rescale = rescale
        self._fresh_blend, self._strength = fresh_blend, strength
        self._start = make_start_scheduler(checkpoint.scheduler.config, add_noise_step or START_TIMESTEPS)
        self._taps, self._head = tap_indices(checkpoint.unet), checkpoint.artifacts["mask_head"]
        self._contexts: dict[str, Tensor] = {}
        self._device, self._dtype = torch.device(device), getattr(torch, dtype)
        self._compiled = _compile() if compiled else None
        if (device, dtype) != ("cpu", "float32"):
            for module in (checkpoint.unet, checkpoint.vae, self._head):
                torch.nn.Module.to(module, self._device, self._dtype)

    def generate(
        self,
        defect: str,
        count: int,
        seed: int = 0,
        *,
        start: int = 0,
        batch: int = 1,
        guidance: float | None = None,
        tau: float | None = None,
        placed: Sequence[PlacedInputs] = (),
    ) -> Iterator[ReferencePair]:
        """Yield pairs `start` to `start + count - 1`, `batch` at a time; defaults are the checkpoint's.

        They are drawn into `placed`, one a pair, where some are given.

        Raises:
            UserError: a defect that the checkpoint does not have.
        """
        known = (*self.checkpoint.defects, GOOD)
        labels = {label: name for name, label in self.checkpoint.labels.items()}
        defect = defect if defect in known else labels.get(defect, defect)
        if defect not in known:
            raise UserError(f"defect: expected one of {', '.join(known)}, found {defect!r}")
        settings = self.checkpoint.meta["generation"]
        guidance = float(settings["guidance"] if guidance is None else guidance)
        tau = float(settings["tau"] if tau is None else tau)
        for first in range(start, start + count, batch):
            indices = range(first, min(first + batch, start + count))
            given = placed[first - start : first - start + len(indices)]
            yield from self._pairs(defect, indices, seed, guidance, tau, given)

    def prepare(self, batch: int = 1) -> None:
        """Run each model once at a batch size: what is compiled or touched for the first time, is then."""
        import torch

        geometry, context = self.checkpoint.geometry, self._context("")
        size = geometry.latent_size
        latents = torch.zeros(batch, geometry.latent_channels, size, size, device=self._device)
        contexts = context.expand(2 * batch, -1, -1).to(self._device, self._dtype)
        with torch.inference_mode():
            _, taps = self._predict(torch.cat([latents, latents]), torch.tensor(999), contexts)
            self._head(*(tap.chunk(2)[1] for tap in taps), self._decoded(latents))

    def _pairs(
        self,
        defect: str,
        indices: Sequence[int],
        seed: int,
        guidance: float,
        tau: float,
        placed: Sequence[PlacedInputs],
    ) -> Iterator[ReferencePair]:
        import torch

        began = time.perf_counter()
        with torch.inference_mode():
            images, probabilities, latents = self._run(defect, indices, seed, guidance, placed)
        seconds = (time.perf_counter() - began) / len(indices)
        settings = self.checkpoint.meta["generation"]
        for image, probability, latent in zip(images, probabilities, latents, strict=True):
            mask = np.where(defective(settings, probability, tau), np.uint8(255), np.uint8(0))
            yield ReferencePair(image, mask, probability, latent, seconds)

    def _run(
        self,
        defect: str,
        indices: Sequence[int],
        seed: int,
        guidance: float,
        placed: Sequence[PlacedInputs],
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        import torch

        from seas_export.graphs.schedules import adds_noise, make_scheduler
        from seas_export.methods.seas.drawn import Drawn
        from seas_train.diffusion.sampling import denoise
        from seas_train.diffusion.solver import SolverRules
        from seas_train.diffusion.taps import to_uint8

        rules = SolverRules.of(self.checkpoint.meta["generation"])
        scheduler = make_scheduler(self.sampler, self.checkpoint.scheduler.config, self.steps, rules)
        latents = self._noised_references(defect, indices, seed).to(self._device)  # [B,C,h,w]
        contexts = torch.cat([self._context(""), self._context(self.checkpoint.prompts[defect])])
        contexts = contexts.repeat_interleave(len(indices), dim=0)  # [2B,L,D], unconditional half first
        contexts = contexts.to(self._device, self._dtype)
        probabilities: list[Tensor] = []
        taps: list[Tensor] = []
        predictions: list[Tensor] = []
        of_x0 = follows(self.checkpoint.meta["generation"], "decoded")

        def predict(doubled: Tensor, timestep: Tensor, words: Tensor) -> Tensor:
            predicted, taps[:] = self._predict(doubled, timestep, words)
            predictions[:] = predicted.float().chunk(2)
            return predicted

        def read_mask(step: int, before: Tensor) -> None:
            if step >= self.steps - self.mask_steps:
                if of_x0:
                    guided = predictions[0] + guidance * (predictions[1] - predictions[0])
                    before = self._x0(before, guided, scheduler.timesteps[step])
                conditional = [tap.chunk(2)[1] for tap in taps]
                probabilities.append(self._head(*conditional, self._decoded(before)))

        noises = [PairNoise(seed, index, 0, defect, self._schema) for index in indices]
        shape = tuple(latents.shape[1:])

        def fresh(step: int) -> Tensor:
            drawn = np.stack([noise.normal(Stream.STEP, shape, step) for noise in noises])
            return torch.from_numpy(drawn).to(self._device)

        first, blend = 0, {}
        if placed:
            first = self.steps - math.ceil(round(self._strength * self.steps, 6))
            whole = first if self._strength < 1 else None
            drawn = Drawn(self.checkpoint, placed, noises, self._fresh_blend, whole)
            blend["before"] = partial(drawn.before, scheduler.timesteps)
        latents = denoise(
            scheduler,
            predict,
            latents,
            contexts,
            guidance,
            read_mask,
            rescale=self._rescale,
            first=first,
            fresh=fresh if adds_noise([self.sampler]) else None,
            **blend,
        )
        pixels, _ = self._decode(latents)
        mean = torch.stack(probabilities).mean(dim=0)
        return to_uint8(pixels).cpu().numpy(), mean.cpu().numpy(), latents.cpu().numpy()

    def _noised_references(self, defect: str, indices: Sequence[int], seed: int) -> Tensor:
        """The authors' start: latents of normal images, at the end of the stretched schedule."""
        import torch

        references = self.checkpoint.references
        noises = [PairNoise(seed, index, 0, defect, self._schema) for index in indices]
        settings = self.checkpoint.meta["generation"]
        chosen = [
            choose_reference(settings, noise, index, len(references))
            for index, noise in zip(indices, noises, strict=True)
        ]
        shape = tuple(references.shape[1:])
        fresh = torch.from_numpy(np.stack([noise.normal(Stream.START, shape) for noise in noises]))
        last = torch.tensor([len(self._start.alphas_cumprod) - 1])
        result: Tensor = self._start.add_noise(references[chosen], fresh, last)
        return result

    def _x0(self, latents: Tensor, prediction: Tensor, timestep: Tensor) -> Tensor:
        """The x0 that a step predicts."""
        from seas_train.diffusion.prediction import predicted_noise, predicted_x0

        base, every = self.checkpoint.scheduler, timestep.to(latents.device).expand(latents.shape[0])
        return predicted_x0(base, latents, predicted_noise(base, latents, prediction, every), every)

    def _context(self, prompt: str) -> Tensor:
        if prompt not in self._contexts:
            self._contexts[prompt] = self.checkpoint.context(prompt)
        return self._contexts[prompt]

    def _predict(self, latents: Tensor, timestep: Tensor, contexts: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Noise [2B,C,h,w], and the outputs of the two tapped up-blocks."""
        unet, latents = self.checkpoint.unet, latents.to(self._dtype)
        if self._compiled is not None:
            predicted, *taps = self._compiled[0](unet, latents, timestep, contexts)
            return predicted, taps
        blocks = [unet.up_blocks[index] for index in self._taps]
        return _with_outputs(blocks, lambda: unet(latents, timestep, contexts).sample)

    def _decoded(self, latents: Tensor) -> list[Tensor]:
        """What the mask head reads of scaled latents: the VAE's features, or its own small decoder's."""
        if self._head.decoder is None:
            return self._decode(latents)[1]
        return list(self._head.decoder((latents / self.checkpoint.geometry.scaling_factor).to(self._dtype)))

    def _decode(self, latents: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Pixels [B,3,H,W] in about -1..1 of scaled latents, and the first three up-blocks' outputs."""
        vae = self.checkpoint.vae
        latents = (latents / vae.config.scaling_factor).to(self._dtype)
        if self._compiled is not None:
            pixels, taps = self._compiled[1](vae, latents)
            return pixels, taps[:3]
        blocks = list(vae.decoder.up_blocks)[:3]
        return _with_outputs(blocks, lambda: vae.decode(latents).sample)


def _compile() -> tuple[Any, Any]:
    """The U-Net's and the decoder's forward, compiled, with their taps as outputs: hooks would break it."""
    import torch

    from seas_train.diffusion.taps import decode_pixels, unet_with_taps

    return torch.compile(unet_with_taps), torch.compile(decode_pixels)


def _with_outputs(blocks: Sequence[Any], run: Any) -> tuple[Tensor, list[Tensor]]:
    """Run, and collect what each of the modules gave."""
    outputs: dict[int, Tensor] = {}
    handles = [
        block.register_forward_hook(
            lambda _module, _inputs, output, place=place: outputs.__setitem__(place, output)
        )
        for place, block in enumerate(blocks)
    ]
    try:
        result = run()
    finally:
        for handle in handles:
            handle.remove()
    return result, [outputs[place] for place in range(len(blocks))]

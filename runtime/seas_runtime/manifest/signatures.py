"""The inputs and outputs that the runtime's graphs must have, whatever the bundle's geometry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from seas_runtime.errors import UserError
from seas_runtime.manifest.types import DECODE_IMAGE, DECODE_MASK, STEP, STEP_UNGUIDED, Manifest, TensorSpec

_FLOAT = ("float32",)
_FLOATS = ("float32", "float16")


@dataclass(frozen=True)
class Expected:
    """What a tensor must be: one of `dtypes`, and a shape whose None may be any size or dynamic."""

    dtypes: tuple[str, ...]
    shape: tuple[int | None, ...]
    optional: bool = False

    def fits(self, spec: TensorSpec) -> bool:
        """Whether a tensor of the manifest is as expected; a dynamic size fits any."""
        return (
            spec.dtype in self.dtypes
            and len(spec.shape) == len(self.shape)
            and all(
                want is None or isinstance(size, str) or size == want
                for want, size in zip(self.shape, spec.shape, strict=True)
            )
        )

    def __str__(self) -> str:
        sizes = ", ".join("any" if size is None else str(size) for size in self.shape)
        return f"{' or '.join(self.dtypes)} [{sizes}]"


Signature = Mapping[str, Expected]


def expected_signatures(manifest: Manifest) -> dict[str, tuple[Signature, Signature]]:
    """Return the inputs and outputs that each of the runtime's graphs must have."""
    latent, image = manifest.latent, manifest.image
    latents = Expected(_FLOAT, (None, latent.channels, latent.height, latent.width))
    tap = Expected(_FLOATS, (None, None, None, None))
    context = Expected(_FLOATS, (None, None, None))
    taps = {"tap_coarse": tap, "tap_fine": tap}
    step = {
        "latents": latents,
        "previous_x0": latents,
        "schedule": Expected(_FLOAT, (None, 8)),
        "step_index": Expected(("int64",), (1,)),
        "context": context,
        "noise": Expected(latents.dtypes, latents.shape, optional=True),
    }
    guided = {"guidance": Expected(_FLOAT, (1,)), "negative_context": context}
    stepped = {"next_latents": latents, "x0": latents, **taps}
    return {
        STEP: ({**step, **guided}, stepped),
        STEP_UNGUIDED: (step, stepped),
        DECODE_MASK: (
            {"latents": latents, **taps},
            {"probability": Expected(_FLOAT, (None, image.height, image.width))},
        ),
        DECODE_IMAGE: (
            {"latents": latents},
            {"image": Expected(("uint8",), (None, image.height, image.width, 3))},
        ),
    }


def check_signatures(manifest: Manifest, where: str) -> None:
    """Refuse a manifest whose graphs are missing, or lack or add to what the runtime feeds and reads."""
    for name, (inputs, outputs) in expected_signatures(manifest).items():
        if name not in manifest.graphs:
            if name == STEP_UNGUIDED:
                continue
            raise UserError(f"{where}.graphs: the graph {name!r} is missing; export the bundle again")
        graph = manifest.graphs[name]
        _check(f"{where}.graphs.{name}.inputs", inputs, graph.inputs)
        unknown = [spec.name for spec in graph.inputs if spec.name not in inputs]
        if unknown:
            raise UserError(f"{where}.graphs.{name}.inputs: the runtime has no {unknown[0]!r} to feed")
        _check(f"{where}.graphs.{name}.outputs", outputs, graph.outputs)


def _check(where: str, signature: Signature, specs: Sequence[TensorSpec]) -> None:
    found = {spec.name: spec for spec in specs}
    for name, expected in signature.items():
        if name not in found:
            if expected.optional:
                continue
            raise UserError(f"{where}: expected {name!r}, found {', '.join(found) or 'nothing'}")
        spec = found[name]
        if not expected.fits(spec):
            raise UserError(f"{where}: {name!r}: expected {expected}, found {spec.dtype} {list(spec.shape)}")

"""OpenVINO on the CPU: bfloat16 where the processor multiplies it, float32 otherwise or where asked for."""

from __future__ import annotations

import logging
import platform
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from seas_runtime.backends.contract import Backend, first_line
from seas_runtime.backends.cores import CPUINFO, processor_flags, usable_cores
from seas_runtime.backends.host import OnProcessor
from seas_runtime.backends.openvino.cache import CONVOLUTIONS, CompiledGraph, Signature
from seas_runtime.backends.openvino.importing import import_openvino
from seas_runtime.backends.openvino.reading import read_model
from seas_runtime.backends.openvino.session import OpenVinoSession, OpenVinoTensor
from seas_runtime.errors import UserError
from seas_runtime.installing import install
from seas_runtime.manifest.schedule import Array
from seas_runtime.manifest.types import BATCH, GraphSpec, Shape, TensorSpec

if TYPE_CHECKING:
    from seas_runtime.bundle.content import GraphContent
    from seas_runtime.bundle.reading import Bundle

logger = logging.getLogger(__name__)
VARIANTS = ("bf16", "fp32")
SMALL_BUNDLE = 256 * 1024**2
"""Bytes of a bundle up to which its graphs are compiled for one batch size after another, and kept.

Fixed sizes spare a step of `micro` a seventh of its time. That is work by the node, which Stable Diffusion's
own graphs would not notice; they would be compiled and held in memory once more for every size. To keep those
takes three copies of five gigabytes at once (`export_model` goes through strings), and to read and hash them
nearly as long as to compile them.
"""
FORM = "winograd 1"
"""What `convolutions` does to a graph; a graph compiled with another is compiled again."""
_HINTS = {"bf16": "bf16", "fp32": "f32"}  # ours -> OpenVINO's
_DTYPES = {  # OpenVINO's names -> numpy's
    "f32": "float32",
    "f16": "float16",
    "i64": "int64",
    "i32": "int32",
    "u8": "uint8",
    "boolean": "bool",
}


class OpenVinoCpu(OnProcessor):
    """Runs graphs with OpenVINO on the CPU, one after another, each with `threads` threads."""

    name = "openvino"

    def __init__(self, core: Any, version: str, precision: str, threads: int) -> None:
        self._core, self._version, self._precision = core, version, precision
        self._processor = str(core.get_property("CPU", "FULL_DEVICE_NAME"))
        self._half = precision == "bf16"
        self._convolutions = FORM if winograd_pays(self._half) else "direct"
        self._to_keep: list[tuple[CompiledGraph, int, Any, Signature]] = []
        self._options = {
            "INFERENCE_PRECISION_HINT": _HINTS[precision],
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,  # the next step waits for this one
            "ENABLE_CPU_PINNING": False,  # two processes would be pinned to the same cores
        }
        self.threads = threads

    def identity(self, bundle: Bundle) -> dict[str, str]:
        """Return version and precision."""
        return {"version": f"openvino {self._version}", "precision": self._precision}

    def load(self, bundle: Bundle, graph: str) -> OpenVinoSession:
        """Compile a graph, for any batch size; UserError if OpenVINO cannot.

        A small bundle's graph is imported, or compiled and kept, when it is bound, for the batch size that it
        is bound to.
        """
        spec, source = bundle.manifest.graphs[graph], partial(bundle.graph, graph)
        small = sum(entry.size for entry in bundle.manifest.files.values()) <= SMALL_BUNDLE
        if not (small and spec.has(BATCH)):
            content = source()
            compiled = self._compile(content, spec, None)
            held = compiled, content
            return OpenVinoSession(content.file, _signature(compiled), lambda batch: held, None)
        options = {**self._options, CONVOLUTIONS: self._convolutions}
        kept = CompiledGraph(bundle, graph, self._version, self._processor, options)
        signature = kept.signature() or _signature(self._read(source(), spec))

        def compiled_for(batch: int | None) -> tuple[Any, Any]:
            assert batch is not None  # there is an input that tells it
            return self._import(kept, source, spec, batch, signature)

        return OpenVinoSession(bundle.graph_path(graph), signature, compiled_for, spec)

    def _import(
        self,
        kept: CompiledGraph,
        source: Callable[[], GraphContent],
        spec: GraphSpec,
        batch: int,
        signature: Signature,
    ) -> tuple[Any, Any]:
        """Import a graph that was compiled for a batch size before, or compile it to be kept.

        Returns it with what must be held as long.
        """
        imported = kept.load(self._core, batch, "CPU", self._options)
        if imported is not None:
            return imported, None
        content = source()
        compiled = self._compile(content, spec, batch)
        self._to_keep.append((kept, batch, compiled, signature))
        return compiled, content

    def _compile(self, content: GraphContent, spec: GraphSpec, batch: int | None) -> Any:
        """Compile a graph for one batch size, or for any, its convolutions in the form that pays here."""
        model = self._read(content, spec, batch)
        if self._convolutions == FORM:
            from seas_runtime.backends.openvino.convolutions import (
                use_winograd,
            )  # most starts compile nothing

            try:
                written = use_winograd(model, self._half)
                logger.debug("%s: %d convolutions in Winograd's form", content.file.name, written)
            except Exception as error:  # OpenVINO's own, or what another version of it does otherwise
                logger.warning("%s: convolutions stay as they are: %s", content.file.name, first_line(error))
                model = self._read(content, spec, batch)
        try:
            compiled = self._core.compile_model(model, "CPU", self._options)
        except Exception as error:  # OpenVINO raises RuntimeError and its own
            raise self._unusable(content.file, error) from error
        content.confirm()
        return compiled

    def _read(self, content: GraphContent, spec: GraphSpec, batch: int | None = None) -> Any:
        try:
            model = read_model(self._core, content)
            if batch is not None:
                model.reshape(_sized(model, spec, batch))
            return model
        except Exception as error:  # as above
            raise self._unusable(content.file, error) from error

    def _unusable(self, file: Path, error: Exception) -> UserError:
        return UserError(
            f"{file}: OpenVINO {self._version} cannot load the graph: {first_line(error)}; "
            "export the bundle again, or update openvino"
        )

    def settle(self) -> None:
        """Keep what was compiled, once it has run."""
        while self._to_keep:
            kept, batch, compiled, signature = self._to_keep.pop()
            kept.save(batch, compiled, *signature)

    def allocate(self, shape: Shape, dtype: str) -> OpenVinoTensor:
        """Return a place whose memory OpenVINO uses as it is."""
        return OpenVinoTensor(shape, dtype)

    def write(self, value: OpenVinoTensor, array: Array) -> None:
        """Copy the array into the place, or make it the place's memory where that had no size."""
        if value.array is None:
            value.hold(np.array(array, dtype=value.dtype))
        else:
            np.copyto(value.array, array, casting="unsafe")

    def read(self, values: Sequence[OpenVinoTensor]) -> list[Array]:
        """Return copies: the next batch writes to the same memory."""
        return [value.get().copy() for value in values]


def winograd_pays(half: bool) -> bool:
    """Tell whether the form pays on this processor, with products in bfloat16 or in float32.

    Matrix units (AMX) multiply several times as fast and leave the additions as slow; OpenVINO's convolutions
    for ARM have forms of their own. Neither was measured, so both keep what they have, as does bfloat16 where
    what the processor can do is not known.
    """
    flags = processor_flags(CPUINFO)
    vectors = "avx512_bf16" in flags and "amx_bf16" not in flags
    return platform.machine().lower() in {"x86_64", "amd64"} and (vectors or not half)


def open_backend(kind: str, variant: str, threads: int | None) -> Backend[OpenVinoTensor]:
    """Return the backend; UserError where OpenVINO is not installed or the precision not to be had."""
    try:
        openvino = import_openvino()
    except ImportError as error:
        raise UserError(
            f"backend {kind!r}: openvino cannot be imported ({first_line(error)}); "
            f"install it: {install('openvino')}"
        ) from error
    core = openvino.Core()
    able = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if variant == "bf16" and not able:
        raise UserError(
            f"backend '{kind}:bf16': expected a processor with bfloat16 products (AVX512-BF16 or AMX), found "
            f"{core.get_property('CPU', 'FULL_DEVICE_NAME')}; use '{kind}:fp32'"
        )
    precision = variant or ("bf16" if able else "fp32")
    version = openvino.get_version().split("-")[0]
    return OpenVinoCpu(core, version, precision, usable_cores() if threads is None else threads)


def _sized(model: Any, graph: GraphSpec, batch: int) -> dict[str, Any]:
    """Return the shapes of a model's inputs for a batch; other dynamic sizes stay so."""
    shapes = {port.get_any_name(): port.get_partial_shape() for port in model.inputs}
    for spec in graph.inputs:
        for axis, size in enumerate(spec.shape):
            if size == BATCH:
                shapes[spec.name][axis] = batch
    return shapes


def _signature(model: Any) -> Signature:
    """Return inputs and outputs of a model, compiled or not."""
    inputs, outputs = (tuple(map(_tensor_spec, ports)) for ports in (model.inputs, model.outputs))
    return inputs, outputs


def _tensor_spec(port: Any) -> TensorSpec:
    """Return a port as the manifest describes tensors; a size without a number becomes text."""
    shape = tuple(
        str(size) if size.is_dynamic else int(size.get_length()) for size in port.get_partial_shape()
    )
    name = port.get_element_type().get_type_name()
    return TensorSpec(port.get_any_name(), _DTYPES.get(name, name), shape)

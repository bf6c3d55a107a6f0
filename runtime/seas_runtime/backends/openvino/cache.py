"""Compiled graphs of OpenVINO in the bundle's engine store: importing takes a third of compiling."""

from __future__ import annotations

import contextlib
import io
import logging
import shutil
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from seas_runtime.backends.contract import first_line
from seas_runtime.engines.errors import EngineDamaged
from seas_runtime.engines.record import BatchRange, EngineIdentity, EngineRecord
from seas_runtime.engines.seal import seals
from seas_runtime.engines.store import EngineStore
from seas_runtime.errors import UserError
from seas_runtime.manifest.types import TensorSpec

if TYPE_CHECKING:
    from seas_runtime.bundle.reading import Bundle

TARGET = "openvino"
CONVOLUTIONS = "convolutions"
"""The option that names the form of convolutions: another one takes the place of the last."""
Signature = tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]
"""A graph's inputs and outputs."""
logger = logging.getLogger(__name__)


class CompiledGraph:
    """A graph's engines for one processor, version and set of options, one for each batch size.

    They only save time: where one is missing, damaged, not sealed by this machine's key, or cannot be
    written, the graph is compiled again.
    """

    def __init__(
        self, bundle: Bundle, graph: str, version: str, processor: str, options: dict[str, Any]
    ) -> None:
        self._store = EngineStore.of(bundle)
        self._bundle, self._graph, self._version, self._processor = bundle, graph, version, processor
        self._options = {name.lower(): str(value) for name, value in sorted(options.items())}

    @cached_property
    def _content(self) -> str:
        return self._store.content(self._graph)

    def signature(self) -> Signature | None:
        """Return the graph's inputs and outputs where an engine is kept, of any batch size."""
        try:
            expected = self._identity(1)
        except (UserError, ValueError):  # a broken graph: OpenVINO says so better
            return None
        for engine in self._store.engines()[0]:
            kept = replace(engine.identity, batch=expected.batch)
            if kept == expected and engine.trust:
                return engine.record.inputs, engine.record.outputs
        return None

    def load(self, core: Any, batch: int, device: str, options: dict[str, Any]) -> Any:
        """Return the graph imported, compiled for one batch size, or None."""
        try:
            engine = self._store.get(self._identity(batch))
            if engine is None or not engine.trust:
                return None
            with engine.open() as content:
                return core.import_model(_held(content), device, options)
        except EngineDamaged as error:
            logger.warning("%s", error)
        except UserError as error:
            logger.debug("%s", error)
        except Exception as error:  # OpenVINO's own, for what it no longer reads
            logger.warning("%s: OpenVINO cannot import it: %s", self._graph, first_line(error))
        return None

    def save(
        self,
        batch: int,
        compiled: Any,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
    ) -> None:
        """Keep a compiled graph, in place of those of older versions, other forms or other contents.

        `inputs` and `outputs` are the graph's own, whatever batch size it was compiled for.
        """
        identity = self._identity(batch)
        record = EngineRecord(identity, inputs, outputs)
        try:
            blob = io.BytesIO()
            compiled.export_model(blob)
            data = blob.getbuffer()
            if shutil.disk_usage(self._bundle.path).free < 4 * len(data):
                return
            if not seals():
                return  # nobody could tell it from another's afterwards
            with self._store.workspace() as folder:
                file = folder / "compiled.blob"
                file.write_bytes(data)
                self._store.add(record, file)
            self._remove_outdated(identity)
        except (UserError, OSError) as error:
            logger.debug("compiled graphs are not kept: %s", error)
        except Exception as error:  # OpenVINO's own
            logger.debug("%s: OpenVINO cannot export it: %s", self._graph, first_line(error))

    def _remove_outdated(self, new: EngineIdentity) -> None:
        for engine in self._store.engines()[0]:
            old = engine.identity
            if _use(old) == _use(new) and old.key != new.key:
                with contextlib.suppress(UserError):
                    self._store.remove(engine)

    def _identity(self, batch: int) -> EngineIdentity:
        return EngineIdentity(
            graph=self._graph,
            content=self._content,
            target=TARGET,
            backend_version=self._version,
            devices=(self._processor,),
            precision=self._bundle.manifest.precision,
            batch=BatchRange(batch, batch, batch),
            options=self._options,
        )


def _use(identity: EngineIdentity) -> tuple[Any, ...]:
    """Return what a compiled graph is for, whichever version and form wrote it."""
    options = {name: value for name, value in identity.options.items() if name != CONVOLUTIONS}
    return identity.target, identity.graph, identity.batch, options


def _held(content: memoryview) -> Any:
    """Return a copy in memory that OpenVINO owns: it may keep parts of it, and reads a stream more slowly."""
    import openvino

    tensor = openvino.Tensor(openvino.Type.u8, openvino.Shape([len(content)]))
    tensor.data[:] = np.frombuffer(content, np.uint8)
    return tensor

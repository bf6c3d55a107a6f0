"""From a bundle's graph to the file that a builder is given: its dialect's operators, its precision."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx_ir as ir

from seas_engines.graphs.cuda import write_for_cuda
from seas_engines.graphs.rewrite import Form, cast_last, rewrite
from seas_engines.graphs.surgery import PIECES
from seas_engines.precision.cases import beforehand_cases, picture_cases, reading_cases, step_cases
from seas_engines.precision.evaluator import WEIGHTS_FILE, Case, Evaluator, save_model
from seas_engines.precision.float32_nodes import BOUND, Float32Nodes, find_float32_nodes
from seas_engines.precision.half import emulate_half, infer_types, to_half
from seas_engines.precision.loop_check import (
    IOU_BOUND,
    PAIRS,
    PSNR_BOUND,
    LoopFigures,
    Run,
    compare,
    make_pairs,
)
from seas_engines.targets.dialect import Dialect
from seas_engines.targets.targets import Precision
from seas_runtime.bundle.reading import Bundle
from seas_runtime.errors import CheckFailed, UserError
from seas_runtime.manifest.schedule import Array
from seas_runtime.manifest.types import DECODE_IMAGE, STEP, GraphSpec
from seas_runtime.methods.table import find_method

logger = logging.getLogger(__name__)
_TIGHTENINGS, _TIGHTER = 2, 4.0
_LOOP_SECONDS = 300.0
"""Whole pairs are compared where that takes no longer; at Stable Diffusion 1.4's size it would."""


@dataclass(frozen=True)
class Prepared:
    """A graph ready to be built."""

    file: Path
    """The ONNX file."""
    weights: Path
    """The file beside it that holds its weights."""
    float32_nodes: Mapping[str, Any] | None
    """Those of `Preparer.choose`, or None where the graph was not turned to half here."""


def check_precision(bundle: Bundle, precision: Precision) -> None:
    """Refuse to build what a bundle's rounding has already lost, and int8 of one that is not."""
    found, eight = bundle.manifest.precision, Precision.INT8
    if (found == eight.value) != (precision is eight):
        raise UserError(
            f"{bundle.path}: the bundle is {found}, expected an {precision.value} one to build "
            f"{precision.value} engines from; export the checkpoint with --precision {precision.value}"
            + (", or build with --precision int8" if found == eight.value else "")
        )
    if bundle.manifest.precision == Precision.FP16.value and precision is Precision.FP32:
        raise UserError(
            f"{bundle.path}: the bundle is fp16, expected an fp32 one to build fp32 engines from; "
            "export it with --precision fp32, or build with --precision fp16"
        )


class Preparer:
    """Prepares the graphs of one bundle in one dialect and precision, in `folder`.

    `half_values` are graph inputs and outputs that become half with the nodes.
    """

    def __init__(
        self,
        bundle: Bundle,
        dialect: Dialect,
        precision: Precision,
        folder: Path,
        threads: int = 0,
        half_values: Collection[str] = (),
    ) -> None:
        check_precision(bundle, precision)
        self._bundle, self._dialect, self._precision = bundle, dialect, precision
        self._folder, self._threads = folder, threads
        self._half_values = frozenset(half_values)
        self._method = find_method(bundle.manifest.method)
        self._stepped: list[Mapping[str, Array]] | None = None
        self._seconds: dict[str, float] = {}

    @property
    def converts(self) -> bool:
        """Whether graphs are turned to half here; a bundle of fp16 has its choice made when exported."""
        return self._precision is Precision.FP16 and self._bundle.manifest.precision == "fp32"

    def choose(
        self, graphs: Sequence[str], known: Mapping[str, Mapping[str, Any]], psnr: float = PSNR_BOUND
    ) -> dict[str, Mapping[str, Any]]:
        """Return the choice of float32 nodes of each graph, as JSON values.

        `known` has those of earlier engines of the same graphs and dialect. The rest are measured, and whole
        pairs with them; where those lie further off than `psnr` (dB), each graph's bound is tightened, twice
        at most. Raises CheckFailed where half cannot be.
        """
        if all(graph in known for graph in graphs):
            return {graph: known[graph] for graph in graphs}
        bound = BOUND
        for _ in range(_TIGHTENINGS + 1):
            chosen = {graph: self.measure(graph, bound) for graph in graphs}
            figures = self._check_loop(chosen)
            if figures is None or figures.within(psnr):
                loop = None if figures is None else figures.to_dict()
                return {graph: {**found.to_dict(), "loop": loop} for graph, found in chosen.items()}
            logger.info("whole pairs: %.1f dB, IoU %.3f: look closer", figures.psnr, figures.iou)
            bound /= _TIGHTER
        assert figures is not None
        raise CheckFailed(
            f"half precision: whole pairs lie {figures.psnr:.1f} dB and IoU {figures.iou:.3f} from float32, "
            f"the bounds are {psnr:g} dB and {IOU_BOUND:g}; use --precision fp32"
        )

    def prepare(self, graph: str, float32_nodes: Mapping[str, Any] | None = None) -> Prepared:
        """Write a graph for the builder; `float32_nodes` is what `choose` gave, if it becomes half."""
        model = self._load(graph)
        rewrite(model, self._dialect.opset, self._dialect.attention, self._dialect.group_norm)
        for_cuda = self._dialect.attention is Form.VENDOR
        if self.converts or for_cuda:
            infer_types(model)
        if self.converts:
            assert float32_nodes is not None
            to_half(model, _with_wholes(model, float32_nodes["float32"]))
        if for_cuda:
            write_for_cuda(model)
        else:
            cast_last(model)
        target = self._folder / graph
        target.mkdir(parents=True)
        file = target / "graph.onnx"
        save_model(model, file)
        return Prepared(file, target / WEIGHTS_FILE, float32_nodes if self.converts else None)

    def measure(self, graph: str, bound: float = BOUND, cases: Sequence[Case] | None = None) -> Float32Nodes:
        """Choose the float32 nodes of a graph; attention in pieces, so that its scores are seen too.

        `cases` are its inputs; a graph that generation runs has its own.
        """
        model = self._in_pieces(graph)
        cases = self._cases(graph) if cases is None else cases
        with Evaluator(model, cases, self._folder, self._threads, self._half_values) as evaluator:
            if graph == STEP:
                self._stepped = self._read_outputs(evaluator)
            found = find_float32_nodes(evaluator, bound)
            self._seconds[graph] = evaluator.seconds
        logger.info(
            "%s: %d of %d nodes stay in float32; largest half value %.3g, error %.2g, extreme %.2g",
            graph,
            len(found.float32),
            found.candidates,
            found.largest,
            found.error,
            found.extreme_error,
        )
        return found

    def _check_loop(self, chosen: Mapping[str, Float32Nodes]) -> LoopFigures | None:
        """Compare whole pairs; None where not every graph is at hand, or they would take too long here."""
        steps = self._bundle.schedule().steps
        expected_seconds = 2 * PAIRS * steps * self._seconds.get(STEP, 0.0)
        if not set(self._method.graphs) <= set(chosen):
            return None
        if expected_seconds > _LOOP_SECONDS:
            logger.info("whole pairs are not compared: they would take %.0f s", expected_seconds)
            return None
        step = self._method.default_step(self._bundle.manifest)
        graphs = dict.fromkeys((*self._method.graphs, *([step] if step in chosen else [])))
        made = []
        for half in (False, True):
            with contextlib.ExitStack() as stack:
                runs: dict[str, Run] = {}
                for graph in graphs:
                    model = self._in_pieces(graph)
                    if half:
                        emulate_half(model, chosen[graph].float32, self._half_values)
                    opened = stack.enter_context(Evaluator(model, (), self._folder, self._threads))
                    runs[graph] = opened.run
                made.append(make_pairs(self._bundle, runs))
        return compare(made[1], made[0])

    def _in_pieces(self, graph: str) -> ir.Model:
        model = self._load(graph)
        norms = self._dialect.group_norm
        rewrite(model, self._dialect.opset, Form.PIECES, Form.PIECES if norms is Form.VENDOR else norms)
        infer_types(model)
        return model

    def _load(self, graph: str) -> ir.Model:
        return ir.load(self._bundle.graph_path(graph))

    def _cases(self, graph: str) -> Sequence[Case]:
        spec = self._bundle.manifest.graphs[graph]
        if any(tensor.name == "step_index" for tensor in spec.inputs):
            return step_cases(self._bundle, spec)
        if any(tensor.dtype == "uint8" for tensor in spec.inputs):
            return picture_cases(spec, self._picture())
        if not any(tensor.name == "latents" for tensor in spec.inputs):
            return beforehand_cases(self._bundle, spec)
        step = self._bundle.manifest.graphs[STEP]
        cases = step_cases(self._bundle, step) if _reads_steps(spec, step) else []
        return reading_cases(self._bundle, graph, cases, self._step_outputs(cases) if cases else ())

    def _picture(self) -> Array:
        """Return a picture [1, H, W, 3] as the bundle makes them: a normal image, decoded in float32."""
        latents = self._method.clean(self._bundle, 0)
        with Evaluator(self._in_pieces(DECODE_IMAGE), (), self._folder, self._threads) as evaluator:
            return evaluator.run({"latents": latents})["image"]

    def _step_outputs(self, cases: Sequence[Case]) -> list[Mapping[str, Array]]:
        """Return what other graphs read of the step graph's outputs for its cases, once, in float32."""
        if self._stepped is None:
            with Evaluator(self._in_pieces(STEP), cases, self._folder, self._threads) as evaluator:
                self._stepped = self._read_outputs(evaluator)
        return self._stepped

    def _read_outputs(self, evaluator: Evaluator) -> list[Mapping[str, Array]]:
        graphs = self._bundle.manifest.graphs
        read = {spec.name for name in self._method.graphs for spec in graphs[name].inputs if name != STEP}
        return [{name: made[name] for name in read & set(made)} for made in evaluator.exact]


def _reads_steps(graph: GraphSpec, step: GraphSpec) -> bool:
    """Whether a graph reads more than latents of what a step is given or gives."""
    known = {spec.name for spec in (*step.inputs, *step.outputs)} - {"latents"}
    return any(spec.name in known for spec in graph.inputs)


def _with_wholes(model: ir.Model, names: Sequence[str]) -> set[str]:
    """Return names with that of every whole attention or group norm of which one piece is among them."""
    kept = set(names)
    for node in model.graph:
        if not kept.isdisjoint(node.meta.get(PIECES, ())):
            kept.add(str(node.name))
        if node.op_type in ("Attention", "MultiHeadAttention"):
            stem = str(node.name).removesuffix("_attention")
            if any(name.startswith(f"{stem}_") for name in names):
                kept.add(str(node.name))
    return kept

"""Our rewriting of graphs beside that of libraries: what each leaves, how far off it is, what it costs.

    python benchmarks/graph_tools.py --bundle micro/bundle

On the bundle's graphs and a U-Net of Stable Diffusion's widths. Each tool has a process of its own: its
seconds (a processor's) and peak memory are with its libraries. What only a GPU runs is compared in standard
operators. Half precision is written with attention in pieces, as ModelOpt reads no other. `--only` names a
graph, a tool or both ("step rules"), and keeps the others' figures. Writes results/graph_tools.json.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
from machine import _version, describe_machine

from seas_engines.graphs import cuda
from seas_engines.graphs.rewrite import Form, rewrite
from seas_engines.precision import half
from seas_engines.precision.cases import reading_cases, step_cases
from seas_engines.precision.evaluator import save_model
from seas_runtime.bundle.reading import Bundle
from seas_runtime.files import write_json
from tests.engines.cuda_operators import in_standard_operators

RESULTS = Path(__file__).parent / "results" / "graph_tools.json"
TOOLS = ("own_cuda", "transformers_cpu", "transformers", "ort_fusions")
HALVES = ("own_half", "float16", "autocast")
NORMS = ("GroupNorm", "SkipGroupNorm")
ROUNDS = 15


def apply(tool: str, file: Path, model: ir.Model) -> Any:
    """Let a tool rewrite a graph; return onnx_ir's model or ONNX's own."""
    if tool.startswith("transformers"):
        from onnxruntime.transformers import fusion_options, optimizer

        kind, gpu = "vae" if "decode" in file.parent.name else "unet", tool == "transformers"
        options = fusion_options.FusionOptions(kind)
        for name in ("bias_add", "group_norm", "skip_group_norm", "nhwc_conv", "bias_splitgelu"):
            setattr(options, f"enable_{name}", gpu)
        return optimizer.optimize_model(str(file), kind, 0, 0, options, 0, gpu).model
    if tool == "float16":
        from onnxruntime.transformers.float16 import convert_float_to_float16

        return convert_float_to_float16(str(file), keep_io_types=True)
    if tool == "autocast":
        from modelopt.onnx.autocast import convert_to_mixed_precision

        real = str(file.with_name("feeds.npz"))
        return convert_to_mixed_precision(str(file), keep_io_types=True, calibration_data=real)
    if tool == "ort_fusions":
        from onnxscript.rewriter.ort_fusions import optimize_for_ort

        return optimize_for_ort(model)[0]
    if tool == "own_cuda":
        rewrite(model, 20, Form.VENDOR, Form.VENDOR)
        half.infer_types(model)
        cuda.write_for_cuda(model)
    else:
        half.infer_types(model)
        half.to_half(model)
    return model


def work(tool: str, file: Path, made: Path) -> dict[str, Any]:
    """Rewrite one graph; return seconds, memory and operators, or why not."""
    model, began = ir.load(file), time.process_time()
    try:
        result = apply(tool, file, model)
    except Exception as error:  # not installed, or not for this graph
        return {"not_measured": f"{type(error).__name__}: {error}"[:200]}
    seconds = round(time.process_time() - began, 2)
    model = result if isinstance(result, ir.Model) else ir.from_proto(result)
    save_model(model, made)
    status = Path("/proc/self/status").read_text(encoding="utf-8").split()
    peak = round(int(status[status.index("VmHWM:") + 1]) / 2**20, 2)  # getrusage's has the parent's in it
    kinds = Counter(node.op_type for node in model.graph)
    norms = [node for node in model.graph if node.op_type in NORMS]
    odd = sum(node.inputs[1].shape[0] // node.attributes["groups"].as_int() % 2 for node in norms)
    figures = {"processor_seconds": seconds, "peak_gib": peak, "nodes": kinds.total()}
    return {**figures, "norms_of_odd_groups": odd, "operators": dict(kinds.most_common())}


def session(file: Path) -> Any:
    """Load a graph for one thread, in standard operators where the processor lacks its own."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    try:
        return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except onnxruntime.capi.onnxruntime_pybind11_state.NotImplemented:
        model = ir.load(file)
        for node in model.graph:
            if node.op_type in NORMS:
                node.attributes.setdefault("channels_last", ir.AttrInt64("channels_last", 1))
        in_standard_operators(model)
        (file.parent / "standard").mkdir()
        save_model(model, file.parent / "standard" / file.name)
        return session(file.parent / "standard" / file.name)


def measure(tool: str, file: Path, feeds: dict[str, Any]) -> dict[str, Any]:
    """Return what a tool made of a graph, how far its results are off, and what a step takes."""
    made = file.parent / tool / "made.onnx"
    made.parent.mkdir()
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        figures = pool.apply(work, (tool, file, made))
    if "not_measured" in figures:
        return figures
    both = (session(file), session(made))
    results = zip(*(each.run(None, feeds) for each in both), strict=True)
    figures["largest_difference"] = max(
        float(np.abs(np.float64(a) - np.float64(b)).max()) for a, b in results
    )
    if file.parent.name.startswith("step") and not (made.parent / "standard").exists():
        taken: tuple[list[float], list[float]] = ([], [])
        for turn in range(2 * ROUNDS):
            began = time.process_time()
            both[turn % 2].run(None, feeds)
            taken[turn % 2].append(time.process_time() - began)
        figures["run_seconds_before_after"] = [round(statistics.median(each), 4) for each in taken]
    return figures


def graphs(bundle: Bundle) -> Iterator[tuple[str, ir.Model, dict[str, Any]]]:
    """Yield name, model and inputs: a middle step's, a reference's latents, random ones for the wide one."""
    import torch
    from diffusers import UNet2DConditionModel

    from seas_export.graphs.trace import trace
    from seas_export.methods.seas.parts import Part, UNet

    feeds, step = step_cases(bundle, bundle.manifest.graphs["step"])[1].feeds, bundle.graph_path("step")
    names = [output.name for output in bundle.manifest.graphs["step"].outputs]
    taps = dict(zip(names, session(step).run(None, dict(feeds)), strict=True))
    yield "step", ir.load(step), dict(feeds)
    for name in ("decode_mask", "decode_image"):
        yield name, ir.load(bundle.graph_path(name)), dict(reading_cases(bundle, name, [taps] * 3)[0].feeds)
    torch.manual_seed(0)
    blocks = {f"{way.lower()}_block_types": (f"CrossAttn{way}Block2D",) * 3 for way in ("Down", "Up")}
    widths = {"block_out_channels": (320, 640, 640), "cross_attention_dim": 768, "layers_per_block": 1}
    module = UNet(UNet2DConditionModel(32, 4, 4, **blocks, **widths)).eval()
    drawn = (torch.randn(2, 4, 32, 32), torch.tensor([500.0]), torch.randn(2, 77, 768))
    given = dict(zip(("latents", "timestep", "context"), drawn, strict=True))
    wide = trace(Part("unet", module, given, names[1:], ("latents", "context")), 20)
    yield "wide_unet", wide, {name: tensor.numpy() for name, tensor in given.items()}


def main() -> None:
    """Run every tool on every graph, write, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    result: dict[str, Any] = {"benchmark": "graph_tools", "rounds": ROUNDS, "graphs": {}}
    result["versions"] = {name: _version(name) for name in ("nvidia-modelopt", "onnx-ir")}
    with tempfile.TemporaryDirectory() as folder:
        for name, model, feeds in graphs(Bundle.read(options.bundle)):
            for tools, place in ((TOOLS, name), (HALVES, f"{name}_pieces")):
                if tools is HALVES:
                    rewrite(model, 20, Form.PIECES, Form.PIECES)
                file = Path(folder, place, "graph.onnx")
                file.parent.mkdir()
                save_model(model, file)
                np.savez(file.with_name("feeds.npz"), **feeds)
                figures = result["graphs"].setdefault(place, {"tools": {}})
                figures["nodes"] = len(model.graph)
                for tool in tools if place != "wide_unet_pieces" else ():
                    figures["tools"][tool] = measure(tool, file, feeds)
                    print(place, tool, figures["tools"][tool], flush=True)
    write_json(options.out, {**result, "machine": describe_machine()})


if __name__ == "__main__":
    main()

"""Contexts of prompts of one's own, by a bundle's text encoder on the processor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from seas_runtime.backends.contract import Backend, check_signature, open_backend
from seas_runtime.bundle.reading import Bundle
from seas_runtime.errors import UserError
from seas_runtime.manifest.schedule import Array
from seas_runtime.manifest.types import TEXT_ENCODER, TOKENIZER
from seas_runtime.methods.tokenizer import read_tokenizer

_BACKENDS = ("cpu", "openvino")


def encode_prompts(bundle: Bundle, prompts: Sequence[str]) -> None:
    """Encode prompts into `bundle.contexts`, [L, D] each, but for those that are there.

    The text encoder runs on the processor whatever runs the other graphs, so that a prompt is the same on
    every backend. Raises UserError for a bundle without a tokenizer, a prompt that does not fit, and where
    neither ONNX Runtime nor OpenVINO is installed.
    """
    missing = [prompt for prompt in dict.fromkeys(prompts) if prompt not in bundle.contexts]
    if not missing:
        return
    graph = bundle.manifest.graphs.get(TEXT_ENCODER)
    if TOKENIZER not in bundle.tables or graph is None:
        raise UserError(
            f"{bundle.path}: prompts of one's own: this bundle has no tokenizer; export it again with "
            "--own-prompts, or give the checkpoint that it was exported from with --checkpoint"
        )
    tokenizer = read_tokenizer(bundle.tables[TOKENIZER], bundle.manifest.tables[TOKENIZER])
    spec, output = graph.input("input_ids"), graph.output("context")
    if spec is None or output is None or len(spec.shape) != 2 or not isinstance(length := spec.shape[1], int):
        raise UserError(
            f"{bundle.path}: {TEXT_ENCODER}: expected the input input_ids [batch, tokens] and the output "
            "context; export the bundle again"
        )
    ids = [tokenizer.ids(prompt, length) for prompt in missing]
    backend = _processor()
    session = backend.load(bundle, TEXT_ENCODER)
    check_signature(bundle.graph_path(TEXT_ENCODER), graph, session)
    given, made = (backend.allocate(item.sized(batch=1), item.dtype) for item in (spec, output))
    run = session.bind({spec.name: given}, {output.name: made})
    for prompt, row in zip(missing, ids, strict=True):
        backend.write(given, row[None])
        run()
        (context,) = backend.read([made])
        bundle.contexts[prompt] = _fitting(bundle, context[0])


def _fitting(bundle: Bundle, context: Array) -> Array:
    """Return a context as the bundle's other ones are."""
    like = next(iter(bundle.tables["embeddings"].values()))
    if context.shape != like.shape:
        raise UserError(
            f"{bundle.path}: {TEXT_ENCODER}: expected {list(like.shape)}, found {list(context.shape)}; "
            "export the bundle again"
        )
    return context.astype(like.dtype)


def _processor() -> Backend[Any]:
    """Return what runs the text encoder."""
    reasons = []
    for name in _BACKENDS:
        try:
            return open_backend(name)
        except UserError as error:
            reasons.append(str(error))
    raise UserError(
        f"prompts of one's own need ONNX Runtime or OpenVINO for the text encoder: {'; '.join(reasons)}"
    )

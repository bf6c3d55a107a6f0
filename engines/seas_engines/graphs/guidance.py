"""Classifier-free guidance: what does not depend on the prompt is computed once.

The unconditional and the conditional half start from the same latents at the same timestep. Up to the first
cross-attention they are the same numbers: the first convolution, the time embedding, and in Stable Diffusion
1.x the first residual block with the first self-attention, over the most pixels. Those nodes run on B
images; where a node that reads the text meets one of their results, that is repeated along the batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import onnx_ir as ir

_CHEAP = frozenset({"Reshape", "Transpose", "Unsqueeze", "Squeeze", "Slice", "Mul", "Gemm"})
"""Operators that stay with the nodes that read them: attention is recognised by what is around it, and what
every block makes of the time embedding costs less to compute twice than to repeat."""


@dataclass(frozen=True, eq=False)
class Division:
    """How a U-Net's values divide by whether they depend on the prompt."""

    both: frozenset[ir.Value]
    """[2B, ...]: with the empty prompt, and with the given one."""
    repeated: frozenset[ir.Value]
    """[B, ...]: the same with both prompts, and read by a node whose result is in `both`."""


def divide(unet: ir.Model) -> Division | None:
    """Divide a U-Net's values by what reads the text; None where the graph is not built for it.

    That is where a size computed from the latents steers a node that reads the text, or where an output does
    not depend on the prompt.
    """
    inputs = {str(value.name): value for value in unet.graph.inputs}
    nodes = list(unet.graph)
    both = _reached(nodes, inputs["context"])
    batched = _reached(nodes, inputs["latents"]) | {inputs["latents"]}
    for node in reversed(nodes):
        outputs = set(node.outputs)
        users = [use.node for value in outputs for use in value.uses()]
        if (
            node.op_type in _CHEAP
            and users
            and not outputs & set(unet.graph.outputs)
            and all(both.issuperset(user.outputs) for user in users)
        ):
            both |= outputs
    repeated = {
        value
        for node in nodes
        if both.issuperset(node.outputs)
        for value in node.inputs
        if value is not None and value in batched and value not in both
    }
    if not both.issuperset(unet.graph.outputs) or any(not _is_float(value) for value in repeated):
        return None
    return Division(frozenset(both | {inputs["context"]}), frozenset(repeated))


def _reached(nodes: list[ir.Node], source: ir.Value) -> set[ir.Value]:
    """Return every value that is computed from `source`, in a list of nodes in the order of running."""
    reached = {source}
    for node in nodes:
        if not reached.isdisjoint(node.inputs):
            reached.update(node.outputs)
    return reached - {source}


def _is_float(value: ir.Value) -> bool:
    return value.dtype is not None and value.dtype.is_floating_point()

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from seas_engines.graphs.rewrite import Form, cast_last, rewrite
from tests.engines.graphs import kinds, latents, network, run

PIECES, WHOLE = Form.PIECES, Form.WHOLE


@pytest.mark.parametrize(
    ("opset", "attention", "group_norm"),
    [(20, PIECES, PIECES), (21, PIECES, WHOLE), (23, WHOLE, WHOLE), (23, PIECES, PIECES)],
)
def test_every_form_computes_the_same(tmp_path: Path, opset: int, attention: Form, group_norm: Form) -> None:
    expected = run(network(), latents(), tmp_path / "before")
    model = network()
    rewrite(model, opset, attention, group_norm)
    cast_last(model)
    assert model.opset_imports == {"": opset}
    assert ("Attention" in kinds(model)) == (attention is WHOLE)
    assert ("Softmax" in kinds(model)) == (attention is PIECES)
    assert ("GroupNormalization" in kinds(model)) == (group_norm is WHOLE)
    assert "MultiHeadAttention" not in kinds(model)
    found = run(model, latents(), tmp_path / "after")
    np.testing.assert_allclose(found["middle"], expected["middle"], rtol=1e-5, atol=1e-6)
    assert np.abs(found["image"].astype(int) - expected["image"]).max() <= 1


def test_bytes_are_cast_last() -> None:
    model = network()
    cast_last(model)
    image = model.graph.outputs[0]
    assert image.name == "image"
    producer = image.producer()
    assert producer is not None
    assert producer.op_type == "Cast"
    assert [value.name for value in model.graph.outputs] == ["image", "middle"]


def test_whole_group_norm_leaves_other_instance_norms_alone() -> None:
    model = network()
    for node in model.graph:
        if node.op_type == "InstanceNormalization":
            node.replace_input_with(2, node.inputs[1])  # a bias of ones is no group norm
    rewrite(model, 21, PIECES, WHOLE)
    assert "InstanceNormalization" in kinds(model)


@pytest.mark.parametrize(("opset", "attention", "group_norm"), [(20, WHOLE, PIECES), (20, PIECES, WHOLE)])
def test_forms_that_an_opset_does_not_have(opset: int, attention: Form, group_norm: Form) -> None:
    with pytest.raises(ValueError, match="needs opset"):
        rewrite(network(), opset, attention, group_norm)


def test_opsets_are_not_lowered() -> None:
    with pytest.raises(ValueError, match="20 or more"):
        rewrite(network(), 17, PIECES, PIECES)

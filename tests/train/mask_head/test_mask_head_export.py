from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from tests.train.mask_head.tiny_heads import inputs, tiny_head


@pytest.mark.slow
def test_exports_with_a_dynamic_batch(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    head = tiny_head().eval()
    coarse, fine, vae_taps = inputs(2)
    batch = torch.export.Dim("batch")
    path = tmp_path / "mask_head.onnx"
    torch.onnx.export(
        head,
        (coarse, fine, vae_taps),
        path,
        input_names=["tap_coarse", "tap_fine", "vae_tap_1", "vae_tap_2", "vae_tap_3"],
        output_names=["probability"],
        dynamo=True,
        dynamic_shapes=({0: batch}, {0: batch}, [{0: batch}] * 3),
        verbose=False,
    )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for size in (1, 3):
        coarse, fine, vae_taps = inputs(size)
        names = [entry.name for entry in session.get_inputs()]
        arrays = [tensor.numpy() for tensor in (coarse, fine, *vae_taps)]
        (probability,) = session.run(["probability"], dict(zip(names, arrays, strict=True)))
        np.testing.assert_allclose(probability, head.predict(coarse, fine, vae_taps).numpy(), atol=1e-5)

from __future__ import annotations

import pytest

from seas_engines.graphs.rewrite import Form
from seas_engines.targets.dialect import dialect_of
from seas_engines.targets.targets import (
    RTX_CAPABILITIES,
    TARGETS,
    Precision,
    Target,
    require_target,
    rtx_devices,
)
from seas_runtime.errors import UserError


def test_every_target_has_its_spec() -> None:
    assert set(TARGETS) == set(Target)


@pytest.mark.parametrize("target", Target)
@pytest.mark.parametrize("precision", Precision)
def test_every_target_is_exported_for_in_every_precision_but_one(
    target: Target, precision: Precision
) -> None:
    if (target, precision) == (Target.CUDA, Precision.INT8):
        with pytest.raises(UserError, match="target cuda: runs fp16, fp32, not int8"):
            require_target(target.value, precision.value)
        return
    found, chosen, spec = require_target(target.value, precision.value)
    assert (found, chosen) == (target, precision)
    assert spec.builds_engine == (target in (Target.CUDA, Target.RTX, Target.TENSORRT))
    assert spec.fused_attention == (target in (Target.CPU, Target.CUDA))
    assert spec.split_upsampling == (target in (Target.CPU, Target.OPENVINO))


def test_engines_are_half_where_a_gpu_runs_them() -> None:
    first = {target: spec.precisions[0] for target, spec in TARGETS.items()}
    assert first[Target.RTX] is first[Target.TENSORRT] is Precision.FP16
    assert first[Target.CPU] is Precision.FP32


def test_words_are_checked() -> None:
    with pytest.raises(UserError, match="target: expected one of cpu"):
        require_target("gpu", "fp32")
    with pytest.raises(UserError, match="precision: expected one of fp32, fp16, int8, found 'bf16'"):
        require_target("cpu", "bf16")


def test_rtx_devices() -> None:
    assert rtx_devices("12.0,8.6, 89,sm_86") == ("8.6", "8.9", "12.0")
    assert rtx_devices(",".join(RTX_CAPABILITIES)) == tuple(RTX_CAPABILITIES)


@pytest.mark.parametrize(
    ("text", "what"), [("8.7", "Jetson Orin"), ("9.0", "Hopper"), ("sm_110", "Jetson Thor")]
)
def test_devices_that_rtx_never_builds_for(text: str, what: str) -> None:
    with pytest.raises(UserError, match=f"{what}.*use --target tensorrt on that machine"):
        rtx_devices(text)


@pytest.mark.parametrize("text", ["", "8.6,", "RTX 4090", "6.1", "8.6.1", "../8.6"])
def test_devices_that_are_none(text: str) -> None:
    with pytest.raises(UserError, match="--device: expected compute capabilities out of"):
        rtx_devices(text)


@pytest.mark.parametrize(
    ("target", "version", "opset", "attention", "group_norm"),
    [
        (Target.TENSORRT, "10.3.0.30", 20, Form.PIECES, Form.PIECES),  # JetPack 6
        (Target.TENSORRT, "10.12.0.36", 21, Form.PIECES, Form.WHOLE),
        (Target.TENSORRT, "10.16", 23, Form.WHOLE, Form.WHOLE),  # JetPack 7.2
        (Target.TENSORRT, "11.4", 23, Form.WHOLE, Form.WHOLE),
        (Target.RTX, "1.7.1.116", 23, Form.WHOLE, Form.WHOLE),
    ],
)
def test_dialects(target: Target, version: str, opset: int, attention: Form, group_norm: Form) -> None:
    found = dialect_of(target, version)
    assert (found.opset, found.attention, found.group_norm) == (opset, attention, group_norm)
    assert found.strongly_typed


@pytest.mark.parametrize(
    ("target", "version"),
    [
        (Target.TENSORRT, "10.3"),  # JetPack 6.1, 6.2
        (Target.TENSORRT, "10.16"),  # JetPack 7.2
        (Target.TENSORRT, "11.4"),  # JetPack 7.2.2
        (Target.TENSORRT, "10.12"),  # datacenter and RTX cards
        (Target.RTX, "1.2"),
    ],
)
def test_every_platform_has_a_dialect(target: Target, version: str) -> None:
    assert dialect_of(target, version).strongly_typed


@pytest.mark.parametrize(
    ("target", "version"), [(Target.TENSORRT, "8.5.3.1"), (Target.TENSORRT, "9.3"), (Target.RTX, "0.9")]
)
def test_versions_that_are_too_old(target: Target, version: str) -> None:
    with pytest.raises(UserError, match=f"version {version} is too old.*update it"):
        dialect_of(target, version)

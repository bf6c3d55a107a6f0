from __future__ import annotations

import pytest

from seas_engines.targets import TARGETS, Precision, Target, require_target
from seas_runtime.errors import UserError


def test_every_target_has_its_spec() -> None:
    assert set(TARGETS) == set(Target)


@pytest.mark.parametrize("precision", Precision)
def test_cpu_is_available(precision: Precision) -> None:
    target, chosen, spec = require_target("cpu", precision.value)
    assert (target, chosen) == (Target.CPU, precision)
    assert not spec.builds_engine


@pytest.mark.parametrize("target", [target.value for target in Target if target is not Target.CPU])
def test_other_targets_are_to_come(target: str) -> None:
    with pytest.raises(UserError, match=f"target {target}: not supported yet; choose one of: cpu"):
        require_target(target, "fp32")


def test_words_are_checked() -> None:
    with pytest.raises(UserError, match="target: expected one of cpu"):
        require_target("gpu", "fp32")
    with pytest.raises(UserError, match="precision: expected one of fp32, fp16, found 'bf16'"):
        require_target("cpu", "bf16")

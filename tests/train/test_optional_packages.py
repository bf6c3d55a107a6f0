"""Packages that nobody needs and that are broken: named, and left out."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from seas_runtime.packages import broken, broken_import, excerpt
from seas_train.training.log import TrainingLog

REASON = "operator torchvision::nms does not exist"
SCRIPT = """
import logging, sys
from pathlib import Path
logging.basicConfig(level=logging.WARNING, format="%(message)s")
from seas_train.bases.base import load_base
from seas_train.training.log import TrainingLog
base = load_base("micro")
assert base.unet.config.sample_size
with TrainingLog(Path(sys.argv[1]), "finetune", start=0, steps=2, progress=False) as log:
    log.step(1, {"loss": 0.5}, 1e-3)
    log.step(2, {"loss": 0.25}, 1e-3)
"""


def _install(folder: Path, package: str, module: str, text: str) -> None:
    """A distribution whose `module` fails to import."""
    (folder / package).mkdir(parents=True)
    (folder / package / "__init__.py").write_text("__version__ = '1.0'\n")
    (folder / package / module).write_text(text)
    (folder / f"{package}-1.0.dist-info").mkdir()
    (folder / f"{package}-1.0.dist-info" / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n"
    )


def test_training_goes_on_without_broken_packages(tmp_path: Path) -> None:
    """torchvision and xformers that are built for another PyTorch, and a tensorboard that does not load."""
    site = tmp_path / "site-packages"
    _install(site, "torchvision", "__init__.py", f"raise RuntimeError({REASON!r})\n")
    _install(site, "xformers", "ops.py", "raise OSError('libcudart.so.11: cannot open')\n")
    _install(site, "tensorboard", "__init__.py", "raise TypeError('Descriptors cannot be created')\n")
    ended = _run(site, tmp_path / "run")
    assert ended.returncode == 0, ended.stderr
    assert len((tmp_path / "run" / "losses.jsonl").read_text().splitlines()) == 2
    for package, reason in {
        "torchvision": REASON,
        "xformers": "libcudart.so.11",
        "tensorboard": "Descriptors cannot be created",
    }.items():
        (line,) = [line for line in ended.stderr.splitlines() if f"package {package} is installed" in line]
        assert reason in line
        assert f"pip install --force-reinstall --no-deps {package}" in line
    assert "losses go to losses.jsonl alone" in ended.stderr


def test_a_package_that_nobody_thought_of_is_left_out_too(tmp_path: Path) -> None:
    """Here scipy, of which a part is missing: diffusers and transformers use it where it is installed."""
    site = tmp_path / "site-packages"
    _install(site, "scipy", "stats.py", "raise ValueError('numpy.dtype size changed')\n")
    ended = _run(site, tmp_path / "run")
    assert ended.returncode == 0, ended.stderr
    (line,) = [line for line in ended.stderr.splitlines() if "package scipy is installed but broken" in line]
    assert "scipy.optimize" in line or "numpy.dtype size changed" in line  # whichever is imported first
    assert "pip install --force-reinstall" in line


def _run(site: Path, out: Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(site), *(entry for entry in sys.path if entry)])
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, str(out)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_package_whose_module_failed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a library's own words, and those of the library that it asked."""
    site = tmp_path / "site-packages"
    _install(site, "torch_like_host", "library.py", f"def define():\n    raise RuntimeError({REASON!r})\n")
    _install(site, "culprit_here", "ops.py", "import torch_like_host.library as l\nl.define()\n")
    monkeypatch.syspath_prepend(site)
    try:
        try:
            import culprit_here.ops  # noqa: F401
        except RuntimeError as error:
            raise RuntimeError("Failed to import diffusers.models (look up to see its traceback)") from error
    except RuntimeError as error:
        words = broken_import(error)
    assert words is not None
    assert words.startswith("the package culprit_here is installed but broken (RuntimeError: operator")
    assert broken_import(ValueError("a broken file")) is None


def test_a_long_reason_keeps_its_end() -> None:
    words = excerpt("a" * 5000 + " the culprit\nis this")
    assert words.endswith("the culprit is this")
    assert len(words) < 1000
    assert excerpt("short\n  one") == "short one"


def test_what_a_package_lacks_comes_with_it() -> None:
    assert "--no-deps" not in broken("tensorboard", ModuleNotFoundError("No module named 'google'"))
    assert "--no-deps" in broken("torchvision", ImportError("undefined symbol"))


def test_a_log_that_breaks_later_does_not_end_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As on a disk that fills up under TensorBoard's own thread."""
    from torch.utils.tensorboard import SummaryWriter

    def full(*given: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(SummaryWriter, "add_scalar", full)
    with (
        caplog.at_level(logging.WARNING),
        TrainingLog(tmp_path, "finetune", start=0, steps=3, progress=False) as log,
    ):
        for step in (1, 2, 3):
            log.step(step, {"loss": 1.0 / step}, 1e-3)
    assert len((tmp_path / "losses.jsonl").read_text().splitlines()) == 3
    assert len([record for record in caplog.records if "No space left" in record.message]) == 1

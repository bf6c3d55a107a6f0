"""Packages that nobody here needs, but that diffusers and transformers import where they are installed."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import logging
import sys

from seas_runtime.packages import broken, culprit

logger = logging.getLogger(__name__)

OPTIONAL = {
    "torchvision": "torchvision",
    "torchaudio": "torchaudio",
    "xformers": "xformers.ops",
    "flash_attn": "flash_attn",
    "sageattention": "sageattention",
    "bitsandbytes": "bitsandbytes",
    "torchao": "torchao",
}
"""Package -> the module that shows whether it works. Where these are installed, they are tried first."""
NEEDED = (
    ("diffusers", "AutoencoderKL"),
    ("diffusers", "DPMSolverMultistepScheduler"),
    ("diffusers", "UNet2DConditionModel"),
    ("transformers", "CLIPTextModel"),
    ("transformers", "CLIPTokenizer"),
)
"""What is used of the two libraries; many more optional packages come into play as it is imported."""
_REQUIRED = frozenset(
    {"torch", "diffusers", "transformers", "accelerate", "huggingface_hub", "numpy", "safetensors"}
    | {"tokenizers", "PIL", "regex", "packaging", "yaml", "requests", "filelock", "tqdm"}
)


@functools.cache
def hide_broken_packages() -> None:
    """Let diffusers and transformers run without the optional packages that are installed but broken.

    Call it before they are imported. Each package that is hidden is named in a warning, with its cure.
    """
    for package, module in OPTIONAL.items():
        if not _is_installed(package):
            continue
        try:
            importlib.import_module(module)
        except Exception as error:  # a build for another torch raises anything
            hide(package)
            logger.warning("%s; going on without it", broken(package, error))
    while not _imports():
        pass


def _imports() -> bool:
    """Import what is needed; where an optional package is in the way, hide it and return False."""
    try:
        for module, name in NEEDED:
            getattr(importlib.import_module(module), name)
    except Exception as error:
        found = culprit(error)
        if found is None or found[0] in _REQUIRED or sys.modules.get(found[0], error) is None:
            raise
        for package in ("diffusers", "transformers"):  # they remember what they found installed
            _forget(package)
        hide(found[0])
        logger.warning("%s; going on without it", broken(*found))
        return False
    return True


def hide(package: str) -> None:
    """Make a package as if it were not installed, for this process."""
    _forget(package)
    sys.modules[package] = None  # type: ignore[assignment]  # which import and find_spec understand


def _forget(package: str) -> None:
    """Let a package be imported anew."""
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        del sys.modules[name]


def _is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        return False

"""Packages that nobody here needs, but that diffusers and transformers import where they are installed."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import logging
import sys

from seas_runtime.packages import broken

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
"""Package -> the module that shows whether it works."""


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


def hide(package: str) -> None:
    """Make a package as if it were not installed, for this process."""
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        del sys.modules[name]
    sys.modules[package] = None  # type: ignore[assignment]  # which import and find_spec understand


def _is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        return False

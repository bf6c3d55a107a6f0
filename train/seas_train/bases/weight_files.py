"""Which files of a model folder hold a component's weights: whole or in shards, plain or a variant (fp16)."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from seas_runtime.clutter import is_clutter
from seas_runtime.errors import UserError
from seas_runtime.files import os_errors, read_json
from seas_train.foreign_files import TABLE_LIMIT, WEIGHTS_LIMIT, check_file, dead_link

logger = logging.getLogger(__name__)

WEIGHTED = ("text_encoder", "unet", "vae")
"""The components that have weights."""
STEMS = {
    "text_encoder": ("model", "pytorch_model"),
    "unet": ("diffusion_pytorch_model", "diffusion_pytorch_model"),
    "vae": ("diffusion_pytorch_model", "diffusion_pytorch_model"),
}
"""How files of weights are called, without their ending: safetensors, and pickled."""
# Half precision is the same model rounded; without averaging (`non_ema`) it is another.
_PREFERRED = ("", "fp32", "ema", "fp16", "bf16")
_SHARD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\.safetensors")
_MOST_SHARDS = 1000


@dataclass(frozen=True)
class Weights:
    """A component's weights: files in its folder, by the names that the libraries look for."""

    files: Mapping[str, Path]
    shards: Mapping[str, str] | None = None
    """Tensor -> name in `files`; None where there is one file."""
    pickled: bool = False
    read: tuple[Path, ...] = ()
    """Every file that was read or will be: those of `files`, and the index of shards."""


def find_weights(component: str, folder: Path, what: str, *, allow_pickle: bool = False) -> Weights:
    """The files to load: safetensors before pickles, plain ones before variants, one file before shards.

    Raises:
        UserError: there are none, or only pickles without `allow_pickle`; a link leads nowhere; an index
            names something else than safetensors files that lie beside it.
    """
    safe, pickled = STEMS[component]
    single = re.compile(rf"{safe}(?:\.(?P<variant>\w+))?\.safetensors")
    index = re.compile(rf"{safe}(?:\.(?P<variant>\w+))?\.safetensors\.index(?:\.(?P<late>\w+))?\.json")
    pickle = re.compile(rf"{pickled}(?:\.(?P<variant>\w+))?\.bin")
    with os_errors(folder, "read"):
        names = sorted(file.name for file in folder.iterdir() if not is_clutter(file.name))
    dead = [file for file in (folder / name for name in names) if dead_link(file)]
    for pattern in (single, index, pickle):
        found = _best(pattern, [name for name in names if folder / name not in dead])
        if found is None:
            continue
        name, variant = found
        if pattern is pickle and not allow_pickle:
            break
        for link in dead:
            logger.warning("%s: %s", link, dead_link(link))
        if variant:
            logger.info("%s: %s holds no plain weights; the variant %s is read", what, folder, name)
        if pattern is index:
            return _sharded(folder / name, f"{safe}.safetensors")
        check_file(folder / name, "weights", WEIGHTS_LIMIT)
        target = f"{safe}.safetensors"
        return Weights({target: folder / name}, pickled=pattern is pickle, read=(folder / name,))
    for link in dead:
        check_file(link, f"a file of the {component}", WEIGHTS_LIMIT)
    there = [name for name in names if not name.endswith(".json")]
    is_pickled = any(name.endswith(".bin") for name in there)
    hint = "pickled weights are not read without --allow-pickle" if is_pickled else "no pickled ones"
    if is_pickled and allow_pickle:
        hint = f"of pickled ones one whole file is read, {pickled}.bin"
    raise UserError(
        f"{what}: expected a .safetensors file in {folder}, found {there[:8] or 'no weights'}; "
        f"{hint}: save the model again with safe_serialization=True"
    )


def _best(pattern: re.Pattern[str], names: list[str]) -> tuple[str, str] | None:
    """The name that matches with the best variant, and that variant."""
    found = []
    for name in names:
        match = pattern.fullmatch(name)
        if match:
            variant = next((value for value in match.groupdict().values() if value), "")
            rank = _PREFERRED.index(variant) if variant in _PREFERRED else len(_PREFERRED)
            found.append((rank, variant, name))
    return (min(found)[2], min(found)[1]) if found else None


def _sharded(index: Path, name: str) -> Weights:
    """The shards that an index names, under names of our own."""
    check_file(index, "an index of shards", TABLE_LIMIT)
    content = read_json(index, "index of shards")
    tensors = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(tensors, dict) or not tensors:
        raise UserError(f"{index}: weight_map: expected the shard of each tensor, found {str(tensors)[:80]}")
    shards: dict[str, str] = {}
    for shard in tensors.values():
        if not isinstance(shard, str) or _SHARD.fullmatch(shard) is None:
            raise UserError(
                f"{index}: weight_map: expected names of safetensors files that lie beside it, "
                f"found {str(shard)[:120]!r}; nothing of it was read. "
                "Save the model again with safe_serialization=True"
            )
        shards.setdefault(shard, f"{name.removesuffix('.safetensors')}-{len(shards):05d}.safetensors")
        if len(shards) > _MOST_SHARDS:
            raise UserError(f"{index}: weight_map: expected at most {_MOST_SHARDS} shards, found more")
    for shard in shards:
        check_file(index.parent / shard, "a shard", WEIGHTS_LIMIT)
    files = {target: index.parent / shard for shard, target in shards.items()}
    named = {str(tensor): shards[shard] for tensor, shard in tensors.items()}
    return Weights(files, named, read=(index, *files.values()))

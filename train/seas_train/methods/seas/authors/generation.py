"""The authors' fine-tuned models: `generation-checkpoint`, folders in diffusers' format without the VAE."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seas_runtime.errors import UserError
from seas_train.bases.base import Base, base_licence, base_name, find_base, load_base, read_geometry
from seas_train.bases.model_folders import (
    COMPONENTS,
    check_components,
    check_folder,
    check_index,
    check_vocabulary,
    folder_fingerprint,
    load_component,
)

_FOLDER = "generation-checkpoint"
_SCHEDULE = {
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "num_train_timesteps": 1000,
}
"""The noise schedule of SD 1.x, which the authors' start is computed with whatever the base says."""


@dataclass(frozen=True)
class Generation:
    """The fine-tuned models with the base's VAE, as a `Base`, and what they were read from."""

    models: Base
    fingerprint: str
    """sha256 over the names and contents of the folder's files."""


def read_generation(path: Path, base: str, *, allow_pickle: bool = False) -> Generation:
    """Load the authors' `generation-checkpoint` (or the folder that it lies in) with a base's VAE.

    The folder's own weights may be `.bin` files: they are the authors' format, and nothing of them is
    executed. The base's may be where `allow_pickle` says so.

    Raises:
        UserError: a file is missing or broken, a model is of another kind, or they do not fit together.
    """
    folder = path / _FOLDER if (path / _FOLDER).is_dir() else path
    if not folder.is_dir():
        raise UserError(
            f"--generation {path}: no such folder; expected the authors' {_FOLDER} "
            "(unet, text_encoder, tokenizer, scheduler, model_index.json)"
        )
    what = f"--generation {folder}"
    check_index(folder, what)
    vae, about = _base_vae(base, allow_pickle)
    own = {name: folder / name for name in COMPONENTS if name != "vae"}
    check_components({**own, "vae": vae.folder}, what, allow_pickle=True)
    components = {name: load_component(name, place, what) for name, place in own.items()}
    components["vae"] = vae.load()
    check_vocabulary(components, what)
    _check_schedule(components["scheduler"].config, what)
    models = Base(geometry=read_geometry(components, what), **about, **components)
    return Generation(models, folder_fingerprint(folder))


@dataclass(frozen=True)
class _Vae:
    """The base's VAE: the folder that it lies in and, where that is no folder of its own, the model."""

    folder: Path
    model: Any = None

    def load(self) -> Any:
        return self.model if self.model is not None else load_component("vae", self.folder, "--base")


def _base_vae(base: str, allow_pickle: bool) -> tuple[_Vae, Mapping[str, Any]]:
    """The VAE of a base, and the base's name, path, fingerprint and licence.

    Of a folder nothing but the VAE is loaded: the rest is replaced.
    """
    path = find_base(base, allow_pickle=allow_pickle)
    if path.is_file():
        from seas_train.bases.single_file import CONFIGS

        loaded = load_base(base, allow_pickle=allow_pickle)
        about = {key: getattr(loaded, key) for key in ("name", "path", "fingerprint", "licence")}
        return _Vae(CONFIGS / "vae", loaded.vae), about
    name = base_name(base, path)
    check_folder(path, f"base {name}", allow_pickle=allow_pickle)
    about = {
        "name": name,
        "path": path,
        "fingerprint": folder_fingerprint(path),
        "licence": base_licence(name, path),
    }
    return _Vae(path / "vae"), about


def _check_schedule(config: Any, what: str) -> None:
    found = {key: config.get(key) for key in _SCHEDULE}
    if found != _SCHEDULE or config.get("trained_betas") is not None:
        raise UserError(
            f"{what}: scheduler: expected Stable Diffusion 1.x's noise schedule {_SCHEDULE}, found {found}; "
            "the authors' sampler starts from that one"
        )

"""SeaS's tables: contexts of prompts, latents of normal images, and what a bundle may have besides."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from seas_runtime.errors import UserError
from seas_runtime.manifest.fields import describe
from seas_runtime.manifest.schedule import Array
from seas_runtime.manifest.types import GOOD, STEP, TOKENIZER, UNCONDITIONAL, Manifest
from seas_runtime.methods.contract import Tables
from seas_runtime.methods.placed.score import FEATURES, check_features
from seas_runtime.methods.tokenizer import read_tokenizer
from seas_runtime.placement.masks.shapes import TABLE as PLACEMENT
from seas_runtime.placement.masks.shapes import unpack_shapes

EMBEDDINGS, REFERENCES = "embeddings", "references"


def check_tables(manifest: Manifest, tables: Tables, files: Mapping[str, str]) -> None:
    """Refuse tables that do not fit the graphs and the defects."""
    _check_embeddings(files[EMBEDDINGS], tables[EMBEDDINGS], manifest)
    check_references(files[REFERENCES], tables[REFERENCES], manifest)
    if TOKENIZER in tables:
        read_tokenizer(tables[TOKENIZER], files[TOKENIZER])
    if FEATURES in tables:
        check_features(files[FEATURES], tables[FEATURES], manifest)
    if PLACEMENT in tables:
        _check_placement(files[PLACEMENT], tables[PLACEMENT], manifest)


def _check_embeddings(file: str, embeddings: Mapping[str, Array], manifest: Manifest) -> None:
    context = manifest.graphs[STEP].input("context")
    shape = context.shape[1:] if context else ()
    expected: tuple[int, ...] | None = None
    for key in (GOOD, *manifest.defects, UNCONDITIONAL):
        if key not in embeddings:
            raise UserError(f"{file}: no embedding {key!r}; export the bundle again")
        array = embeddings[key]
        fits = (
            array.ndim == 2
            and array.size > 0
            and len(shape) == 2
            and all(
                isinstance(want, str) or want == size for want, size in zip(shape, array.shape, strict=True)
            )
            and (expected is None or array.shape == expected)
        )
        if not fits or array.dtype not in (np.float32, np.float16):
            raise UserError(
                f"{file}: {key!r}: expected float32 or float16 {list(expected or shape)}, "
                f"found {array.dtype} {list(array.shape)}"
            )
        if not np.isfinite(array).all():
            raise UserError(f"{file}: {key!r}: expected finite values, found NaN or infinity")
        expected = array.shape


def check_references(file: str, tables: Mapping[str, Array], manifest: Manifest) -> None:
    """Refuse latents of normal images that are not of the manifest's geometry."""
    latent = manifest.latent
    geometry = (latent.channels, latent.height, latent.width)
    array = tables.get("latents")
    if array is None:
        raise UserError(f"{file}: no tensor 'latents'; export the bundle again")
    if array.dtype != np.float32 or array.ndim != 4 or array.shape[1:] != geometry or not len(array):
        raise UserError(
            f"{file}: 'latents': expected float32 [n, {', '.join(map(str, geometry))}], n >= 1, "
            f"found {array.dtype} {list(array.shape)}"
        )
    if not np.isfinite(array).all():
        raise UserError(f"{file}: 'latents': expected finite values, found NaN or infinity")


def _check_placement(file: str, tables: Mapping[str, Array], manifest: Manifest) -> None:
    """Refuse shapes that cannot be unpacked, or are of no defect of the bundle."""
    for defect in unpack_shapes(tables, file):
        if defect not in manifest.defects:
            raise UserError(f"{file}: expected shapes of the bundle's defects, found {describe(defect)}")

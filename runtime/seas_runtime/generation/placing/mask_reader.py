"""Masks that another bundle of the same product measures, for a method that measures none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from seas_runtime.backends.contract import Backend, Watch
from seas_runtime.bundle.reading import Bundle
from seas_runtime.errors import UserError
from seas_runtime.generation.loop import Loop
from seas_runtime.generation.resolve import resolve
from seas_runtime.generation.sessions import Sessions
from seas_runtime.manifest.fields import describe, listed
from seas_runtime.manifest.types import ENCODE_IMAGE, GOOD, Manifest
from seas_runtime.methods.blending.inputs import BLEND, LEAST_STRENGTH, REGIONS, STRENGTH
from seas_runtime.methods.request import PLACED, PairRequest, PlacedInputs, Placing, Request, Sampling
from seas_runtime.methods.table import find_method

OPTION = "--mask-from"
READING = "measure_mask"
"""What reading is called among a pair's times."""


@dataclass(frozen=True, eq=False)
class Read:
    """What was read of a region at the bundle's size."""

    mask: npt.NDArray[np.bool_]  # [S, S]
    probability: npt.NDArray[np.float32] | None  # [S, S], 0 to 1
    bundle: str
    """The fingerprint of the bundle that read it."""


class MaskReader:
    """Reads masks of finished regions with a bundle whose method measures some.

    A region is encoded and noised as each of the bundle's last steps has it, and its mask is read there: the
    steps run with a mask of zeros, so that all that they see is the region. Sampler, steps and guidance are
    the bundle's own: its engines are for those.

    Args:
        bundle: whose head reads.
        of: the manifest of the pairs' own bundle.

    Raises UserError for a bundle that measures no masks, or is of another product, base or size.
    """

    def __init__(self, bundle: Bundle, of: Manifest) -> None:
        _check(bundle, of)
        self.bundle = bundle
        manifest, method = bundle.manifest, find_method(bundle.manifest.method)
        last = max(item.steps for item in method.readouts(manifest, None))
        part = min(1.0, max(LEAST_STRENGTH, last / bundle.schedule().steps))
        self._options = method.make_options({STRENGTH: part})
        self._loop: Loop | None = None

    @classmethod
    def of_folder(cls, folder: Path, of: Manifest, require_signature: Path | None = None) -> MaskReader:
        """Read the bundle in a folder; UserError as `Bundle.read` and the class itself."""
        return cls(Bundle.read(folder, require_signature=require_signature, every=False), of)

    def open(self, backend: Backend[Any]) -> None:
        """Load what reads on a backend; UserError where it cannot run it, such as without its engines."""
        sessions = Sessions(self.bundle, backend)
        sessions.load((*find_method(self.bundle.manifest.method).graphs, ENCODE_IMAGE))
        self._loop = Loop(self.bundle, backend, sessions)

    def check(self, placing: Placing | None, defects: Iterable[str]) -> None:
        """Refuse, by a UserError, pairs whose masks are not to be read, and defects that the head does not
        know."""
        if placing is None:
            raise UserError(
                f"{OPTION}: measures masks of pairs that are drawn into photographs; leave it out, or give a "
                "folder of photographs with --onto"
            )
        if placing.mask == PLACED:
            raise UserError(f"{OPTION}: measures masks, and --mask {PLACED} takes none; leave one out")
        manifest = self.bundle.manifest
        for defect in defects:
            if defect != GOOD and manifest.find_defect(defect) not in manifest.defects:
                raise UserError(
                    f"{OPTION} {self.bundle.path}: expected a bundle that knows {describe(defect)}, found "
                    f"one of {listed(manifest.defects)}; leave the defect out, or give another bundle"
                )

    def read(
        self,
        pairs: Sequence[PairRequest],
        regions: Sequence[npt.NDArray[np.uint8]],
        attempt: int,
        watch: Watch,
    ) -> list[Read]:
        """Return the masks of finished regions [S, S, 3], one a pair; their noise is each pair's own."""
        assert self._loop is not None
        wanted = [
            PairRequest(self._request(pair.request), pair.index, PlacedInputs(region, _nothing(region)))
            for pair, region in zip(pairs, regions, strict=True)
        ]
        made = self._loop.run(wanted, attempt, watch=watch).masks
        maps = made.probabilities
        return [
            Read(mask, None if maps is None else maps[place], self.bundle.fingerprint)
            for place, mask in enumerate(made.masks)
        ]

    def _request(self, asked: Request) -> Request:
        sampling = Sampling(tau=asked.sampling.tau)
        return resolve(Request(asked.defect, asked.seed, sampling, self._options, Placing()), self.bundle)


def _nothing(region: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    return np.zeros(region.shape[:2], np.bool_)


def _check(bundle: Bundle, of: Manifest) -> None:
    own, where = bundle.manifest, f"{OPTION} {bundle.path}"
    if find_method(of.method).readouts(of, None):
        raise UserError(f"{OPTION}: method {of.method} measures its own masks; leave it out")
    if not find_method(own.method).readouts(own, None):
        raise UserError(
            f"{where}: expected a bundle with a mask head, such as one of method seas, found one of method "
            f"{own.method}, which measures no masks; give another bundle"
        )
    if ENCODE_IMAGE not in own.graphs or BLEND not in own.generation:
        raise UserError(
            f"{where}: a version of seas-export wrote it that read no photographs; export the "
            "checkpoint again"
        )
    expected, found = _alike(of), _alike(own)
    for what in {**expected, **found}:
        if expected.get(what) != found.get(what):
            raise UserError(
                f"{where}: expected a bundle of the same {what} as that of the pairs, "
                f"{describe(expected.get(what))}, found {describe(found.get(what))}; give another bundle, or "
                f"train one on the same photographs and base with --method {own.method}"
            )


def _alike(manifest: Manifest) -> dict[str, Any]:
    """What a bundle must have in common with that of the pairs."""
    base = manifest.provenance.get("base")
    if isinstance(base, Mapping):
        base = f"{base.get('name')} {str(base.get('fingerprint'))[:12]}"
    return {
        "product": manifest.product,
        "base": base,
        "image": [manifest.image.height, manifest.image.width],
        **manifest.preprocessing,
        REGIONS: bool(manifest.generation.get(REGIONS, False)),
    }

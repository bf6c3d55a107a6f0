"""Where a build keeps its verdicts, and the pairs that they set aside."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from seas_export.verdict.rules import State, Verdict
from seas_runtime.errors import UserError
from seas_runtime.files import json_bytes, read_json, write_json
from seas_runtime.manifest.types import Manifest

VERDICT_FILE = "verdict.json"
SET_ASIDE = "not_usable"
"""A data set beside the build's own: pairs of defects that are not usable."""
PROVENANCE = "verdicts"
"""What a bundle's provenance calls them: by defect, usable, doubtful or not usable."""


def write_verdicts(file: Path, verdicts: Sequence[Verdict]) -> None:
    """Write verdicts with all of their figures."""
    write_json(file, {"verdicts": [verdict.to_dict() for verdict in verdicts]})


def read_verdicts(file: Path) -> tuple[Verdict, ...]:
    """Read what `write_verdicts` wrote; UserError for anything else."""
    values = read_json(file, "verdicts")
    try:
        return tuple(map(Verdict.read, values["verdicts"]))
    except (KeyError, TypeError, ValueError):
        raise UserError(
            f"{file}: expected the verdicts of a build. Remove the file to measure again."
        ) from None


def state_in_bundle(bundle: Path, verdicts: Sequence[Verdict]) -> None:
    """Write in a bundle's provenance which of its defects are usable; one that is signed stays as it is."""
    from seas_runtime.bundle.reading import read_manifest_file, write_manifest
    from seas_runtime.bundle.signature import SIGNATURE_NAME

    manifest, _ = read_manifest_file(bundle)
    states = {verdict.defect: verdict.state.value for verdict in verdicts}
    if manifest.provenance.get(PROVENANCE) != states and not (bundle / SIGNATURE_NAME).exists():
        write_manifest(bundle, replace(manifest, provenance={**manifest.provenance, PROVENANCE: states}))


def unusable(manifest: Manifest, wanted: Sequence[str]) -> Iterator[str]:
    """Yield a warning for each wanted defect, or `all`, that the build of this bundle found not usable."""
    states = manifest.provenance.get(PROVENANCE)
    for defect, state in states.items() if isinstance(states, Mapping) else ():
        if state == State.NOT_USABLE.value and (defect in wanted or "all" in wanted):
            yield (
                f"warning: {defect}: not usable by the verdict of the build that made this bundle; "
                "look at its pairs before you train on them"
            )


def bundle_digest_without_verdicts(bundle: Path) -> str:
    """Return the fingerprint that a bundle of ours had before verdicts were written into it."""
    from seas_runtime.bundle.reading import read_manifest_file

    manifest, _ = read_manifest_file(bundle)
    provenance = {name: value for name, value in manifest.provenance.items() if name != PROVENANCE}
    return hashlib.sha256(json_bytes(replace(manifest, provenance=provenance).to_dict())).hexdigest()

"""Makes the kept bundles and what is expected of them: `python -m tests.kept.make PART ...`, once.

Nothing that is there is replaced. To keep what another schema gives, make another folder.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.kept import evidence
from tests.kept.evidence import BUNDLES, KEPT

NOISE_KEYS = [(0, 0, 0), (7, 417, 0), (7, 417, 1), (7, 418, 0), (2**63 - 1, 2**48 - 1, 255)]
TRACING = ("torch", "diffusers", "transformers", "onnx", "onnx-ir", "onnxscript", "numpy")
TRAINING = ("torch", "diffusers", "transformers", "accelerate", "numpy")


def toy(scratch: Path) -> None:
    """Write the toy bundle, and pack it."""
    from tests.runtime.bundles import write_tiny_bundle

    path = write_tiny_bundle(_new("toy"))
    command = [sys.executable, "-m", "seas_export", "pack", str(path), "--out", str(_new("toy.zip"))]
    subprocess.run(command, check=True)


def exported(scratch: Path) -> None:
    """Export the kept checkpoint, with parity."""
    import torch

    from seas_export.export import export_bundle
    from tests.kept.checkpoint import STEPS, write_kept_checkpoint

    torch.set_num_threads(1)
    archive = _new("exported.tar.xz")
    bundle = export_bundle(write_kept_checkpoint(scratch), scratch / "exported", steps=STEPS).bundle
    with tarfile.open(archive, "x:xz", preset=9) as opened:
        opened.add(bundle, "exported", filter=_plain)


def expected(scratch: Path) -> None:
    """Write what the kept bundles give."""
    from seas_runtime import Generator

    _new("samples.npz")
    found: dict[str, Any] = {"made_with": evidence.machine(), "png_writer": evidence.png_writer()}
    found |= {"fingerprints": {}, "runs": {}, "datasets": {}}
    arrays: dict[str, np.ndarray] = {}
    for name in BUNDLES:
        generator = Generator.open(evidence.open_bundle(name, scratch), threads=1)
        found["fingerprints"][name] = generator.bundle.fingerprint
        found["runs"][name] = {
            evidence.key(request): evidence.run(generator, request) for request in evidence.requests(name)
        }
        found["datasets"][name] = evidence.dataset(generator, name, scratch / f"{name}_dataset")
        arrays.update(evidence.samples(generator, name))
    _write("expected.json", found)
    np.savez_compressed(KEPT / "samples.npz", **arrays)


def noise(scratch: Path) -> None:
    """Write the first values of the noise streams."""
    from seas_runtime.generation.noise import reference_index, start_noise, step_noise

    _write(
        "noise.json",
        [
            {
                "key": key,
                "start": start_noise(*key, (8,)).tolist(),
                "steps": [step_noise(*key, step, (8,)).tolist() for step in range(4)],
                "references_of_7_and_60": [reference_index(*key, count) for count in (7, 60)],
            }
            for key in NOISE_KEYS
        ],
    )


def training(scratch: Path) -> None:
    """Write the losses of both stages."""
    from tests.kept.training import losses

    found = losses(scratch)
    _write("expected_training.json", {**_made_with(TRAINING), "losses": found})


def export(scratch: Path) -> None:
    """Write the hashes of the bundle that the tests of export make."""
    import torch

    from seas_export.export import export_bundle
    from tests.export.checkpoints import write_tiny_checkpoint
    from tests.export.conftest import STEPS

    torch.set_num_threads(1)
    bundle = export_bundle(write_tiny_checkpoint(scratch), scratch / "bundle", steps=STEPS).bundle
    _write("expected_export.json", {**_made_with(TRACING), "files": evidence.file_digests(bundle)})


def _made_with(packages: Sequence[str]) -> dict[str, Any]:
    return {"versions": evidence.versions(*packages), "processor": evidence.processor()}


def _new(name: str) -> Path:
    path = KEPT / name
    if path.exists():
        sys.exit(f"{path}: is kept, and never made again")
    return path


def _write(name: str, value: Any) -> None:
    _new(name).write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


def _plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    info.mtime = 0
    info.mode = 0o755 if info.isdir() else 0o644
    return info


PARTS = {part.__name__: part for part in (toy, exported, expected, noise, training, export)}

if __name__ == "__main__":
    for name in sys.argv[1:] or list(PARTS):
        with tempfile.TemporaryDirectory() as scratch:
            PARTS[name](Path(scratch))

"""A bundle in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def describe_bundle(path: Path, verify: bool = False) -> dict[str, Any]:
    """What a bundle is, as plain values; hashes are checked only with `verify`.

    Raises:
        UserError: it is no bundle, or a broken one.
    """
    from seas_runtime.bundle import Bundle

    bundle = Bundle.read(path, verify=verify)
    manifest = bundle.manifest
    return {
        "bundle": str(path),
        "fingerprint": bundle.fingerprint,
        "schema": manifest.schema,
        "method": manifest.method,
        "product": manifest.product,
        "defects": list(manifest.defects),
        "image": {"height": manifest.image.height, "width": manifest.image.width},
        "latent": [manifest.latent.channels, manifest.latent.height, manifest.latent.width],
        "prompts": dict(manifest.prompts),
        "sampler": {
            "name": manifest.sampler.name,
            "steps": manifest.sampler.steps,
            "guidance": manifest.sampler.guidance,
            "mask_steps": manifest.sampler.mask_steps,
        },
        "schedules": sorted(bundle.schedules),
        "tau": manifest.tau,
        "precision": manifest.precision,
        "target": manifest.target,
        "opset": manifest.opset,
        "references": int(bundle.references.shape[0]),
        "graphs": sorted(manifest.graphs),
        "files": len(manifest.files),
        "size": sum(entry.size for entry in manifest.files.values()),
        "parity": dict(manifest.parity),
        "provenance": dict(manifest.provenance),
        "licences": [
            {"name": licence.name, "applies_to": licence.applies_to} for licence in manifest.licences
        ],
    }


def in_words(facts: dict[str, Any]) -> str:
    """What `describe_bundle` found, as a person would say it."""
    sampler, image = facts["sampler"], facts["image"]
    tables = [name for name in facts["schedules"] if name != f"{sampler['name']}/{sampler['steps']}"]
    lines = [
        f"{facts['bundle']}: makes pairs of {facts['product']!r} by the method {facts['method']}.",
        f"Defects: {', '.join(facts['defects']) or 'none'}; and `good` for normals.",
        f"Images: {image['width']}x{image['height']} pixels, from latents of "
        f"{'x'.join(str(side) for side in facts['latent'])}; "
        f"{facts['references']} normal images to start from.",
        f"Sampling: {sampler['name']}, {sampler['steps']} steps, guidance {sampler['guidance']:g}; "
        "the mask is the mean "
        f"of the last {sampler['mask_steps']} steps, cut at {facts['tau']:g}.",
        *([f"Other schedules: {', '.join(tables)}."] if tables else []),
        f"Built for: {facts['target']}, {facts['precision']}, opset {facts['opset']}.",
        f"Holds: {facts['files']} files, {facts['size'] / 2**20:.1f} MiB; "
        f"graphs {', '.join(facts['graphs'])}.",
        "Prompts:",
        *(f"  {name}: {prompt}" for name, prompt in facts["prompts"].items()),
        f"Parity: {_parity(facts['parity'])}",
        "Comes from:",
        *(f"  {name}: {_short(value)}" for name, value in facts["provenance"].items()),
        "Licences that what it makes inherits: "
        + (
            "; ".join(f"{licence['name']} ({licence['applies_to']})" for licence in facts["licences"])
            or "none named"
        ),
        f"Fingerprint: {facts['fingerprint']}",
    ]
    return "\n".join(lines)


def _parity(figures: dict[str, Any]) -> str:
    """Whether and how it was checked against PyTorch."""
    if not figures:
        return "not measured; seas-export verify BUNDLE --parity --checkpoint CHECKPOINT measures it."
    if "passed" in figures:
        return "every figure within its bound when exported." if figures["passed"] else "OUTSIDE its bounds."
    return "measured when exported; see --json for the figures."


def _short(value: Any) -> str:
    """A value of the provenance in one line."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {entry}" for name, entry in value.items())
    return str(value)

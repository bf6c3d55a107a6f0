"""A bundle in words."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from seas_runtime.printable import printable_values
from seas_runtime.units import mib

if TYPE_CHECKING:
    from seas_runtime.bundle.reading import Bundle


def describe_bundle(
    path: Path, verify: bool = False, require_signature: Path | None = None
) -> dict[str, Any]:
    """What a bundle is, as plain values; hashes are checked only with `verify`, a signature with its key.

    With `verify` the engines' hashes are compared too.

    Raises:
        UserError: it is no bundle, or a broken one.
    """
    from seas_runtime.bundle.reading import Bundle, find_clutter
    from seas_runtime.methods.table import find_method

    bundle = Bundle.read(path, verify, require_signature)
    manifest = bundle.manifest
    described = find_method(manifest.method).describe(bundle)
    return {
        "bundle": str(path),
        "fingerprint": bundle.fingerprint,
        "schema": manifest.schema,
        "method": manifest.method,
        "product": manifest.product,
        "product_label": manifest.shown_product,
        "defects": list(manifest.defects),
        "labels": {name: manifest.label(name) for name in manifest.defects},
        "image": {"height": manifest.image.height, "width": manifest.image.width},
        "latent": [manifest.latent.channels, manifest.latent.height, manifest.latent.width],
        "prompts": dict(manifest.prompts),
        "sampler": {
            "name": manifest.sampler.name,
            "steps": manifest.sampler.steps,
            "guidance": manifest.sampler.guidance,
        },
        "schedules": sorted(bundle.schedules),
        "generation": dict(manifest.generation),
        "backgrounds": len(bundle.backgrounds),
        "shapes": {name: len(bundle.shapes.get(name, ())) for name in manifest.defects},
        **{name: value for name, (value, _) in described.items()},
        "in_words": [f"{words[:1].upper()}{words[1:]}: {value}." for value, words in described.values()],
        "precision": manifest.precision,
        "target": manifest.target,
        "opset": manifest.opset,
        "graphs": sorted(manifest.graphs),
        "files": len(manifest.files),
        "size": sum(entry.size for entry in manifest.files.values()),
        "half": dict(manifest.half),
        "int8": dict(manifest.int8),
        "parity": dict(manifest.parity),
        "engines": describe_engines(bundle, verify),
        "clutter": find_clutter(path),
        "provenance": dict(manifest.provenance),
        "licences": [
            {"name": licence.name, "applies_to": licence.applies_to} for licence in manifest.licences
        ],
    }


def in_words(facts: dict[str, Any]) -> str:
    """What `describe_bundle` found, as a person would say it; no value of the bundle begins a line."""
    facts = printable_values(facts)
    sampler, image = facts["sampler"], facts["image"]
    tables = [name for name in facts["schedules"] if name != f"{sampler['name']}/{sampler['steps']}"]
    defects = [_called(name, facts["labels"][name]) for name in facts["defects"]]
    product = _called(repr(facts["product"]), facts["product_label"])
    lines = [
        f"{facts['bundle']}: makes pairs of {product} by the method {facts['method']}.",
        f"Defects: {', '.join(defects) or 'none'}; and `good` for normals.",
        f"Images: {image['width']}x{image['height']} pixels, from latents of "
        f"{'x'.join(str(side) for side in facts['latent'])}.",
        *facts["in_words"],
        _placement_line(facts),
        f"Sampling: {sampler['name']}, {sampler['steps']} steps, guidance {sampler['guidance']:g}.",
        *([f"Other schedules: {', '.join(tables)}."] if tables else []),
        f"Built for: {facts['target']}, {facts['precision']}, opset {facts['opset']}.",
        *_half_lines(facts["half"]),
        *_int8_lines(facts["int8"]),
        f"Holds: {facts['files']} files, {mib(facts['size'])}; graphs {', '.join(facts['graphs'])}.",
        "Prompts:",
        *(f"  {name}: {prompt}" for name, prompt in facts["prompts"].items()),
        f"Parity: {_parity(facts['parity'])}",
        *_engine_lines(facts["engines"]),
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


def _placement_line(facts: dict[str, Any]) -> str:
    """What a bundle brings for pairs that are drawn into photographs."""
    shapes = [f"{count} of {_called(name, facts['labels'][name])}" for name, count in facts["shapes"].items()]
    known = ", ".join(shapes) if any(facts["shapes"].values()) else "none"
    return f"Photographs to draw into: {facts['backgrounds'] or 'none'}. Shapes of training masks: {known}."


def describe_engines(bundle: Bundle, verify: bool = False) -> dict[str, Any]:
    """What engines lie in a bundle, as plain values; their hashes are computed only with `verify`.

    `state` is `current`, or `stale` where the graph or its weights have changed since. `trust` is `signed`
    where the bundle's signature, which was asked for, covers it, `sealed` where it was built here, and else
    nothing. `damaged` says, one text each, what cannot be believed.
    """
    from seas_runtime.engines.errors import EngineDamaged
    from seas_runtime.engines.store import EngineStore

    store, manifest = EngineStore.of(bundle), bundle.manifest
    try:
        found, damaged = store.engines()
    except EngineDamaged as error:
        found, damaged = (), (error,)
    problems = [str(error) for error in damaged]
    listed = []
    for engine in found:
        if verify:
            try:
                store.verify(engine)
            except EngineDamaged as error:
                problems.append(str(error))
                continue
        made = engine.identity
        known = made.graph in manifest.graphs
        listed.append(
            {
                "graph": made.graph,
                "target": made.target,
                "version": made.backend_version,
                "devices": list(made.devices),
                "precision": made.precision,
                "batch": made.batch.text,
                "size": engine.record.file.size,
                "shipped": engine.record.shipped,
                "state": "current" if known and store.content(made.graph) == made.content else "stale",
                "trust": engine.trust,
                "key": made.key,
            }
        )
    return {"found": listed, "damaged": problems}


def _engine_lines(engines: dict[str, Any]) -> list[str]:
    """A line for each engine, and each that is damaged."""
    lines = [
        f"  {entry['graph']}: {entry['target']} {entry['version']} on {', '.join(entry['devices'])}, "
        f"{entry['precision']}, batch {entry['batch']}, {mib(entry['size'])}, {entry['state']}"
        f"{', shipped' if entry['shipped'] else ''}, {entry['trust'] or 'not sealed by this machine'}"
        for entry in engines["found"]
    ]
    lines += [f"  damaged: {text}" for text in engines["damaged"]]
    return ["Engines:", *lines] if lines else ["Engines: none."]


def _called(name: str, label: str) -> str:
    """A name, with what people call it where that is something else."""
    return name if label in (name, name.strip("'")) else f"{name} ({label})"


def _parity(figures: dict[str, Any]) -> str:
    """Whether and how it was checked against PyTorch."""
    if not figures:
        return "not measured; seas-export verify BUNDLE --parity --checkpoint CHECKPOINT measures it."
    if "passed" in figures:
        return "every figure within its bound when exported." if figures["passed"] else "OUTSIDE its bounds."
    return "measured when exported; see --json for the figures."


def _half_lines(half: dict[str, Any]) -> list[str]:
    """What stays in float32 in a bundle that says so."""
    if not half:
        return []
    counts = [f"{len(names)} in {part}" for part, names in half["float32"].items() if names]
    return [f"Nodes that stay in float32, as measured: {', '.join(counts) or 'none'}."]


def _int8_lines(int8: dict[str, Any]) -> list[str]:
    """What stays in float in an int8 bundle, and how far its pairs are from float32."""
    if not int8:
        return []
    counts = [f"{len(names)} in {graph}" for graph, names in int8["float32"].items() if names]
    pairs = int8.get("pairs")
    apart = f" Pairs: {pairs['psnr']:g} dB and IoU {pairs['iou']:g} from float32." if pairs else ""
    return [f"Layers whose input stays in float, as measured: {', '.join(counts) or 'none'}.{apart}"]


def _short(value: Any) -> str:
    """A value of the provenance in one line."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {entry}" for name, entry in value.items())
    return str(value)

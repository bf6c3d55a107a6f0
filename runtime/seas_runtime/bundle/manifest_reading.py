"""Reads `manifest.json` strictly: whatever it holds, the outcome is a valid Manifest or a UserError."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from seas_runtime.clutter import is_clutter
from seas_runtime.errors import UserError
from seas_runtime.manifest.fields import (
    RESERVED_NAMES,
    Fields,
    describe,
    is_portable_path,
    is_safe_name,
    listed,
)
from seas_runtime.manifest.signatures import check_signatures
from seas_runtime.manifest.types import (
    DTYPES,
    GOOD,
    PRECISIONS,
    SCHEDULE,
    SCHEMA,
    SCHEMAS,
    FileEntry,
    GraphSpec,
    ImageGeometry,
    LatentGeometry,
    Licence,
    Manifest,
    SamplerDefaults,
    TensorSpec,
)
from seas_runtime.methods.table import METHODS, find_method
from seas_runtime.printable import printable

_OUTSIDE = (
    "manifest.json",
    "model.sig",
    "engines",
)  # what the manifest cannot list: itself, and what may change
MAX_LABEL = 1024
"""Characters: a file's name has at most 255, and each may be written as an escape."""
MANIFEST_SIZE_LIMIT = 8 << 20
"""Bytes. What a parser makes of them takes up to fifty times as many; ours have some ten thousand."""
MOST_DEFECTS, MOST_GRAPHS, MOST_TENSORS, MOST_FILES, MOST_LICENCES = 1000, 64, 256, 1024, 1000
MOST_PIXELS, MOST_LATENTS = 4096 * 4096, 1 << 27
LARGEST_SIZE, MOST_DIMENSIONS = 1 << 31, 8
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")


def read_manifest(value: object, where: str) -> Manifest:
    """Check a parsed manifest strictly; `where` starts every error.

    Raises UserError naming the key, what was expected and what was found, or, for a schema from the future,
    asking to update.
    """
    fields = Fields(value, where)
    schema = _read_schema(fields)
    method = find_method(fields.choice("method", tuple(METHODS)))
    defects = _read_defects(fields)
    sampler, generation = _read_sampling(fields, schema)
    method.check_generation(Fields(generation, f"{where}.generation"), sampler)
    manifest = Manifest(
        schema=schema,
        method=method.name,
        product=fields.name("product"),
        defects=defects,
        image=_read_image(fields.fields("image")),
        latent=_read_latent(fields.fields("latent")),
        preprocessing=MappingProxyType(fields.mapping("preprocessing")),
        prompts=_read_prompts(fields, defects),
        unconditional=fields.text("unconditional", empty=True),
        sampler=sampler,
        generation=MappingProxyType(generation),
        precision=fields.choice("precision", PRECISIONS),
        opset=fields.integer("opset", 1, 1000),
        target=fields.text("target"),
        graphs=_read_graphs(fields),
        tables=_read_tables(fields.fields("tables"), method.tables, method.optional_tables),
        parity=MappingProxyType(fields.mapping("parity")),
        files=_read_files(fields),
        provenance=MappingProxyType(fields.mapping("provenance")),
        licences=_read_licences(fields),
        half=_read_choice(fields, "half"),
        int8=_read_choice(fields, "int8"),
        product_label=_read_label(fields, "product_label") if fields.has("product_label") else "",
        labels=_read_labels(fields, defects),
    )
    fields.close()
    latent = manifest.latent
    numbers = latent.channels * latent.height * latent.width * sampler.steps
    if numbers > MOST_LATENTS:
        raise UserError(
            f"{where}.latent: expected at most {MOST_LATENTS} numbers in the latents of all steps, "
            f"found {numbers}"
        )
    _check_references(manifest, where)
    check_signatures(manifest.graphs, method.signatures(manifest), method.graphs, where)
    return manifest


def check_relative_path(path: str, where: str) -> None:
    """Refuse a path that could leave the bundle, or mean different files on different systems."""
    if not is_portable_path(path):
        raise UserError(
            f"{where}: the path {describe(path)} is refused: expected a path inside the bundle, "
            "relative, with '/' between folders and without '..', of names that every system has"
        )
    if any(map(is_clutter, path.split("/"))):
        raise UserError(
            f"{where}: the path {describe(path)} is refused: files of that name are left by systems and are "
            "never read"
        )
    if path.split("/")[0].casefold() in _OUTSIDE:
        raise UserError(f"{where}: the path {describe(path)} is refused: the manifest does not list it")


def _read_schema(fields: Fields) -> int:
    schema = fields.raw("schema")
    if isinstance(schema, int) and not isinstance(schema, bool) and schema > SCHEMA:
        raise UserError(
            f"{fields.where}: schema {describe(schema)} is newer than this version reads ({SCHEMA}); "
            "update seas-export"
        )
    return fields.integer("schema", min(SCHEMAS), SCHEMA)


def _read_defects(fields: Fields) -> tuple[str, ...]:
    names = fields.items("defects", MOST_DEFECTS)
    for name in names:
        if not isinstance(name, str) or not is_safe_name(name) or name.casefold() in RESERVED_NAMES:
            fields.fail("defects", f"names usable as folders, other than {', '.join(RESERVED_NAMES)}", name)
    if not names:
        fields.fail("defects", "at least one defect", names)
    if len({name.casefold() for name in names}) != len(names):
        fields.fail("defects", "names that differ in more than their case", names)
    return tuple(names)


def _read_labels(fields: Fields, defects: tuple[str, ...]) -> Mapping[str, str]:
    """Read what people call the defects; bundles of earlier versions, and those of safe names, do not say."""
    if not fields.has("labels"):
        return MappingProxyType({})
    labels = fields.mapping("labels")
    if not set(labels) <= set(defects):
        fields.fail("labels", f"labels of {', '.join(defects)}", sorted(labels))
    inside = Fields(labels, f"{fields.where}.labels")
    return MappingProxyType({name: _read_label(inside, name) for name in labels})


def _read_label(fields: Fields, key: str) -> str:
    """Read a name as people spell it: for the eye alone, so nothing in it may act on a terminal or hide."""
    label = fields.text(key)
    if len(label) > MAX_LABEL or printable(label) != label:
        fields.fail(key, f"text of at most {MAX_LABEL} characters that can be printed", label)
    return label


def _read_image(fields: Fields) -> ImageGeometry:
    result = ImageGeometry(fields.integer("height", 8, 16384), fields.integer("width", 8, 16384))
    fields.close()
    if result.pixels > MOST_PIXELS:
        fields.fail("height", f"at most {MOST_PIXELS} pixels an image", result.pixels)
    return result


def _read_latent(fields: Fields) -> LatentGeometry:
    result = LatentGeometry(
        channels=fields.integer("channels", 1, 256),
        height=fields.integer("height", 1, 4096),
        width=fields.integer("width", 1, 4096),
        scaling_factor=fields.number("scaling_factor", 1e-6, 1e6),
    )
    fields.close()
    return result


def _read_prompts(fields: Fields, defects: tuple[str, ...]) -> Mapping[str, str]:
    prompts = fields.mapping("prompts")
    expected = {GOOD, *defects}
    if set(prompts) != expected or not all(isinstance(prompt, str) for prompt in prompts.values()):
        fields.fail("prompts", f"a text for each of {listed(sorted(expected))}", prompts)
    return MappingProxyType(prompts)


def _read_sampling(whole: Fields, schema: int) -> tuple[SamplerDefaults, dict[str, Any]]:
    """Read the sampler's defaults and what the method generates by, which schema 1 had among others."""
    fields = whole.fields("sampler")
    name = fields.text("name")
    if not re.fullmatch(r"[a-z0-9_]{1,64}", name):
        fields.fail("name", "a name of lowercase letters, digits and _", name)
    steps = fields.integer("steps", 1, 1000)
    sampler = SamplerDefaults(name, steps, fields.number("guidance", 0.0, 100.0))
    if schema == 1:
        mask_steps = fields.integer("mask_steps", 1, steps)
        generation: dict[str, Any] = {"mask_steps": mask_steps, "tau": whole.number("tau", 0.0, 1.0)}
    else:
        generation = whole.mapping("generation")
    fields.close()
    return sampler, generation


def _read_graphs(fields: Fields) -> Mapping[str, GraphSpec]:
    graphs: dict[str, GraphSpec] = {}
    for name, value in fields.mapping("graphs", MOST_GRAPHS).items():
        entry = Fields(value, f"{fields.where}.graphs.{describe(name)[1:-1]}")
        graphs[name] = GraphSpec(
            entry.text("file"), _read_tensors(entry, "inputs"), _read_tensors(entry, "outputs")
        )
        entry.close()
    return MappingProxyType(graphs)


def _read_tensors(fields: Fields, key: str) -> tuple[TensorSpec, ...]:
    tensors = []
    for index, value in enumerate(fields.items(key, MOST_TENSORS)):
        entry = Fields(value, f"{fields.where}.{key}[{index}]")
        shape = entry.items("shape", MOST_DIMENSIONS)
        for size in shape:
            is_size = isinstance(size, int) and not isinstance(size, bool) and 0 < size <= LARGEST_SIZE
            if not is_size and not (isinstance(size, str) and size):
                entry.fail("shape", "positive sizes or names of dynamic ones", shape)
        tensors.append(TensorSpec(entry.text("name"), entry.choice("dtype", DTYPES), tuple(shape)))
        entry.close()
    names = [tensor.name for tensor in tensors]
    if len(set(names)) != len(names):
        fields.fail(key, "names that differ", names)
    return tuple(tensors)


def _read_tables(fields: Fields, names: Sequence[str], optional: Sequence[str]) -> Mapping[str, str]:
    there = [name for name in optional if fields.has(name)]
    tables = {name: fields.text(name) for name in (*names, *there, SCHEDULE)}
    fields.close()
    return MappingProxyType(tables)


def _read_choice(fields: Fields, key: str) -> Mapping[str, Any]:
    """Read which nodes of an fp16 or int8 bundle stay in float32; earlier ones do not say."""
    if not fields.has(key):
        return MappingProxyType({})
    choice = fields.mapping(key)
    parts = choice.get("float32")
    if not isinstance(parts, dict) or not all(
        isinstance(names, list) and all(isinstance(name, str) for name in names) for names in parts.values()
    ):
        fields.fail(key, "the names of nodes by part under `float32`", choice)
    return MappingProxyType(choice)


def _read_files(fields: Fields) -> Mapping[str, FileEntry]:
    files: dict[str, FileEntry] = {}
    for path, value in fields.mapping("files", MOST_FILES).items():
        check_relative_path(path, f"{fields.where}.files")
        entry = Fields(value, f"{fields.where}.files[{describe(path)}]")
        sha256 = entry.text("sha256")
        if not _SHA256.match(sha256):
            entry.fail("sha256", "64 lowercase hexadecimal digits", sha256)
        files[path] = FileEntry(sha256, entry.integer("size", 0, 1 << 50))
        entry.close()
    if len({path.casefold() for path in files}) != len(files):
        fields.fail("files", "paths that differ in more than their case", sorted(files))
    return MappingProxyType(files)


def _read_licences(fields: Fields) -> tuple[Licence, ...]:
    licences = []
    for index, value in enumerate(fields.items("licences", MOST_LICENCES)):
        entry = Fields(value, f"{fields.where}.licences[{index}]")
        text = entry.text("text", empty=True) if entry.has("text") else None
        licences.append(Licence(entry.text("name"), entry.text("applies_to"), text))
        entry.close()
    return tuple(licences)


def _check_references(manifest: Manifest, where: str) -> None:
    """Refuse a graph or table whose file is not among `files`, and so has no hash."""
    used = {f"graphs.{name}.file": graph.file for name, graph in manifest.graphs.items()}
    used.update({f"tables.{name}": path for name, path in manifest.tables.items()})
    for key, path in used.items():
        check_relative_path(path, f"{where}.{key}")
        if path not in manifest.files:
            raise UserError(f"{where}.{key}: expected a file listed under 'files', found {describe(path)}")
        if key.startswith("graphs.") and not path.endswith(".onnx"):  # by other names libraries tell others
            raise UserError(f"{where}.{key}: expected an ONNX file, called .onnx, found {describe(path)}")

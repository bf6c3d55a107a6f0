"""What the kept bundles gave when they were made: how it is asked for, and how it is written down."""

from __future__ import annotations

import hashlib
import importlib.metadata
import itertools
import json
import os
import platform
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, features

from seas_runtime import DatasetRequest, GeneratedPair, Generator, Sampling, write_dataset

KEPT = Path(__file__).parent / "schema1"
BUNDLES = ("toy", "exported")
DEFECTS = {"toy": ("broken_large", "stain", "good"), "exported": ("chip", "scratch", "good")}
SEEDS = (0, 7, 2**62 + 3)
RECORD = (
    *("seed", "index", "defect", "accepted", "attempts", "reference", "sampler", "steps", "guidance", "tau"),
    "bundle",
)
"""A record's fields, but for its times."""
ATTEMPT = ("attempt", "reference", "mask_area", "rejected")
BLENDS = {
    *("graphs/step.onnx", "graphs/step_unguided.onnx", "graphs/encode_image.onnx"),
    *("tables/schedule.safetensors", "manifest.json"),
}
"""Files that the blend has changed or added since."""
_CPU_FLAGS = ("avx", "avx2", "fma", "avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx_vnni", "amx_tile")
_DATASETS = {
    "toy": DatasetRequest(("all",), 6, seed=3, batch=4, sampling=Sampling("ddim_eta", 4)),
    "exported": DatasetRequest(("chip", "good"), 3, seed=3, batch=2, sampling=Sampling(tau=0.8)),
}


def open_bundle(name: str, folder: Path) -> Path:
    """Copy a kept bundle into a folder that may be spoilt; return it."""
    if name == "exported":  # graphs repeat the same names again and again: a tenth of the bytes
        shutil.unpack_archive(KEPT / "exported.tar.xz", folder)
        return folder / "exported"
    return Path(shutil.copytree(KEPT / name, folder / name))


def requests(bundle: str) -> list[dict[str, Any]]:
    """Return the requests whose pairs are known: options of `Generator.generate`."""
    if bundle == "toy":
        samplers = (("dpmpp_2m", None), ("dpmpp_2m", 3), ("ddim_eta", 4))
        options = itertools.product(DEFECTS[bundle], SEEDS, (1, 4), (None, 1.0), samplers, (True, False))
        return [
            _request(defect, seed, batch, guidance, *sampler, gate)
            for defect, seed, batch, guidance, sampler, gate in options
        ]
    return [
        _request("chip", 0, 4, None, None, None, True),
        _request("scratch", 7, 4, 1.0, "ddim", 10, True),
        _request("good", 7, 4, None, None, None, True),
        _request("chip", 7, 1, None, "ddim", 10, False),
        _request("scratch", SEEDS[2], 1, 1.0, None, None, False),
        _request("good", 0, 4, 5.0, "ddim", None, False),
        {**_request("chip", 7, 4, 1.0, None, 10, False), "start": 5, "count": 5},
    ]


def _request(
    defect: str,
    seed: int,
    batch: int,
    guidance: float | None,
    sampler: str | None,
    steps: int | None,
    gate: bool,
) -> dict[str, Any]:
    return {
        "defect": defect,
        "count": 12,
        "seed": seed,
        "start": 0,
        "batch": batch,
        "guidance": guidance,
        "sampler": sampler,
        "steps": steps,
        "gate": gate,
    }


def key(request: dict[str, Any]) -> str:
    """Return a request in words."""
    return " ".join(f"{name}={value}" for name, value in request.items())


def run(generator: Generator, request: dict[str, Any]) -> dict[str, str]:
    """Return the SHA-256 of a request's images, masks, probabilities and records, each over all its pairs."""
    pairs = list(generator.generate(**request))
    return {
        "image": digest(pair.image.tobytes() for pair in pairs),
        "mask": digest(pair.mask.tobytes() for pair in pairs),
        "probability": digest(pair.probability.tobytes() for pair in pairs),
        "record": digest(record_line(pair.record.to_dict()) for pair in pairs),
    }


def samples(generator: Generator, bundle: str) -> dict[str, np.ndarray]:
    """Return four pairs, thinned out: for where another ONNX Runtime or processor rounds otherwise."""
    sampler, step = (("ddim_eta", 4), 8) if bundle == "toy" else ((None, None), 2)
    request = _request(DEFECTS[bundle][1], 7, 4, None, *sampler, False)
    pairs: list[GeneratedPair] = list(generator.generate(**{**request, "count": 4}))
    thin = (slice(None), slice(step // 2, None, step), slice(step // 2, None, step))
    probability = np.stack([pair.probability for pair in pairs])[thin]
    return {
        f"{bundle}_image": np.stack([pair.image for pair in pairs])[thin],
        f"{bundle}_probability": np.rint(probability * 65535).astype(np.uint16),
    }


def dataset(generator: Generator, bundle: str, out: Path) -> dict[str, Any]:
    """Write a dataset; return what its files hold, without what differs from run to run."""
    write_dataset(generator, _DATASETS[bundle], out)
    return describe_dataset(out)


def describe_dataset(out: Path) -> dict[str, Any]:
    """Return a written dataset's description, records and pictures: SHA-256 of pixels and of files."""
    files = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    description = json.loads((out / "dataset.json").read_bytes())
    assert description.pop("backend_version")
    records = [json.loads(line) for line in (out / "records.jsonl").read_bytes().splitlines()]
    pictures = [file for file in files if file.endswith(".png")]
    return {
        "files": files,
        "description": description,
        "records": [digest([record_line(record), json.dumps(record["files"])]) for record in records],
        "pixels": {file: digest([np.asarray(Image.open(out / file)).tobytes()]) for file in pictures},
        "png": {file: digest([(out / file).read_bytes()]) for file in pictures},
    }


def dataset_words(bundle: str) -> list[str]:
    """Return the options of `seas-export generate` for the same dataset."""
    request = _DATASETS[bundle]
    words = ["--count", request.count, "--seed", request.seed, "--batch", request.batch]
    for defect in request.defects:
        words += ["--defect", defect]
    for name in ("sampler", "steps", "tau"):
        if getattr(request.sampling, name) is not None:
            words += [f"--{name}", getattr(request.sampling, name)]
    return [str(word) for word in words]


def record_line(record: dict[str, Any]) -> str:
    """Return a record's known fields but for its times, always written alike."""
    attempts = [{name: attempt[name] for name in ATTEMPT} for attempt in record["attempts"]]
    return json.dumps({name: record[name] for name in RECORD} | {"attempts": attempts})


def digest(parts: Iterable[bytes | str]) -> str:
    """Return the SHA-256 of bytes and texts one after another."""
    hashed = hashlib.sha256()
    for part in parts:
        hashed.update(part.encode() if isinstance(part, str) else part)
    return hashed.hexdigest()


def file_digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of a bundle's files, the manifest's without its versions and parity figures."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    found = {path.relative_to(folder).as_posix(): digest([path.read_bytes()]) for path in files}
    return found | {"manifest.json": digest([json.dumps(plain_manifest(folder))])}


def exported_alike(folder: Path, expected: dict[str, str], processor_too: bool) -> list[str]:
    """Return which of a bundle's files are not the expected ones.

    PyTorch computes the embeddings: on another processor their last bits, and so their hash in the manifest,
    may be others.
    """
    found = file_digests(folder)
    free = () if processor_too else ("tables/embeddings.safetensors", "manifest.json")
    names = sorted({*found, *expected})
    return [name for name in names if name not in free and found.get(name) != expected.get(name)]


def plain_manifest(folder: Path) -> dict[str, Any]:
    """Return a bundle's manifest as schema 1 has it, without what another machine writes otherwise."""
    manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_bytes())
    if manifest["schema"] == 2:
        generation = manifest.pop("generation")
        manifest["sampler"]["mask_steps"] = generation["mask_steps"]
        order = ("embeddings", "schedule", "references")
        manifest["tables"] = {name: manifest["tables"][name] for name in order}
        manifest = {"schema": 1} | {key: value for key, value in manifest.items() if key != "schema"}
        items = list(manifest.items())
        place = list(manifest).index("sampler") + 1
        manifest = dict([*items[:place], ("tau", generation["tau"]), *items[place:]])
    for name in ("packages", "seas_export"):
        del manifest["provenance"][name]
    del manifest["parity"]
    return manifest


def machine() -> dict[str, Any]:
    """Return what decides the last bits of generated pairs: ONNX Runtime and the processor."""
    import onnxruntime

    return {"onnxruntime": onnxruntime.__version__, "processor": processor()}


def processor() -> dict[str, Any]:
    """Return what decides which kernels libraries take: the vendor, and the vector instructions."""
    kind = {"system": platform.system(), "architecture": platform.machine()}
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    except OSError:
        return {**kind, "vendor": platform.processor(), "flags": []}
    facts = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    flags = set(facts.get("flags", "").split())
    present = [flag for flag in _CPU_FLAGS if flag in flags]
    return {**kind, "vendor": facts.get("vendor_id", ""), "flags": present}


def png_writer() -> dict[str, Any]:
    """Return what decides the bytes of a PNG file of the same pixels."""
    return {"pillow": importlib.metadata.version("pillow"), "zlib": features.version("zlib")}


def versions(*packages: str) -> dict[str, str]:
    """Return the versions of installed packages; PyTorch's without the name of its build."""
    return {name: importlib.metadata.version(name).split("+")[0] for name in packages}


def environment(paths: Iterable[str]) -> dict[str, str]:
    """Return the environment of a second process that imports what this one can."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}


def read(name: str) -> Any:
    """Return the kept JSON file of that name."""
    return json.loads((KEPT / name).read_text(encoding="utf-8"))

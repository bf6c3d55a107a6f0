"""Builds TensorRT-RTX engines of a bundle without a GPU: seconds, peak memory and size of each.

    python benchmarks/rtx_build.py BUNDLE --device 8.6,8.9,12.0 --batch 1:4:16

Everything is built anew, and removed afterwards unless --keep is given. The result goes to
benchmarks/results/rtx_build.json, an entry for each name; those of others stay.
"""

from __future__ import annotations

import json
import resource
import time
from pathlib import Path

from machine import result_parser, write_entry

from seas_engines.building.compile import compile_bundle
from seas_engines.targets.options import EngineOptions
from seas_runtime.bundle.reading import Bundle
from seas_runtime.engines.record import BatchRange
from seas_runtime.engines.store import EngineStore

GIB = 1 << 30


def main() -> None:
    """Build, and write what it took."""
    parser = result_parser("rtx_build", __doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--device", default="8.6,8.9,12.0")
    parser.add_argument("--batch", default="1:4:16")
    parser.add_argument("--name", default=None, help="of the entry; by default the base's name")
    parser.add_argument("--keep", action="store_true", help="leave the engines in the bundle")
    arguments = parser.parse_args()
    manifest = Bundle.read(arguments.bundle).manifest
    store = EngineStore(arguments.bundle, manifest)
    for engine in store.engines()[0]:  # so that nothing is reused, the choice of float32 nodes neither
        store.remove(engine)
    options = EngineOptions(
        "rtx", arguments.device, batch=BatchRange.parse(arguments.batch), ship=True, force=True
    )
    began = time.perf_counter()
    result = compile_bundle(arguments.bundle, options, say=print)
    total = time.perf_counter() - began
    engines, _ = store.engines()
    facts = {engine.identity.graph: engine.record.facts for engine in engines}
    entry = {
        "tensorrt_rtx": result.version,
        "image": manifest.image.width,
        "bundle_precision": manifest.precision,
        "devices": arguments.device,
        "batch": arguments.batch,
        "seconds": round(total, 1),
        "builder_seconds": round(sum(made.seconds or 0 for made in result.engines), 1),
        "largest_process_gib": round(
            max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
            * 1024
            / GIB,
            2,
        ),
        "engines": {
            made.graph: {
                "precision": made.precision,
                "strongly_typed": facts[made.graph]["strongly_typed"],
                "batch": made.batch,
                "seconds": made.seconds,
                "peak_gib": round((made.peak or 0) / GIB, 2),
                "mib": round(made.size / 2**20, 1),
                "half": {
                    **facts[made.graph].get("half", {}),
                    "float32": len(facts[made.graph].get("half", {}).get("float32", [])),
                    "overflowing": len(facts[made.graph].get("half", {}).get("overflowing", [])),
                },
            }
            for made in result.engines
        },
    }
    if not arguments.keep:
        for engine in engines:
            store.remove(engine)
    base = manifest.provenance.get("base", {})
    name = arguments.name or (base.get("name") if isinstance(base, dict) else str(base))
    write_entry(arguments.out, str(name), entry)
    print(json.dumps(entry, indent=2))


if __name__ == "__main__":
    main()

"""What a pair costs, counted from a bundle's graphs; `decode.py` measures the time of its decodes.

    python benchmarks/operations.py --bundle sd14/bundle

Writes benchmarks/results/operations.json. Exits with 1 where `decode_mask` takes more than 0.83 of the
operations of a whole VAE decode and the mask head.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from machine import describe_machine

from seas_export.operations import count_graph, count_pair
from seas_runtime.bundle.reading import Bundle
from seas_runtime.files import write_json

RESULTS = Path(__file__).parent / "results" / "operations.json"
BAR = 0.83


def main() -> int:
    """Count, write, print; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    manifest = Bundle.read(options.bundle, verify=False).manifest
    counted = count_pair(options.bundle, manifest)
    kinds = {
        name: {
            kind: round(count / 1e12, 6)
            for kind, count in count_graph(options.bundle / spec.file).by_kind.items()
        }
        for name, spec in manifest.graphs.items()
    }
    result = {
        "benchmark": "operations",
        "base": manifest.provenance["base"]["name"],
        "image": manifest.image.width,
        "steps": manifest.sampler.steps,
        "precision": manifest.precision,
        **counted.to_dict(),
        "tflop_by_kind_per_item": kinds,
        "bar": BAR,
    }
    passed = counted.decode_share <= BAR
    write_json(options.out, {**result, "passed": passed, "machine": describe_machine()})
    print({key: result[key] for key in ("tflop", "tflop_per_pair", "tflop_per_pair_authors")})
    print(f"decode_mask: {counted.decode_share:.3f} of the operations of a whole decode and the mask head")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())

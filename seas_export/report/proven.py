"""What a build's proof says of its pairs, for the report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seas_export.report.content import Proven, Table


def proven(out: Path, build: Mapping[str, Any]) -> Proven | None:
    """Return the table and sentences of a build's proof; None where there is none of these very pairs.

    build: the content of build.json.
    """
    from seas_runtime.files import read_json

    parts = build["parts"]
    part = parts.get("prove")
    file = out / "proof" / "proof.json"
    if part is None or not part["output"] or not file.is_file():
        return None
    if part["inputs"]["dataset"] != parts["generate"]["output"]:
        return None  # of pairs that were made before
    found = read_json(file, "proof")
    titles, rows = found["table"]["titles"], found["table"]["rows"]
    tested = found["tested on"]
    words = (
        f"Segmenters, {found['model']}, trained on real pairs with and without generated ones; tested on "
        f"{tested['pairs']} pairs and {tested['normals']} normals that did not train ({tested['half']} "
        "half). Per cent, mean and spread over seeds."
    )
    table = Table("All defects, pooled", tuple(titles), tuple(tuple(row) for row in rows))
    return Proven(words, table, tuple(found["sentences"]), tuple(found["notes"]))

"""What a build made, to print."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from seas_runtime.units import duration


@dataclass(frozen=True)
class BuildResult:
    """What a build made."""

    product: str
    source: str
    """Where the photographs came from, in words."""
    out: Path
    parts: dict[str, float]
    """Seconds that each part took when it was made."""
    made: dict[str, Path]
    pairs: dict[str, int]
    """How many of each defect the gates let through."""
    notes: tuple[str, ...]
    seconds: float
    """Of this run."""

    @classmethod
    def of(
        cls,
        product: str,
        source: str,
        out: Path,
        parts: dict[str, float],
        made: dict[str, Path],
        seconds: float,
    ) -> BuildResult:
        """Count the pairs of the data set that was made."""
        from seas_export.report.gather import gate_counts, notes, read_records

        gates = list(gate_counts(list(read_records(made["dataset"]))))
        pairs = {gate.name: gate.pairs - gate.given_up for gate in gates}
        return cls(product, source, out, parts, made, pairs, tuple(notes(gates)), seconds)

    def to_text(self) -> str:
        """The folders and files that were made, the pairs in each, and what was odd."""
        pairs = ", ".join(f"{count} {name}" for name, count in self.pairs.items())
        words = {"dataset": f"  {pairs}", "report": "  open this one"}
        width = max(len(name) for name in self.made)
        lines = [f"{name.ljust(width)}  {path}{words.get(name, '')}" for name, path in self.made.items()]
        notes = [f"note: {note}" for note in self.notes]
        return "\n".join(
            [
                f"{self.product}: built from {self.source}, in {duration(self.seconds)}",
                *("  " + line for line in lines),
                *notes,
            ]
        )

"""What a build made, to print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from seas_export.verdict import State, Verdict, in_words
from seas_runtime.units import duration

ASIDE = "not usable"
"""What was made of defects that are not usable."""


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
    """How many of each defect the gates let through; none of a defect whose pairs lie beside the data set."""
    set_aside: dict[str, int]
    """How many pairs of a defect that is not usable lie beside the data set."""
    notes: tuple[str, ...]
    verdicts: tuple[Verdict, ...]
    seconds: float
    """Of this run."""

    @classmethod
    def of(
        cls,
        product: str,
        labels: Mapping[str, str],
        source: str,
        out: Path,
        parts: dict[str, float],
        made: dict[str, Path],
        verdicts: Sequence[Verdict],
        seconds: float,
    ) -> BuildResult:
        """Count the pairs that were made; `labels` are the defects', by name, where they are others."""
        from seas_export.report.gather import gate_counts, notes, read_records

        verdicts = [
            replace(verdict, defect=labels.get(verdict.defect, verdict.defect)) for verdict in verdicts
        ]
        gates = list(gate_counts(list(read_records(made["dataset"])), labels))
        beside = list(gate_counts(list(read_records(made[ASIDE])), labels)) if ASIDE in made else []
        accepted = {gate.name: gate.pairs - gate.given_up - gate.left_out for gate in gates}
        aside = {gate.name: gate.pairs - gate.given_up - gate.left_out for gate in beside}
        order = [*(verdict.defect for verdict in verdicts), *accepted]
        pairs = {name: accepted.get(name, 0) for name in dict.fromkeys(order)}
        return cls(
            product, source, out, parts, made, pairs, aside, tuple(notes(gates)), tuple(verdicts), seconds
        )

    @property
    def not_usable(self) -> tuple[str, ...]:
        """The defects that are not."""
        return tuple(verdict.defect for verdict in self.verdicts if verdict.state is State.NOT_USABLE)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {**asdict(self), "verdicts": [verdict.to_dict() for verdict in self.verdicts]}

    def to_text(self) -> str:
        """The folders and files that were made, the pairs in each, what was odd; the verdict last."""
        words = {
            "dataset": f"  {_counts(self.pairs)}",
            ASIDE: f"  {_counts(self.set_aside)}; not for training",
            "report": "  open this one",
        }
        width = max(len(name) for name in self.made)
        lines = [f"{name.ljust(width)}  {path}{words.get(name, '')}" for name, path in self.made.items()]
        notes = [f"note: {note}" for note in self.notes]
        return "\n".join(
            [
                f"{self.product}: built from {self.source}, in {duration(self.seconds)}",
                *("  " + line for line in lines),
                *notes,
                in_words(self.verdicts),
            ]
        )


def _counts(pairs: dict[str, int]) -> str:
    """Pairs by defect, in words."""
    return ", ".join(f"{count} {name}" for name, count in pairs.items())

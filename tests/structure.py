"""The packages' rooms and the imports between them, as CONTRIBUTING.md draws them.

`python -m tests.structure` draws the figure anew.
"""

from __future__ import annotations

import re
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[1]
PACKAGES = ("seas_runtime", "seas_engines", "seas_train", "seas_export")
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
_FIGURE = re.compile(r"(?<=<!-- rooms -->\n).*(?=<!-- end of rooms -->)", re.S)
Arrows = dict[str, dict[str, set[str]]]
"""Package -> what lies at its top -> what of that it imports."""


def arrows() -> Arrows:
    """Return the imports between the rooms and modules at each package's top, those in functions too."""
    found: Arrows = {}
    for package in PACKAGES:
        graph = grimp.build_graph(package, cache_dir=None)
        tops = {name.removeprefix(f"{package}."): set() for name in graph.find_children(package)}
        for module in graph.modules - {package}:
            here = module.split(".")[1]
            for other in graph.find_modules_directly_imported_by(module) - {package}:
                if other.split(".")[1] != here:
                    tops[here].add(other.split(".")[1])
        found[package] = tops
    return found


def figure(found: Arrows) -> str:
    """Return the figure in Mermaid's words; what nothing imports stands first."""
    lines = ["```mermaid", "flowchart TD"]
    for package, tops in found.items():
        lines.append(f"  subgraph {package}")
        for name in sorted(tops, key=lambda top: (-_height(top, tops), top)):
            reached = " & ".join(f"{package}.{other}" for other in sorted(tops[name]))
            arrow = f" --> {reached}" if reached else ""
            lines.append(f"    {package}.{name}[{name}]{arrow}")
        lines.append("  end")
    return "\n".join([*lines, "```", ""])


def drawn() -> str:
    """Return the figure that CONTRIBUTING.md has."""
    found = _FIGURE.search(CONTRIBUTING.read_text(encoding="utf-8"))
    assert found is not None
    return found[0]


def _height(name: str, tops: dict[str, set[str]]) -> int:
    """Return how many arrows can follow one another from here; there are no circles."""
    return max((1 + _height(other, tops) for other in tops[name]), default=0)


if __name__ == "__main__":
    page = CONTRIBUTING.read_text(encoding="utf-8")
    CONTRIBUTING.write_text(_FIGURE.sub(lambda _: figure(arrows()), page), encoding="utf-8")

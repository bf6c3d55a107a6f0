"""The tasks by name."""

from __future__ import annotations

from seas_export.proof.request import Kind
from seas_export.proof.tasks.contract import Task
from seas_export.proof.tasks.naming import Naming
from seas_export.proof.tasks.remembering import Remembering
from seas_export.proof.tasks.segmenting import Segmenting

TASKS: dict[Kind, Task] = {
    Kind.SEGMENT: Segmenting(),
    Kind.CLASSIFY: Naming(),
    Kind.IMAGES: Remembering(),
}


def find_task(kind: Kind) -> Task:
    """Return a task."""
    return TASKS[kind]

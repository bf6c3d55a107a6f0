"""From photographs to a report in one command; what is current is not made again."""

from seas_export.pipeline.pipeline import build
from seas_export.pipeline.result import BuildResult

__all__ = ["BuildResult", "build"]

"""From photographs to a report in one command; what is current is not made again."""

from seas_export.build.pipeline import build
from seas_export.build.result import BuildResult

__all__ = ["BuildResult", "build"]

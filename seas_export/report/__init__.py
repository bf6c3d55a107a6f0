"""What a build made, for people: one self-contained page, and one picture."""

from seas_export.report.gather import gather
from seas_export.report.overview import write_overview
from seas_export.report.page import write_page

__all__ = ["gather", "write_overview", "write_page"]

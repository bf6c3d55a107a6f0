"""Turns a checkpoint into a bundle: traced, composed, tabulated, and checked against PyTorch."""

from seas_export.export.bundle import ExportResult, export_bundle

__all__ = ["ExportResult", "export_bundle"]

"""Lays a product out as MVTec AD does, from what labelling tools and factories wrote."""

from seas_train.data.importing.product import ImportReport, import_product
from seas_train.data.importing.sources import Source
from seas_train.data.layouts.annotations.voc import ClassColours

__all__ = ["ClassColours", "ImportReport", "Source", "import_product"]

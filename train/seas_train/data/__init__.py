"""Products: photographs and masks, found in their layout, checked whole, split and read."""

from seas_train.data.images import Fit, Masks, Preprocessing, Window, read_image
from seas_train.data.layouts import Layout, Pair, products_in
from seas_train.data.loading import inspect_product, load_product
from seas_train.data.masks import read_mask
from seas_train.data.problems import Kind, Problem, Severity
from seas_train.data.product import Defect, Product
from seas_train.data.regions import RegionOptions, Regions
from seas_train.data.report import Counts, ProductReport
from seas_train.data.split import PhotographsConfig

__all__ = [
    "Counts",
    "Defect",
    "Fit",
    "Kind",
    "Layout",
    "Masks",
    "Pair",
    "PhotographsConfig",
    "Preprocessing",
    "Problem",
    "Product",
    "ProductReport",
    "RegionOptions",
    "Regions",
    "Severity",
    "Window",
    "inspect_product",
    "load_product",
    "products_in",
    "read_image",
    "read_mask",
]

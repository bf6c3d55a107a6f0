"""Regions: square windows of photographs, at their own resolution, that are resized to the base's size."""

from seas_train.data.regions.decide import Decision, decide
from seas_train.data.regions.options import RegionOptions, Regions
from seas_train.data.regions.parts import Part, parts_of
from seas_train.data.regions.plan import RegionPlan, View, make_plan

__all__ = [
    "Decision",
    "Part",
    "RegionOptions",
    "RegionPlan",
    "Regions",
    "View",
    "decide",
    "make_plan",
    "parts_of",
]

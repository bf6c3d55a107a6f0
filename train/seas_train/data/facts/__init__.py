"""Facts of a product's pictures, and what follows from them for reading the product."""

from seas_train.data.facts.decode import ImageFacts, MaskFacts, decode_all
from seas_train.data.facts.levels import LevelsFound, choose_levels

__all__ = [
    "ImageFacts",
    "LevelsFound",
    "MaskFacts",
    "choose_levels",
    "decode_all",
]

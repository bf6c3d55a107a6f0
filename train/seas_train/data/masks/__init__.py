"""Masks as factories and labelling tools save them: which pixels of which file are defect."""

from seas_train.data.masks.levels import MaskKind, Reading, decide
from seas_train.data.masks.read import MaskFile, on_photograph, open_mask, read_mask

__all__ = ["MaskFile", "MaskKind", "Reading", "decide", "on_photograph", "open_mask", "read_mask"]

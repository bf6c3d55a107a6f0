"""How every picture of a product becomes a square of 8-bit values; written into whatever is made from it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from seas_runtime.errors import UserError
from seas_runtime.photographs.values import BIT_DEPTHS as BIT_DEPTHS
from seas_runtime.photographs.values import Values


class Fit(str, Enum):
    """Ways to make a square of a photograph of any shape."""

    CROP = "crop"  # short side to size, centre crop
    PAD = "pad"  # long side to size, border pixels repeated (background in the mask)
    STRETCH = "stretch"  # both sides to size


class AutoFit(str, Enum):
    """To be chosen for a product."""

    AUTO = "auto"  # crop, or pad where crop would lose pairs


class Window(str, Enum):
    """Ways to choose the values of the files that become black and white."""

    AUTO = "auto"  # the whole range, or robust percentiles where pictures use under a tenth of it
    FULL = "full"  # the whole range of the bit depth


class Masks(str, Enum):
    """Ways to read which pixels of a mask are defect."""

    AUTO = "auto"  # decided for each file by its set of levels
    BINARY = "binary"  # values above 127
    LABELS = "labels"  # all values but 0
    INVERTED = "inverted"  # as auto decides, with defect and background the other way round


class Resize(str, Enum):
    """Ways to scale pictures."""

    SHARP = "sharp"  # photographs bicubic, masks by nearest neighbour
    BILINEAR = "bilinear"  # both, as in the authors' code; masks are cut at a half


@dataclass(frozen=True)
class Preprocessing:
    """Brings every image and mask of a product to [size, size]."""

    size: int
    fit: Fit = Fit.CROP
    bit_depth: int = 16
    """Of the values in 16-bit files: 12 where the camera's end at 4095."""
    window: tuple[float, float] | None = None
    """The values of the files that become 0 and 255; None for the whole range: 0 to 255, to what `bit_depth`
    holds, and to 1.0 in files of floating point. Files of 8 bits stay as they are where it ends above 255."""
    masks: Masks = Masks.AUTO
    resize: Resize = Resize.SHARP

    def __post_init__(self) -> None:
        if self.size < 1:
            raise UserError(f"image size: expected a positive number of pixels, found {self.size}")
        _ = self.values  # checks them

    @property
    def values(self) -> Values:
        """Which values of the files become black and white."""
        return Values(self.bit_depth, self.window)

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values that from_dict reads back; what is by default is left out, so that the
        fingerprints of older checkpoints hold."""
        values: dict[str, Any] = {"size": self.size, "fit": self.fit.value, "bit_depth": self.bit_depth}
        if self.window is not None:
            values["window"] = list(self.window)
        if self.masks is not Masks.AUTO:
            values["masks"] = self.masks.value
        if self.resize is not Resize.SHARP:
            values["resize"] = self.resize.value
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Preprocessing:
        """Read what to_dict wrote; UserError names the key that is missing or has a wrong value."""
        try:
            window = values.get("window")
            return cls(
                int(values["size"]),
                Fit(values["fit"]),
                int(values.get("bit_depth", 16)),
                None if window is None else (float(window[0]), float(window[1])),
                Masks(values.get("masks", Masks.AUTO)),
                Resize(values.get("resize", Resize.SHARP)),
            )
        except KeyError as error:
            raise UserError(f"preprocessing: expected a key {error}, found {sorted(values)}") from error
        except (TypeError, ValueError, IndexError) as error:
            raise UserError(f"preprocessing: {error}; found {values!r}") from error

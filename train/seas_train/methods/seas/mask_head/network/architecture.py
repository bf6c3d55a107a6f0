"""The numbers that fix a mask head's tensors: what `mask_head/config.json` holds. Needs no PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from seas_runtime.errors import UserError

_MOST_CHANNELS, _MOST_LAYERS = 16_384, 64


@dataclass(frozen=True)
class MaskHeadArchitecture:
    """Channels and sizes of a mask head, for one base. The defaults are the authors'.

    Raises:
        UserError: a number is out of range, or heads or groups do not divide the width.
    """

    tap_coarse_channels: int
    """Channels of the U-Net's tap at half the latent resolution (1280 in SD 1.x)."""
    tap_fine_channels: int
    """Channels of the U-Net's tap at the latent resolution (640 in SD 1.x)."""
    vae_tap_channels: tuple[int, int, int]
    """Channels of the VAE decoder's first three up-blocks, at 2, 4 and 8 times the latent resolution
    ((512, 512, 256) in SD 1.x)."""
    coarse_width: int = 128
    """Channels that the coarse tap is reduced to."""
    fine_width: int = 64
    """Channels that the fine tap is reduced to."""
    heads: int = 8
    """Attention heads of the transformer. Divides the width."""
    groups: int = 32
    """Groups of the group norm before the transformer. Divides the width."""
    depth: int = 4
    """Transformer layers."""
    latent_channels: int | None = None
    """Of the latents that a small decoder of the head's own reads, in place of the VAE's; its features have
    `vae_tap_channels`, multiples of 8. None without one."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "vae_tap_channels", tuple(self.vae_tap_channels))
        if len(self.vae_tap_channels) != 3:
            raise UserError(
                f"mask head: vae_tap_channels: expected three numbers, one for each refinement module, "
                f"found {list(self.vae_tap_channels)}"
            )
        for name, value in asdict(self).items():
            if name == "latent_channels" and value is None:
                continue
            for number in value if isinstance(value, tuple) else (value,):
                most = _MOST_LAYERS if name == "depth" else _MOST_CHANNELS
                if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= most:
                    raise UserError(
                        f"mask head: {name}: expected whole numbers from 1 to {most}, found {value!r}"
                    )
        if self.latent_channels is not None and any(count % 8 for count in self.vae_tap_channels):
            raise UserError(
                f"mask head: vae_tap_channels: expected multiples of 8 of a small decoder, found "
                f"{list(self.vae_tap_channels)}"
            )
        for name in ("heads", "groups"):
            if self.width % getattr(self, name):
                raise UserError(
                    f"mask head: {name}: expected a divisor of the width "
                    f"{self.coarse_width} + {self.fine_width} = {self.width}, found {getattr(self, name)}"
                )

    @property
    def width(self) -> int:
        """Channels of the head's features from the transformer on."""
        return self.coarse_width + self.fine_width

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as plain JSON values."""
        made = {**asdict(self), "vae_tap_channels": list(self.vae_tap_channels)}
        if self.latent_channels is None:
            del made["latent_channels"]
        return made

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> MaskHeadArchitecture:
        """Read `to_dict`'s form; UserError names a key that is missing, unknown or wrong."""
        if not isinstance(values, Mapping):
            raise UserError(f"mask head: config.json: expected an object, found {type(values).__name__}")
        known = {field.name for field in fields(cls)}
        missing = sorted(known - values.keys() - {"latent_channels"})
        unknown = sorted(values.keys() - known)
        if missing or unknown:
            raise UserError(
                f"mask head: config.json: expected the keys {sorted(known)}; missing {missing}, "
                f"unknown {unknown}"
            )
        if not isinstance(values["vae_tap_channels"], (list, tuple)):
            raise UserError(
                f"mask head: vae_tap_channels: expected a list of three numbers, "
                f"found {values['vae_tap_channels']!r}"
            )
        return cls(**values)

"""Stage 2's configuration."""

from __future__ import annotations

from dataclasses import dataclass, field

from seas_train.bases.base import Geometry
from seas_train.methods.seas.mask_head.network.architecture import MaskHeadArchitecture
from seas_train.training.optimizer import OptimizerConfig
from seas_train.training.settings import require


@dataclass(frozen=True)
class MaskHeadConfig:
    """Stage 2. The defaults are the authors' for SD 1.4, but for `steps`: 800 a defect.

    Images are augmented as stage 1's are.
    """

    steps: int = 800
    defect_images: int = 2
    """Defect images of a batch, of all defects mixed."""
    normal_images: int = 2
    """Normal images of a batch."""
    learning_rate: float = 5e-4
    coarse_width: int = 128
    """Channels that the coarse tap is reduced to."""
    fine_width: int = 64
    """Channels that the fine tap is reduced to; the head's width is the sum of the two."""
    heads: int = 8
    """Attention heads; 24 channels each in the authors' head."""
    groups: int = 32
    """Groups of the group norm; 6 channels each in the authors' head."""
    depth: int = 4
    """Transformer layers."""
    gamma: float = 2.0
    """Focal loss: how much pixels that are already right are discounted."""
    alpha: float | None = None
    """Focal loss: weight in 0..1 of the defect's pixels, the others' is 1 - alpha; none weighs all alike."""
    max_timestep: int | None = None
    """Timesteps are drawn below this one; none draws from the whole noise schedule. Generation reads masks
    in its last three steps alone, of 25 those at 120, 80 and 40 of 1000."""
    statistics_batches: int = 16
    """After the last step the batch norms' stored statistics are measured anew, on this many batches at the
    timesteps at which generation reads masks; 0 keeps training's moving averages, over all timesteps."""
    calibrate_to: float | None = None
    """After the last step the output's bias is moved so that this threshold gives the training pairs' best
    masks; none leaves it as it was learnt, as the authors do."""
    half_precision: bool = False
    """bfloat16 on a CPU that computes it natively; elsewhere the loop's precision decides."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)

    def __post_init__(self) -> None:
        counts = ("steps", "defect_images", "normal_images", "coarse_width", "fine_width", "heads", "groups")
        for name in (*counts, "depth"):
            require(getattr(self, name) >= 1, name, "1 or more", getattr(self, name))
        width = self.coarse_width + self.fine_width
        for name in ("heads", "groups"):
            divisor = getattr(self, name)
            require(width % divisor == 0, name, f"a divisor of coarse_width + fine_width = {width}", divisor)
        require(self.learning_rate > 0, "learning_rate", "more than 0", self.learning_rate)
        require(self.gamma >= 0, "gamma", "0 or more", self.gamma)
        require(self.alpha is None or 0 < self.alpha < 1, "alpha", "between 0 and 1, or none", self.alpha)
        positive = self.max_timestep is None or self.max_timestep >= 1
        require(positive, "max_timestep", "1 or more, or none", self.max_timestep)
        threshold = self.calibrate_to is None or 0 < self.calibrate_to < 1
        require(threshold, "calibrate_to", "between 0 and 1, or none", self.calibrate_to)
        require(self.statistics_batches >= 0, "statistics_batches", "0 or more", self.statistics_batches)

    def architecture(self, geometry: Geometry) -> MaskHeadArchitecture:
        """The head's tensors on a base of this geometry."""
        return MaskHeadArchitecture(
            tap_coarse_channels=geometry.tap_coarse_channels,
            tap_fine_channels=geometry.tap_fine_channels,
            vae_tap_channels=geometry.vae_tap_channels,
            coarse_width=self.coarse_width,
            fine_width=self.fine_width,
            heads=self.heads,
            groups=self.groups,
            depth=self.depth,
        )

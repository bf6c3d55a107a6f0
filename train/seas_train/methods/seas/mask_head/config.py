"""Stage 2's configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from seas_train.methods.seas.mask_head.network.architecture import MaskHeadArchitecture
from seas_train.methods.seas.mask_head.network.both_paths import NormalPath
from seas_train.methods.seas.taps import TapGeometry
from seas_train.settings import Count, Fraction, Positive, Settings, Share, Weight, Whole, require
from seas_train.training.optimizer import OptimizerConfig


class DecodedStep(str, Enum):
    """The step of the noise schedule after which the VAE decodes the defect samples."""

    DDIM = "ddim"
    """Without fresh noise."""
    DDPM = "ddpm"
    """With fresh noise, as in the authors' code."""


class CoarseTarget(str, Enum):
    """The mask that the coarse map is drawn to."""

    POOLED = "pooled"
    """Max-pooled, so that small defects survive."""
    WHOLE = "whole"
    """Resized bilinearly, and of that what is 1, as in the authors' code: small defects do not survive."""


class FocalMean(str, Enum):
    """How the focal loss is averaged at a resolution."""

    HALVES = "halves"
    """The mean over the defects' maps plus that over the normals'."""
    MAPS = "maps"
    """The mean over all maps, as in the authors' code: half of it."""


class Decoder(str, Enum):
    """Whose features at image resolution the head reads."""

    WHOLE = "whole"
    """The VAE decoder's."""
    SMALL = "small"
    """A small decoder's, distilled from the VAE's first."""


class DrawnBy(str, Enum):
    """Which defect images a batch gets."""

    IMAGES = "images"
    """Each image as often as the others, of all defects mixed, as the authors do."""
    DEFECTS = "defects"
    """Each defect as often as the others, however many images it has."""


@dataclass(frozen=True)
class MaskHeadConfig(Settings):
    """Stage 2. Sizes and rates are the authors' for SD 1.4 (800 steps a defect), rules are ours; theirs
    differ in the optimizer, too: see docs/fidelity.md.

    Images are augmented as stage 1's are.
    """

    steps: Count = 800
    defect_images: Count = 2
    """Defect images of a batch."""
    drawn_by: DrawnBy = DrawnBy.IMAGES
    normal_images: Count = 2
    """Normal images of a batch."""
    learning_rate: Positive = 5e-4
    coarse_width: Count = 128
    """Channels that the coarse tap is reduced to."""
    fine_width: Count = 64
    """Channels that the fine tap is reduced to; the head's width is the sum of the two."""
    heads: Count = 8
    """Attention heads; 24 channels each in the authors' head."""
    groups: Count = 32
    """Groups of the group norm; 6 channels each in the authors' head."""
    depth: Count = 4
    """Transformer layers."""
    gamma: Weight = 2.0
    """Focal loss: how much pixels that are already right are discounted."""
    alpha: Fraction | None = None
    """Focal loss: weight in 0..1 of the defect's pixels, the others' is 1 - alpha; none weighs all alike."""
    normal_path: NormalPath = NormalPath.LOGITS
    coarse_statistics: bool = False
    """Whether the coarse map moves the stored statistics of the output layer too, twice a step in all."""
    decoded: DecodedStep = DecodedStep.DDIM
    coarse_target: CoarseTarget = CoarseTarget.POOLED
    focal_mean: FocalMean = FocalMean.HALVES
    focal_smoothing: Share = 0.0
    """Focal loss: s, by which the target's 0 and 1 are moved towards each other, and which is added to the
    truth's probability (authors: 1e-5); 0 is the loss of the paper that it is from."""
    max_timestep: Count | None = None
    """Timesteps are drawn below this one; none draws from the whole noise schedule. Generation reads masks
    in its last three steps alone, of 25 those at 120, 80 and 40 of 1000."""
    statistics_batches: Whole = 16
    """After the last step the batch norms' stored statistics are measured anew, on this many batches at the
    timesteps at which generation reads masks; 0 keeps training's moving averages, over all timesteps."""
    calibrate_to: Fraction | None = None
    """After the last step the output's bias is moved so that this threshold gives the training pairs' best
    masks; none leaves it as it was learnt, as the authors do."""
    decoder: Decoder = Decoder.WHOLE
    """Whose features the head reads. A mask of a small decoder costs a few percent of the operations."""
    decoder_steps: Count = 4000
    """Steps in which a small decoder learns the VAE's features."""
    decoder_learning_rate: Positive = 1e-3
    decoder_width: Count = 64
    """Channels of its features at 2 and 4 times the latents' size, half of them at 8 times; a multiple of
    16."""
    half_precision: bool = False
    """bfloat16 on a CPU that computes it natively; elsewhere the loop's precision decides."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        width = self.coarse_width + self.fine_width
        for name in ("heads", "groups"):
            divisor = getattr(self, name)
            require(width % divisor == 0, name, f"a divisor of coarse_width + fine_width = {width}", divisor)
        require(self.decoder_width % 16 == 0, "decoder_width", "a multiple of 16", self.decoder_width)

    def architecture(self, taps: TapGeometry, latent_channels: int) -> MaskHeadArchitecture:
        """The head's tensors for features of these channels, and latents."""
        small, width = self.decoder is Decoder.SMALL, self.decoder_width
        return MaskHeadArchitecture(
            tap_coarse_channels=taps.coarse,
            tap_fine_channels=taps.fine,
            vae_tap_channels=(width, width, width // 2) if small else taps.vae,
            latent_channels=latent_channels if small else None,
            coarse_width=self.coarse_width,
            fine_width=self.fine_width,
            heads=self.heads,
            groups=self.groups,
            depth=self.depth,
        )

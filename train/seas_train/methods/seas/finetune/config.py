"""Stage 1's configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated

from seas_train.settings import Bound, Count, FromOne, Positive, Settings, Share, Weight, Whole, require
from seas_train.training.optimizer import OptimizerConfig

Word = Annotated[str, Bound("a word or several", lambda word: bool(word.strip()))]


class AttentionMaps(str, Enum):
    """The cross-attention maps that the DA loss reads."""

    PAPER = "paper"
    """Attention probabilities of every layer of the resolution, min-max normalised per sample."""
    AUTHORS = "authors"
    """As in the authors' code: scores under a softmax over the pixels, the down blocks' layers alone, min-max
    normalised over the batch."""


class TrainedTokens(str, Enum):
    """The rows of the token embedding that are trained."""

    NEW = "new"
    """The product's own, as in the paper; the base's words stay as they are."""
    ALL = "all"
    """The whole table, as in the authors' code."""
    NONE = "none"
    """None: the text encoder stays as it is, and the new tokens keep their first words' embeddings."""


class AlignmentMask(str, Enum):
    """The mask that the DA loss compares its maps with."""

    POOLED = "pooled"
    """Max-pooled to the map's size, 0 and 1."""
    FRACTIONS = "fractions"
    """Resized bilinearly to the latent's size, then max-pooled, fractions kept, as in the authors' code."""


class NormalTerm(str, Enum):
    """The pixels at which the normal token's map is drawn to zero; they differ where a mask has fractions."""

    WHOLE = "whole"
    """Where the mask is 1 (the authors' for MVTec AD)."""
    TOUCHED = "touched"
    """Where it is over 0 (the authors' for VisA and MVTec 3D AD)."""


class WeightedRegion(str, Enum):
    """The latent pixels that `region_weight` is for."""

    ANY_MASK = "any_mask"
    """Wherever any mask of that defect lies, in any augmentation."""
    OWN_MASK = "own_mask"
    """In the image's own mask, which weighs no more than the rest of the image. The U-Net then leans towards
    the defect wherever there may be one: right where generation is told where to draw it, too much for whole
    pictures."""


@dataclass(frozen=True)
class FinetuneConfig(Settings):
    """Stage 1. The defaults are the authors' for SD 1.4 (configs/seas.yaml of SeaS), but for `steps`: 800 a
    defect."""

    steps: Count = 800
    defect_images: Count = 2
    """Defect images of a batch, of all defects mixed."""
    normal_images: Count = 2
    """Normal images of a batch."""
    anomaly_tokens: Count = 4
    """N, the anomaly tokens of each defect."""
    normal_tokens: Count = 1
    """Tokens of the product."""
    normal_word: Word = "object"
    """The word that the product's tokens start as."""
    anomaly_word: Word = "defect"
    """The word that the defects' tokens start as."""
    unet_learning_rate: Positive = 4e-6
    embedding_learning_rate: Positive = 4e-5
    """For the rows of the token embedding that are trained."""
    trained_tokens: TrainedTokens = TrainedTokens.NEW
    alignment_weight: Weight = 1.0
    """Weight of the DA loss beside the two noise losses."""
    normal_alignment: bool = True
    """The NA loss; without it no normal image is drawn."""
    attention: AttentionMaps = AttentionMaps.PAPER
    alignment_mask: AlignmentMask = AlignmentMask.POOLED
    normal_term: NormalTerm = NormalTerm.WHOLE
    paired_normals: bool = False
    """Train on no more normals than there are training pairs, the first ones, in both stages: the authors'
    code counts them modulo that number."""
    mirrored_share: Share = 0.5
    """Share of the images that are mirrored where `flip` is on (authors: 2/3)."""
    rotate: bool = True
    """Random rotations by multiples of 90 degrees; off for products that have an upright, as VisA's."""
    flip: bool = True
    """Random mirror images."""
    normal_augmentations: Count | None = None
    """How many augmentations each normal image is drawn in (each costs an encoding before the first step);
    none for all. A region is drawn in two at most."""
    noisy_share: Share = 0.0
    """Share of the timesteps that are drawn from the noisier half of the schedule alone, the others from all
    of it. Layout is settled at high noise: a base that must still learn the product's shape gains from it."""
    high_noise_weight: FromOne = 1.0
    """Largest weight of an image's noise loss, which is 1 / SNR of its timestep, from 1 to this. An error in
    the noise is a small one there, but a large one in the picture: what the prompt decides, which defect and
    where, is learnt slowly without. 1 weighs all timesteps alike, as the authors do."""
    region_weight: FromOne = 1.0
    """Weight of a defect image's noise loss in `weighted_region`, beside 1 elsewhere, so that small defects
    are learnt as soon as large ones. 1 weighs all pixels alike, as the authors do."""
    weighted_region: WeightedRegion = WeightedRegion.ANY_MASK
    offset_noise: Weight = 0.0
    """Strength of what is added to the noise, the same for all pixels of a latent's channel; 0 is none."""
    attention_previews: bool = False
    """Preview sheets show where each token looks, beside the images."""
    half_precision: bool = False
    """bfloat16 on a CPU that computes it natively; elsewhere the loop's precision decides."""
    gradient_checkpointing: bool = False
    """Less memory, about a third more time."""
    lora_rank: Whole = 0
    """Rank of adapters on the attention layers, trained in place of the U-Net and merged at the end; 0 trains
    all of it."""
    lora_learning_rate: Positive = 1e-4
    """For the adapters, in place of `unet_learning_rate` (diffusers' text-to-image LoRA script)."""
    half_frozen: bool = False
    """With adapters: keep the weights below them in bfloat16 while training."""
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(gradient_accumulation=2, eight_bit=True)
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.lora_rank > 0 or not self.half_frozen, "half_frozen", "lora_rank of 1 or more with it", 0
        )

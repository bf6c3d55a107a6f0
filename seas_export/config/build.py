"""The configuration of `build`: defaults, then a YAML file, then the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

from seas_export.config.presets import PRESETS
from seas_export.extras import BACKGROUNDS, MOST_BACKGROUNDS, Extras
from seas_export.placing.choice import AUTO, SOURCES
from seas_runtime.errors import UserError
from seas_runtime.manifest.types import PRECISIONS
from seas_runtime.methods.blending.inputs import LEAST_STRENGTH
from seas_runtime.methods.request import BLENDS, FEATHER, MASKS, Placing
from seas_runtime.methods.seas import MAX_ADD_NOISE_STEP, START_TIMESTEPS
from seas_runtime.methods.seas_options import MASK_STEPS, STARTS
from seas_runtime.placement.options import PlacementOptions
from seas_train.data import PhotographsConfig
from seas_train.data.names import product_name
from seas_train.settings import (
    COMMAND_LINE,
    Bound,
    Count,
    Settings,
    Whole,
    merge,
    one_of,
    overlay,
    read_yaml,
    require,
    within,
)

REPRODUCED = ("paper", "authors")
Words = Annotated[str, Bound("text that is not empty", lambda text: bool(text.strip()))]


class ExportLayout(str, Enum):
    """Layout of an export's files: a bundle, or the plain parts as Hugging Face's optimum expects them."""

    BUNDLE = "bundle"
    OPTIMUM = "optimum"


@dataclass(frozen=True)
class EvaluateConfig(Settings):
    """Options of scoring the mask head."""

    pairs: Count = 6
    """Held-out pairs of each defect at most."""
    normals: Whole = 6
    """Held-out normals at most."""
    noises: Annotated[int, within(2, 64)] = 3
    """Pictures of each prompt, all prompts' from the same noise, that tell whether prompts change them."""


@dataclass(frozen=True)
class ExportConfig(Settings):
    """Options of the bundle."""

    precision: Annotated[str, one_of(*PRECISIONS)] = "fp32"
    target: str = "cpu"
    device: str | None = None
    """For target rtx, the compute capabilities to build engines for; None for this machine's GPU."""
    steps: Annotated[int, within(1, 1000)] | None = None
    """Denoising steps; None for the method's: 25 of SeaS, 50 of AnoGen."""
    own_prompts: bool = False
    """Put the tokenizer into the bundle, so that prompts of one's own can be given at generation."""
    guidance_rescale: Annotated[float, within(0, 1)] | None = None
    """The bundle's default phi (Lin et al. 2023); None leaves it out of the step graph."""
    add_noise_step: Annotated[int, within(1, MAX_ADD_NOISE_STEP)] = START_TIMESTEPS
    """Steps that the noise schedule is stretched to for the start."""
    samplers: tuple[str, ...] = ()
    """Samplers that are tabulated beside the default's: unipc_1, dpmpp_2m_sde, dpmpp_2m_karras,
    dpmpp_2m_sde_karras, lcm."""
    backgrounds: Annotated[int, within(0, MOST_BACKGROUNDS)] = BACKGROUNDS
    """Photographs of normals in the bundle for defects to be drawn into, at most; 200 MB together."""

    @property
    def extras(self) -> Extras:
        """What the bundle has beside what every bundle has."""
        return Extras(
            self.own_prompts, self.guidance_rescale, self.add_noise_step, self.samplers, self.backgrounds
        )


@dataclass(frozen=True)
class GenerateConfig(Settings):
    """Options of generation."""

    pairs: Count = 8
    """Of each defect, and normals."""
    batch: Annotated[int, within(1, 64)] = 4
    guidance: Annotated[float, within(0, 100)] | None = None
    """None for the bundle's, which training sets by the layout (8; VisA 2; MVTec 3D AD 5; `micro` at most
    3.5)."""
    tau: Annotated[float, within(0, 1)] | None = None
    """Threshold on the mask's probability; None for the bundle's."""
    negative_prompt: Words | None = None
    """What guidance leads away from; needs `export.own_prompts`."""
    guidance_rescale: Annotated[float, within(0, 1)] | None = None
    """phi; None for the bundle's. Needs `export.guidance_rescale`."""
    start: Annotated[str, one_of(*STARTS)] | None = None
    """What pairs start from: a noised reference (None), or noise alone."""
    strength: Annotated[float, within(LEAST_STRENGTH, 1)] | None = None
    """Of placed pairs: the part of the steps that are run, from the photograph on; None for the bundle's."""
    mask_steps: Annotated[int, within(1, MASK_STEPS)] | None = None
    """How many of the last steps give a mask; None for the bundle's."""
    source: Annotated[str, one_of(*SOURCES)] = AUTO
    """`photographs`, to draw defects into, or `noise`, for whole pictures; `auto` takes photographs where the
    product was trained on regions of them."""
    onto: Path | None = None
    """Folder of photographs to draw into; None for those that the bundle carries."""
    placement: Mapping[str, Any] = field(default_factory=dict)
    """Where defects go and in what shape: keys of `PlacementOptions`."""
    blend: Annotated[str, one_of(*BLENDS)] = FEATHER
    """The way back into the photograph; `poisson` needs OpenCV."""
    mask: Annotated[str, one_of(*MASKS)] | None = None
    """`refined`, what the mask head finds of the placement, or `placed`; None for the first, where it can."""
    oversample: Annotated[float, within(1, 10)] = 1.0
    """So many times the pairs of a defect are made, and those of the best score kept."""
    gate: bool = True
    keep: bool = False
    """Put pairs of defects that are not usable in the data set too, not beside it."""
    backend: str = "auto"
    """Runs the graphs; `auto` is the fastest here. A data set is continued on the backend that began it."""

    @property
    def asked(self) -> dict[str, Any]:
        """What is asked for of the method's own options, by their names there."""
        names = ("negative_prompt", "guidance_rescale", "start", "strength", "mask_steps")
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    @property
    def placing(self) -> Placing:
        """How defects are drawn into photographs, where they are."""
        placement = PlacementOptions.from_dict({"source": AUTO, **self.placement})
        return Placing(placement, self.blend, self.mask)

    def __post_init__(self) -> None:
        from seas_runtime.backends.contract import AUTO, BACKENDS

        super().__post_init__()
        _ = self.placing  # checks the placement
        known = (*BACKENDS, AUTO)
        require(self.backend.partition(":")[0] in known, "backend", " | ".join(known), self.backend)


@dataclass(frozen=True)
class ProveConfig(Settings):
    """Options of the proof at a build's end."""

    run: bool = False
    segmenter: str | None = None
    """None for `unet` where its packages are installed, else `small`."""
    steps: Count | None = None
    """Of each training; None for as many as `prove` takes. After a few hundred pairs gain nothing yet."""
    seeds: Count = 3
    """Trainings of each set."""


@dataclass(frozen=True)
class FastConfig(Settings):
    """Options of cheaper pairs."""

    run: bool = False
    pairs: Count = 8
    """Of each defect, that student and teacher are compared by."""
    distill: Mapping[str, Any] = field(default_factory=dict)
    """Options of `distill` over its defaults for the base, such as `student_steps`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if "seed" in self.distill:
            raise UserError("fast.distill.seed: a build has one seed. Set `seed` instead.")


@dataclass(frozen=True)
class BuildConfig(Settings):
    """All options of `seas-export build`."""

    product: str = ""
    """Its folder's name."""
    data: Path | None = None
    """The folder of products; None for `data/` or the sample."""
    method: str = "seas"
    """What is trained, see `seas_train.methods.table`."""
    base: str = "micro"
    """`micro`, a folder, a file or a hub name."""
    allow_pickle: bool = False
    """Of the base's weights."""
    reproduce: Annotated[str, one_of(*REPRODUCED)] | None = None
    """Whose rules; None for ours."""
    preset: Annotated[str, one_of(*PRESETS)] | None = None
    """The published data set that the photographs are of, whatever their layout; None goes by the layout."""
    out: Path | None = None
    """None for out/PRODUCT."""
    seed: Whole = 0
    """Of training and generation."""
    threads: Count | None = None
    strict: bool = False
    """Fail where a defect is not usable."""
    photographs: PhotographsConfig = field(default_factory=PhotographsConfig)
    train: Mapping[str, Any] = field(default_factory=dict)
    """Training options over the method's defaults for the base; they are checked once the base is known."""
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    export: ExportConfig = field(default_factory=ExportConfig)
    generate: GenerateConfig = field(default_factory=GenerateConfig)
    prove: ProveConfig = field(default_factory=ProveConfig)
    fast: FastConfig = field(default_factory=FastConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        name = self.product.rstrip("/\\")
        if self.product and (Path(name).name != name or name in ("", ".", "..") or "\0" in name):
            path = Path(self.product)
            way_on = f"--data '{path.parent}' --product '{path.name}'" if path.name else "--data ROOT"
            raise UserError(
                f"product: expected the name of a product's folder, such as bottle; found {self.product!r}. "
                f"Give the folder that it lies in with --data: {way_on}."
            )
        if "seed" in self.train:
            raise UserError(
                "train.seed: a build has one seed, of training and generation. Set `seed` instead."
            )

    @property
    def folder(self) -> Path:
        """Where everything is made."""
        return self.out if self.out is not None else Path("out") / product_name(self.product.rstrip("/\\"))

    def to_dict(self) -> dict[str, Any]:
        """JSON values, as build.json records them."""
        return {**super().to_dict(), "out": str(self.folder)}


def load_config(file: Path | None, options: Mapping[str, Any]) -> BuildConfig:
    """Layer defaults, the YAML `file` and the command line's `options`, and check the result once.

    Raises:
        UserError: an unknown key, a value of the wrong type or out of range, or no product.
    """
    config = BuildConfig()
    if file is not None:
        config = overlay(config, read_yaml(file), str(file))
    given = {**options, "train": merge(config.train, options.get("train", {}))}
    if "distill" in (fast := options.get("fast", {})):
        given["fast"] = {**fast, "distill": merge(config.fast.distill, fast["distill"])}
    config = overlay(config, given, COMMAND_LINE)
    if not config.product:
        raise UserError("build: expected the name of a product, found none. Give it: --product bottle")
    return config

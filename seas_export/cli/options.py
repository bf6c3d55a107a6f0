"""Options that several commands share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from seas_train.data import PhotographsConfig

Json = Annotated[bool, typer.Option("--json", help="Print the report as JSON to stdout.")]
Quality = Annotated[
    bool,
    typer.Option(
        "--quality",
        help="Measure instead what pairs are like, --pairs of each defect, with every sampler, number of "
        "steps and of masks that the bundle has.",
    ),
]
QualityOnto = Annotated[
    Path | None,
    typer.Option("--onto", help="With --quality: photographs to draw into; by default as generate does."),
]
Force = Annotated[
    bool, typer.Option("--force", help="Replace what this command wrote there before; never other files.")
]
Seed = Annotated[int, typer.Option("--seed", help="The same seed gives the same result.")]
Threads = Annotated[
    int | None,
    typer.Option("--threads", help="Processor threads; by default the backend's own choice."),
]
BACKENDS = "cpu, openvino, cuda, tensorrt, rtx, or auto for the fastest that is installed and usable."
Backend = Annotated[str, typer.Option("--backend", help=f"What runs the graphs: {BACKENDS}")]
BundleFolder = Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle's folder.")]
Layout = Annotated[
    str | None,
    typer.Option(
        "--layout",
        help="mvtec, visa, mvtec3d, okng, labelme, coco or yolo; detected where not given.",
        show_default=False,
    ),
]
Fit = Annotated[
    str | None,
    typer.Option(
        "--fit",
        help="How other aspect ratios are made square: auto (default; pad where crop loses pairs), crop, pad "
        "or stretch.",
    ),
]
Regions = Annotated[
    str | None,
    typer.Option(
        "--regions",
        help="Train on windows of the photographs' own resolution around the defects: auto (default) where "
        "defects are small or photographs large, on, or off for whole pictures.",
    ),
]
Window = Annotated[
    str | None,
    typer.Option(
        "--window",
        metavar="LOW,HIGH",
        help="Values of the files that become black and white; auto (default), or full for the whole range.",
    ),
]
Masks = Annotated[
    str | None,
    typer.Option(
        "--masks",
        help="How masks are read: auto (default) decides for each file, binary takes values above 127, "
        "labels all but 0, inverted what auto takes as background.",
    ),
]
Shots = Annotated[
    int | None,
    typer.Option("--shots", help="Training pairs of each defect; by default the first third."),
]
Normals = Annotated[int | None, typer.Option("--normals", help="Training normals at most; 60 by default.")]
Defects = Annotated[
    list[str] | None, typer.Option("--defect", help="Only this defect; repeat for more.", show_default=False)
]
BASES = (
    "micro; a folder of Stable Diffusion 1.4, 1.5 or a relative in diffusers' format (DreamShaper, BK-SDM "
    "base, small, tiny); a single .safetensors or .ckpt file of Stable Diffusion 1.x; or a Hugging Face "
    "name, such as CompVis/stable-diffusion-v1-4; v-prediction too. Not SDXL, SD 3, Flux, inpainting."
)
Base = Annotated[str, typer.Option("--base", help=BASES)]
AllowPickle = Annotated[
    bool,
    typer.Option(
        "--allow-pickle",
        help="Take a base's .bin and .ckpt files where there are no safetensors. Tensors are read from them, "
        "nothing of them is executed.",
    ),
]
Reproduce = Annotated[
    str | None,
    typer.Option(
        "--reproduce",
        help="Whose rules where they differ: paper or authors (their code). docs/fidelity.md has the table.",
    ),
]
Preset = Annotated[
    str | None,
    typer.Option(
        "--preset",
        help="The published data set that it is of, whatever the folders' layout: mvtec, visa or mvtec3d; "
        "guidance and augmentation follow from it.",
        show_default=False,
    ),
]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any option of the configuration; repeat for more."),
]
Config = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE.yaml", help="Options from a file; the command line wins."),
]
RequireSignature = Annotated[
    Path | None,
    typer.Option(
        "--require-signature",
        metavar="KEY.pub",
        help="Refuse a bundle that this public key's owner did not sign.",
    ),
]
Method = Annotated[
    str | None,
    typer.Option(
        "--method",
        help="seas (the default), anogen (three pairs; boxes), anomalydiffusion or anomalyxfusion.",
    ),
]
Memory = Annotated[
    str | None,
    typer.Option(
        "--memory", metavar="LEVEL", help="Make training fit 8, 12 or 24 GB of GPU memory: low, medium, high."
    ),
]
Lora = Annotated[
    int | None,
    typer.Option("--lora", metavar="RANK", help="Train adapters of this rank instead of the whole U-Net."),
]
ImageEncoder = Annotated[
    Path | None,
    typer.Option(
        "--image-encoder",
        metavar="DIR",
        help="Of anomalyxfusion: a local openai/clip-vit-large-patch14, for first textures.",
    ),
]
Captions = Annotated[
    Path | None,
    typer.Option(
        "--captions",
        metavar="PATH",
        help="Of anomalyxfusion: sentences of the pictures, a folder DEFECT/NNN.txt, a CSV or JSON.",
    ),
]


def method_files(method: str, **files: Path | None) -> dict[str, Any]:
    """The training options that files given to a method stand for."""
    wanted = {name.replace("_", "-"): path for name, path in files.items() if path is not None}
    if not wanted:
        return {}
    from seas_runtime.errors import UserError
    from seas_train.methods.table import find_method
    from seas_train.settings import parse_assignments

    known = find_method(method).files
    for name in wanted:
        if name not in known:
            raise UserError(f"--{name}: method {method} reads no such files; leave it out")
    return parse_assignments([f"{known[name]}={json.dumps(str(path))}" for name, path in wanted.items()])


def memory_options(
    level: str | None, lora: int | None, method: str, *, distill: bool = False
) -> dict[str, Any]:
    """The options of training, or of a student's, that `--memory` and `--lora` stand for with a method."""
    if level is None and lora is None:
        return {}
    from seas_runtime.errors import UserError
    from seas_train.methods.table import find_method
    from seas_train.settings import require

    require(lora is None or 1 <= lora <= 1024, "--lora", "a rank of 1 to 1024", lora)
    values = find_method(method).memory
    if values is None:
        option = "--memory" if level is not None else "--lora"
        raise UserError(
            f"{option}: method {method} leaves the base as it is and has no such levels; leave it out"
        )
    if distill:
        way = find_method(method).distillation
        return {} if way is None else dict(way.memory(level, lora))
    return dict(values(level, lora))


def photographs(defects: list[str] | None, **values: Any) -> PhotographsConfig:
    """How photographs are read and split, from a command's options."""
    from seas_train.data import PhotographsConfig
    from seas_train.settings import COMMAND_LINE, overlay

    window = window_value(values.pop("window", None))
    values = given(defects=defects or None, window=window, **values)
    return overlay(PhotographsConfig(), values, COMMAND_LINE)


def window_value(text: str | None) -> str | list[str] | None:
    """`--window` as a configuration file has it: a word, or a list of two numbers."""
    return text.strip("[] ").split(",") if text is not None and "," in text else text


def given(**options: Any) -> dict[str, Any]:
    """The options that were given; those left at None leave the layer below as it is."""
    return {name: value for name, value in options.items() if value is not None}

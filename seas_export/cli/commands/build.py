"""`build`: everything at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from seas_export.cli import options, output


@output.command(
    "Run the same command again: what is finished is kept, training continues from its last save, "
    "and whole pairs are kept."
)
def build(
    product: Annotated[
        str | None,
        typer.Option("--product", help="The product: its folder's name, as it is spelled or as a safe name."),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Every product of the --data folder, into OUT/PRODUCT each.")
    ] = False,
    jobs: Annotated[int, typer.Option("--jobs", help="With --all: products built at a time.")] = 1,
    ray: Annotated[
        str | None,
        typer.Option(
            "--ray",
            metavar="ADDRESS",
            help="With --all: build products side by side on a Ray cluster, one for each GPU, or by cores: "
            "head:6379, ray://head:10001, auto, or local.",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", help="Folder of products; by default ./data, else the sample product `bottle`."
        ),
    ] = None,
    method: options.Method = None,
    base: Annotated[str | None, typer.Option("--base", help=f"By default micro. {options.BASES}")] = None,
    allow_pickle: options.AllowPickle = False,
    reproduce: options.Reproduce = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Where everything goes; out/PRODUCT by default.")
    ] = None,
    config: options.Config = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Of training and generation; 0 by default.")
    ] = None,
    pairs: Annotated[
        int | None,
        typer.Option("--pairs", help="Pairs of each defect, and normals, to generate; 8 by default."),
    ] = None,
    batch: Annotated[int | None, typer.Option("--batch", help="Pairs made at a time; 4 by default.")] = None,
    preset: options.Preset = None,
    layout: options.Layout = None,
    fit: options.Fit = None,
    regions: options.Regions = None,
    window: options.Window = None,
    masks: options.Masks = None,
    shots: options.Shots = None,
    normals: options.Normals = None,
    defect: options.Defects = None,
    precision: Annotated[
        str | None, typer.Option("--precision", help="Of the bundle: fp32 (default), fp16 or int8.")
    ] = None,
    target: Annotated[
        str | None,
        typer.Option("--target", help="What it is for: cpu (default), openvino, cuda, rtx or tensorrt."),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option("--device", help="For rtx: compute capabilities, 8.6,8.9; by default this GPU's."),
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", help="Denoising steps; by default the method's, 25 of seas.")
    ] = None,
    guidance: Annotated[
        float | None,
        typer.Option("--guidance", help="By default 8; 2 for VisA, 5 for MVTec 3D AD; on micro at most 3.5."),
    ] = None,
    tau: Annotated[float | None, typer.Option("--tau", help="Mask threshold; 0.2 by default.")] = None,
    gate: Annotated[
        bool | None,
        typer.Option("--gate/--no-gate", help="Reject and retry pairs that cannot be right (default)."),
    ] = None,
    keep: Annotated[
        bool | None,
        typer.Option(
            "--keep/--no-keep",
            help="Put pairs of defects that are not usable into the data set too; by default they lie beside "
            "it, in OUT/not_usable.",
        ),
    ] = None,
    strict: Annotated[
        bool | None,
        typer.Option("--strict/--no-strict", help="End with code 1 where a defect is not usable."),
    ] = None,
    prove: Annotated[
        bool | None,
        typer.Option(
            "--prove/--no-prove",
            help="Measure at the end what the pairs are worth to a segmenter on held-out photographs, as the "
            "command prove does.",
        ),
    ] = None,
    fast: Annotated[
        bool | None,
        typer.Option(
            "--fast/--no-fast",
            help="Distill a student of few steps too, and make the pairs with it where they are as good.",
        ),
    ] = None,
    backend: Annotated[
        str | None,
        typer.Option("--backend", help=f"What generates the pairs: {options.BACKENDS} By default auto."),
    ] = None,
    threads: options.Threads = None,
    memory: options.Memory = None,
    lora: options.Lora = None,
    image_encoder: options.ImageEncoder = None,
    captions: options.Captions = None,
    set_: options.Sets = None,
    restore: Annotated[
        bool, typer.Option("--restore", help="Make pairs again whose files were removed by hand.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Make everything again; other files are left alone.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Photographs to a report in one command: train, export, check, generate. Current parts are kept."""
    from seas_export.config.build import load_config
    from seas_export.pipeline import build as run
    from seas_runtime.errors import CheckFailed, UserError
    from seas_train.settings import merge, parse_assignments

    given = options.given
    groups: dict[str, Any] = {
        "photographs": given(
            layout=layout,
            fit=fit,
            regions=regions,
            window=options.window_value(window),
            masks=masks,
            shots=shots,
            normals=normals,
            defects=defect or None,
        ),
        "export": given(precision=precision, target=target, device=device, steps=steps),
        "generate": given(
            pairs=pairs, batch=batch, guidance=guidance, tau=tau, gate=gate, keep=keep, backend=backend
        ),
    }
    values = given(product=product, data=data, method=method, base=base, out=out, seed=seed, threads=threads)
    values.update(given(allow_pickle=allow_pickle or None, reproduce=reproduce, strict=strict, preset=preset))
    if prove is not None:
        groups["prove"] = {"run": prove}
    if fast is not None:
        groups["fast"] = {"run": fast}
    values.update({name: group for name, group in groups.items() if group})
    trained = options.memory_options(memory, lora, method or "seas")
    trained.update(options.method_files(method or "seas", image_encoder=image_encoder, captions=captions))
    if trained:
        values = merge({"train": trained}, values)
    if distilled := options.memory_options(memory, lora, method or "seas", distill=True):
        values = merge({"fast": {"distill": distilled}}, values)
    if every:
        if restore:
            raise UserError("--restore: is for one product. Give --product instead of --all.")
        _build_all(config, merge(parse_assignments(set_ or []), values), jobs, ray, force, json)
        return
    if ray is not None:
        raise UserError("--ray: is only used with --all, whose products it spreads. Add --all.")
    if jobs != 1:
        raise UserError("--jobs: is only used with --all. Add --all, or leave it out.")
    wanted = load_config(config, merge(parse_assignments(set_ or []), values))
    result = run(wanted, force=force, restore=restore, say=output.say)
    output.report(result.to_dict(), result.to_text(), json)
    if wanted.strict and result.not_usable:
        raise CheckFailed(
            f"--strict: {len(result.not_usable)} of {len(result.verdicts)} defects not usable: "
            f"{', '.join(result.not_usable)}; why, and what to try, stand in the verdict."
        )


def _build_all(
    file: Path | None, options: dict[str, Any], jobs: int, ray: str | None, force: bool, json: bool
) -> None:
    """`build --all`; ends with 1 if a product failed, with 2 if all that failed were asked for wrongly.

    With `strict` it also ends with 1 where a defect is not usable.
    """
    from seas_export.config.build import load_config
    from seas_export.pipeline.everything import build_everything
    from seas_export.pipeline.source import DATA
    from seas_runtime.errors import CheckFailed, UserError
    from seas_runtime.files import expanded
    from seas_runtime.manifest.fields import check_integer
    from seas_train.settings import merge, read_yaml

    check_integer("--jobs", jobs, 1, 64)
    if ray is not None and jobs != 1:
        raise UserError("--jobs, --ray: a cluster's devices say how many are built at a time. Leave one out.")
    values = merge(read_yaml(file) if file is not None else {}, options)
    if values.get("product"):
        raise UserError("--all: builds every product, and --product one. Give one of them.")
    # A mistake in an option is told once, before the first.
    strict = load_config(file, {**options, "product": "any"}).strict
    values.pop("strict", None)  # no product failed by its verdict: all are summed up first
    data = expanded(Path(values.pop("data", None) or DATA), "--data")
    out = expanded(Path(values.pop("out", None) or "out"), "--out")
    values.pop("product", None)
    result = build_everything(data, out, values, jobs=jobs, ray=ray, force=force, say=output.say)
    output.report(result.to_dict(), result.to_text(), json)
    if result.failed:
        names = ", ".join(outcome.product for outcome in result.failed)
        words = f"{len(result.failed)} of {len(result.outcomes)} products: {names}; see the summary."
        raise (UserError if all(outcome.code == 2 for outcome in result.failed) else CheckFailed)(words)
    if strict and result.not_usable:
        raise CheckFailed(f"--strict: not usable: {', '.join(result.not_usable)}; see the summary.")

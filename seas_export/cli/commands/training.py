"""`train` and `export`: from photographs to a checkpoint, and from a checkpoint to a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seas_export.cli import options, output

if TYPE_CHECKING:
    from seas_export.config.build import ExportConfig


Run = Annotated[
    Path | None,
    typer.Option("--run", help="Folder for saves, losses and previews; OUT-training by default."),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the last save in the run folder.")]
Seed = Annotated[int | None, typer.Option("--seed", help="The same seed gives the same weights.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Estimate memory and time, and train nothing.")]


@output.command("Add --resume to the same command: training goes on from its last save.")
def train(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A product's folder.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Checkpoint folder to make; --dry-run needs none.")
    ] = None,
    method: options.Method = None,
    base: options.Base = "micro",
    allow_pickle: options.AllowPickle = False,
    reproduce: options.Reproduce = None,
    run: Run = None,
    resume: Resume = False,
    force: options.Force = False,
    seed: Seed = None,
    save_every: Annotated[
        int | None,
        typer.Option("--save-every", help="Steps between saves: the most that a killed run loses."),
    ] = None,
    preview_every: Annotated[
        int | None, typer.Option("--preview-every", help="Steps between preview sheets; 0 for none.")
    ] = None,
    preset: options.Preset = None,
    layout: options.Layout = None,
    fit: options.Fit = None,
    regions: options.Regions = None,
    window: options.Window = None,
    masks: options.Masks = None,
    shots: options.Shots = None,
    normals: options.Normals = None,
    defect: options.Defects = None,
    memory: options.Memory = None,
    lora: options.Lora = None,
    image_encoder: options.ImageEncoder = None,
    captions: options.Captions = None,
    dry_run: DryRun = False,
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE.yaml", help="Training options; the command line wins."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any training option, such as finetune.steps=200."),
    ] = None,
    json: options.Json = False,
) -> None:
    """Train a base on a product; by default U-Net and prompt tokens, then the mask head."""
    from seas_export.pipeline.training.training import TrainRequest, estimate, train_checkpoint
    from seas_runtime.errors import UserError

    if out is None and not dry_run:
        raise UserError("--out: expected the checkpoint's folder, found none. Give it: --out CKPT")
    folder = out if out is not None else Path("checkpoint")
    request = TrainRequest(
        directory=directory,
        base=base,
        out=folder,
        run=run if run is not None else folder.with_name(folder.name + "-training"),
        photographs=options.photographs(
            defect,
            layout=layout,
            fit=fit,
            regions=regions,
            window=window,
            masks=masks,
            shots=shots,
            normals=normals,
        ),
        resume=resume,
        force=force,
        stand_for={
            **options.memory_options(memory, lora, method or "seas"),
            **options.method_files(method or "seas", image_encoder=image_encoder, captions=captions),
        },
        allow_pickle=allow_pickle,
        reproduce=reproduce,
        preset=preset,
        method=method or "seas",
    )
    words = set_ or []
    given = options.given(seed=seed, save_every=save_every, preview_every=preview_every)
    if dry_run:
        found = estimate(request, file=config, assignments=words, given=given, say=output.say)
        output.report(found.to_dict(), found.to_text(), json)
        return
    made = train_checkpoint(request, file=config, assignments=words, given=given, say=output.say)
    text = (
        f"{made.checkpoint}: {made.product} ({', '.join(made.defects)}) on {made.base}; {made.seconds:.0f} s"
    )
    output.report(made.to_dict(), text, json)


@output.command("Add --resume to the same command: training goes on from its last save.")
def distill(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="A checkpoint's folder: the teacher.")
    ],
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of its product.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Checkpoint folder to make; --dry-run needs none.")
    ] = None,
    steps: Annotated[int | None, typer.Option("--steps", help="Steps of the student, 1 to 8; 4.")] = None,
    mask_steps: Annotated[
        int | None, typer.Option("--mask-steps", help="1 to 3: how many of its last steps give a mask; 1.")
    ] = None,
    run: Run = None,
    resume: Resume = False,
    force: options.Force = False,
    seed: Seed = None,
    preset: options.Preset = None,
    layout: options.Layout = None,
    fit: options.Fit = None,
    regions: options.Regions = None,
    window: options.Window = None,
    masks: options.Masks = None,
    shots: options.Shots = None,
    normals: options.Normals = None,
    defect: options.Defects = None,
    memory: options.Memory = None,
    lora: options.Lora = None,
    dry_run: DryRun = False,
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE.yaml", help="Options of distillation; the command line wins."),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any option, such as distill.steps=200."),
    ] = None,
    json: options.Json = False,
) -> None:
    """Train a student of a checkpoint: pairs in few steps without guidance, and a mask head of its own."""
    from seas_export.pipeline.training.distill import (
        DistillRequest,
        distill_checkpoint,
        estimate_distillation,
    )
    from seas_runtime.errors import UserError

    if out is None and not dry_run:
        raise UserError("--out: expected the checkpoint's folder, found none. Give it: --out CKPT")
    folder = out if out is not None else Path("student")
    request = DistillRequest(
        checkpoint=checkpoint,
        directory=directory,
        out=folder,
        run=run if run is not None else folder.with_name(folder.name + "-training"),
        photographs=options.photographs(
            defect,
            layout=layout,
            fit=fit,
            regions=regions,
            window=window,
            masks=masks,
            shots=shots,
            normals=normals,
        ),
        resume=resume,
        force=force,
        memory=memory,
        lora=lora,
        preset=preset,
        options=options.given(student_steps=steps, mask_steps=mask_steps, seed=seed),
    )
    words = set_ or []
    if dry_run:
        found = estimate_distillation(request, file=config, assignments=words, say=output.say)
        output.report(found.to_dict(), found.to_text(), json)
        return
    made = distill_checkpoint(request, file=config, assignments=words, say=output.say)
    text = f"{made.checkpoint}: a student of {checkpoint}; {made.seconds:.0f} s"
    output.report(made.to_dict(), text, json)


@output.command("Run the same command again: the bundle appears whole or not at all.")
def export(
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="A checkpoint's folder.")],
    out: Annotated[Path, typer.Option("--out", help="Bundle folder to make.")],
    precision: Annotated[str, typer.Option("--precision", help="fp32, fp16 or int8.")] = "fp32",
    target: Annotated[
        str, typer.Option("--target", help="What it is for: cpu, openvino, cuda, rtx, tensorrt.")
    ] = "cpu",
    steps: Annotated[
        int | None,
        typer.Option("--steps", help="Denoising steps of the schedule; by default the method's, 25 of seas."),
    ] = None,
    layout: Annotated[
        str,
        typer.Option("--layout", help="bundle, or optimum: the plain parts, for Hugging Face's pipelines."),
    ] = "bundle",
    own_prompts: Annotated[
        bool,
        typer.Option("--own-prompts", help="Put the tokenizer in: `generate --prompt` then works."),
    ] = False,
    guidance_rescale: Annotated[
        float | None,
        typer.Option(
            "--guidance-rescale",
            help="Let steps rescale guidance, 0 to 1 by default; without it bundles cannot.",
        ),
    ] = None,
    add_noise_step: Annotated[
        int | None,
        typer.Option(
            "--add-noise-step", help="Steps that the noise schedule is stretched to for the start; 1500."
        ),
    ] = None,
    sampler: Annotated[
        list[str] | None,
        typer.Option(
            "--sampler",
            help="One more: unipc_1, dpmpp_2m_sde, dpmpp_2m_karras, dpmpp_2m_sde_karras, lcm; repeat.",
        ),
    ] = None,
    backgrounds: Annotated[
        int | None,
        typer.Option(
            "--backgrounds",
            help="Photographs of normals in the bundle to draw defects into; 16, at most 200 MB together.",
        ),
    ] = None,
    parity: Annotated[
        bool, typer.Option("--parity/--no-parity", help="Check every graph against PyTorch.")
    ] = True,
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Turn a checkpoint into a bundle of ONNX graphs and tables, and check it against PyTorch."""
    from seas_export.config.build import ExportConfig, ExportLayout
    from seas_train.settings import COMMAND_LINE, choice, overlay

    options_given = {"precision": precision, "target": target, "own_prompts": own_prompts}
    options_given |= options.given(
        steps=steps,
        guidance_rescale=guidance_rescale,
        add_noise_step=add_noise_step,
        samplers=tuple(sampler) if sampler else None,
        backgrounds=backgrounds,
    )
    config = overlay(ExportConfig(), options_given, COMMAND_LINE, "export")
    if choice(ExportLayout, layout, "--layout") is ExportLayout.OPTIMUM:
        _export_optimum(checkpoint, out, config, force, json)
        return
    from seas_export.export import export_bundle

    result = export_bundle(
        checkpoint,
        out,
        precision=config.precision,
        target=config.target,
        steps=config.steps,
        extras=config.extras,
        parity=parity,
        force=force,
        progress=output.say,
    )
    output.report(result.to_dict(), result.to_text(), json)


def _export_optimum(checkpoint: Path, out: Path, config: ExportConfig, force: bool, json: bool) -> None:
    """Write the plain parts; the target is whatever runs ONNX."""
    from seas_export.config.build import ExportConfig
    from seas_export.export.optimum import export_optimum
    from seas_runtime.errors import UserError

    if config.target != "cpu":
        raise UserError(
            f"--target {config.target}: --layout optimum writes plain graphs, for any target. Leave it out."
        )
    if config.extras != ExportConfig().extras:
        raise UserError(
            "--own-prompts, --guidance-rescale, --add-noise-step, --sampler, --backgrounds: are a bundle's. "
            "Leave them out with --layout optimum."
        )
    export_optimum(checkpoint, out, precision=config.precision, force=force, progress=output.say)
    data = {"folder": str(out), "layout": "optimum", "precision": config.precision}
    output.report(data, f"{out}: {config.precision} parts for optimum's ORTStableDiffusionPipeline", json)

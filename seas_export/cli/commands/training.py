"""`train` and `distill`: from photographs to a checkpoint, and from it to that of its student."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from seas_export.cli import options, output

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
    generated: Annotated[
        Path | None,
        typer.Option(
            "--generated",
            metavar="DATASET",
            help="Whole pictures of the teacher's bundle (generate --from noise), to learn on as well.",
        ),
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
        generated=generated,
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

"""The build: each part reads what the part before it wrote, and is made only when it is not current."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from seas_export.config.build import BuildConfig, ProveConfig
from seas_export.machine.machine import describe_machine
from seas_export.pipeline.digests import clear_damaged, folder_digest
from seas_export.pipeline.engines import build_engines, engine_options
from seas_export.pipeline.ledger import BUILD_FILE, Before, Ledger, check_place, only_build
from seas_export.pipeline.parts.exporting import export
from seas_export.pipeline.parts.fast import STUDENT, check_fast, compare, distill
from seas_export.pipeline.parts.generation import generate
from seas_export.pipeline.parts.judging import evaluate, judge, set_aside
from seas_export.pipeline.parts.model import Model
from seas_export.pipeline.parts.proving import check_proof, has_pairs, prove
from seas_export.pipeline.parts.reporting import write_report
from seas_export.pipeline.result import ASIDE, BuildResult
from seas_export.pipeline.source import Source, find_source
from seas_export.pipeline.training.training import load_trainable, photographs_by, training_config
from seas_export.verdict.files import SET_ASIDE, read_verdicts
from seas_export.version import version
from seas_runtime.dataset.layout import DATASET_NAME
from seas_runtime.outputs.kinds import remove
from seas_runtime.outputs.temporary import sweep
from seas_runtime.printable import printable
from seas_train.data.names import shown_label

if TYPE_CHECKING:
    from seas_engines.targets.options import EngineOptions
    from seas_train.bases.base import Base
    from seas_train.data import Product
    from seas_train.settings import Settings

Say = Callable[[str], None]

SAMPLE_SEED = 0


def build(
    config: BuildConfig, *, force: bool = False, restore: bool = False, say: Say = lambda text: None
) -> BuildResult:
    """Make everything that `config` asks for under its folder; with `force` also what is current.

    Files that no build made are left alone. Pairs that a person removed are made again with `restore`.

    Raises:
        UserError: the photographs, the base or an option is not usable. Found before any work starts.
        CheckFailed: a part failed its check: training diverged, or parity was out of bounds.
    """
    begun = time.perf_counter()
    source = find_source(config.product, config.data, config.folder)
    config = replace(config, product=source.directory.name)  # a label or name may mean a folder of another
    out = config.folder
    check_place(out, source, config.base)
    with only_build(out):
        sweep(out)
        ledger = Ledger.open(out, shown_label(config.product), force=force, say=say)
        return _Build(config, out, source, ledger, say, restore).run(begun)


class _Build:
    """One run of a build."""

    def __init__(
        self, config: BuildConfig, out: Path, source: Source, ledger: Ledger, say: Say, restore: bool
    ) -> None:
        self.config, self.out, self.source, self.ledger, self.say = config, out, source, ledger, say
        self.restore = restore
        self.model, self.student = Model(out), Model(out / "fast", "distill", " of the student")
        self.dataset, self.aside = out / "dataset", out / SET_ASIDE
        self.proof = out / "proof"
        self.report, self.overview = out / "report.html", out / "overview.png"
        self.photographs = photographs_by(config.reproduce, config.preset, config.photographs, config.method)
        self.label = shown_label(config.product)
        ledger.check_free(
            {
                "sample": (source.directory,) if source.sample else (),
                **self.model.places(),
                **(self.student.places() if config.fast.run else {}),
                "generate": (self.dataset,),
                # An earlier build's may still be there, though its part is forgotten.
                ASIDE: () if (self.aside / DATASET_NAME).is_file() else (self.aside,),
                "prove": (self.proof,) if config.prove.run else (),
                "report": (self.report, self.overview),
            }
        )

    def run(self, begun: float) -> BuildResult:
        """Check what is given, then make the parts one after the other."""
        from seas_engines.building.compile import check_engines
        from seas_runtime.dataset.layout import CONTACT_SHEET_NAME

        self.say(f"{self.label}: {self.source.words}")
        if self.config.threads is not None:
            import torch

            torch.set_num_threads(self.config.threads)
        options = engine_options(self.config)
        if options is not None:
            check_engines(options)  # before hours of training, not after
        if self.config.fast.run:
            check_fast(self.config)
        base = load_trainable(self.config.base, self.config.allow_pickle, self.config.method)
        product = self._product(base)
        proof = check_proof(self.config.prove, product) if self.config.prove.run else None
        values = {**self.config.train, "seed": self.config.seed}
        train = training_config(base, product, values, "train", self.config.reproduce, self.config.method)
        self._note(base, product, train)
        self._train(base, product, train)
        model, config = self._models(product, options)
        verdicts = read_verdicts(model.verdict)
        self.ledger.note(
            verdicts={verdict.defect: verdict.state.value for verdict in verdicts},
            pairs_by=model.folder.relative_to(self.out).as_posix(),
        )
        folders = {"generate": self.dataset, ASIDE: self.aside}
        generate(self.ledger, config, verdicts, model, folders, self.restore, self.say)
        proved = proof is not None and self._prove(proof)
        reported = write_report(self.ledger, product, self.report, self.overview, self.say)
        seconds = time.perf_counter() - begun
        self.ledger.note(finished=True, seconds=seconds)
        made = {
            **({"sample": self.source.directory} if self.source.sample else {}),
            "checkpoint": self.model.checkpoint,
            "training": self.model.training,
            "mask scores": self.model.scores,
            "verdict": model.verdict,
            "bundle": self.model.bundle,
            **({"fast": self.student.folder} if self.config.fast.run else {}),
            "dataset": self.dataset,
            **({ASIDE: self.aside} if set_aside(verdicts, config) else {}),
            "contact sheet": self.dataset / CONTACT_SHEET_NAME,
            **({"proof": self.proof} if proved else {}),
            **({"overview": self.overview} if reported else {}),
            "record": self.out / BUILD_FILE,
            **({"report": self.report} if reported else {}),
        }
        parts = {name: entry.seconds for name, entry in self.ledger.entries.items()}
        words = self.source.words
        return BuildResult.of(self.label, product.labels, words, self.out, parts, made, verdicts, seconds)

    def _product(self, base: Base) -> Product:
        """The checked product; the sample is rendered first where it is the source."""
        from seas_train.data import load_product
        from seas_train.data.published import as_published, recognition_line

        size = base.geometry.image_size
        if self.source.sample:
            self._sample(size)
        product = load_product(
            self.source.directory,
            self.photographs,
            size=size,
            latent_factor=base.geometry.latent_factor,
        )
        product = as_published(product, self.config.preset)
        names = [defect.name for defect in product.defects]
        if line := recognition_line(product.name, product.layout, names):
            self.say(f"recognised: {line}")
        counts = ", ".join(
            f"{product.labels.get(d.name, d.name)} {len(d.train)} + {len(d.test)}" for d in product.defects
        )
        self.say(f"product: {len(product.normals)} normals train; pairs (training + held out): {counts}")
        self.say(f"  {product.report.regions_line()}")
        for line in product.report.warning_lines():
            self.say(f"  {line}")
        if product.report.warnings:
            self.say(f"  all of it: seas-export data inspect '{printable(str(self.source.directory))}'")
        return product

    def _sample(self, size: int) -> None:
        """Render the sample product."""
        from seas_train.sample import write_sample
        from seas_train.sample.write import SAMPLE, VERSION

        self.ledger.part(
            "sample",
            {"seed": SAMPLE_SEED, "size": size, "version": VERSION},
            self.source.directory,
            lambda before: write_sample(
                self.source.directory.parent, SAMPLE_SEED, size, overwrite=True, keep=True
            ),
            folder_digest(SAMPLE),
        )

    def _note(self, base: Base, product: Product, train: Settings) -> None:
        """Write down everything that this build follows from."""
        self.ledger.note(
            version=version(),
            finished=False,
            source={"directory": self.source.directory, "sample": self.source.sample},
            fingerprints={"product": product.fingerprint, "base": base.fingerprint},
            layout=product.layout.value,
            base={"name": base.name, "licence": base.licence},
            config={**self.config.to_dict(), "train": train.to_dict()},
            machine=describe_machine(self.out).to_dict(),
        )

    def _train(self, base: Base, product: Product, config: Settings) -> None:
        """Both stages of training, to a checkpoint."""
        from seas_train import train_product
        from seas_train.checkpoint import CHECKPOINT
        from seas_train.methods.table import find_method
        from seas_train.training.state import STAGE, AnotherRun

        method = find_method(self.config.method)

        def run(resume: bool) -> None:
            train_product(
                product,
                base,
                self.model.checkpoint,
                self.model.training,
                config,
                method=self.config.method,
                resume=resume,
                progress=sys.stderr.isatty(),
            )

        def make(before: Before) -> None:
            if before is not Before.NOTHING:
                clear_damaged(self.model.checkpoint, CHECKPOINT)
            # A checkpoint that was damaged, or is to recommend something else, is written again from its
            # training's last state.
            try:
                run(before is not Before.NOTHING)
            except AnotherRun as error:  # as with other options of a later stage, or on another processor
                if before is not Before.RESTATED:
                    raise
                stages = [*method.stages]
                later = stages[stages.index(error.stage) :]
                again = [stage for stage in later if (self.model.training / stage).is_dir()]
                self.say(f"train: training {', '.join(again)} again ({error})")
                for folder in (self.model.training / stage for stage in again):
                    remove(folder, STAGE.matching(folder))
                run(True)

        inputs = {
            "version": version(),
            "product": product.name,
            **({} if self.config.method == "seas" else {"method": self.config.method}),
            "photographs": product.fingerprint,
            "base": base.fingerprint,
            # How often a state is saved does not change what is trained.
            "config": {**config.to_dict(), "save_every": None, "preview_every": None},
            **method.read(product, config),
        }
        made, digest = self.model.checkpoint, folder_digest(CHECKPOINT)
        restated = [f"config.{section}" for section in method.later]
        self.ledger.part("train", inputs, made, make, digest, restated=restated)

    def _models(self, product: Product, options: EngineOptions | None) -> tuple[Model, BuildConfig]:
        """Judge the model, and a student beside it where one is asked for; return what makes the pairs."""
        ledger, config, teacher = self.ledger, self.config, self.model
        models = [teacher]
        if config.fast.run:
            models.append(self.student)
        for model in models:
            if model is self.student:
                distill(ledger, config, product, teacher, model)
            evaluate(ledger, config, product, model)
            export(ledger, config, model, self.say)
            if options is not None:
                build_engines(model.bundle, options, self.say)
            judge(ledger, config, model)
        if not config.fast.run:
            ledger.note(fast=None)
            return teacher, config
        found = compare(ledger, config, teacher, self.student, self.say)
        asked = replace(config.generate, mask_steps=found["mask_steps"])
        return (self.student if found["taken"] == STUDENT else teacher), replace(config, generate=asked)

    def _prove(self, options: ProveConfig) -> bool:
        """What the pairs are worth; False where there are none."""
        if not has_pairs(self.dataset):
            self.say("prove: left out, for the data set has no pairs")
            return False
        folders = (self.source.directory, self.dataset, self.proof)
        prove(self.ledger, self.config, options, self.photographs, folders, self.say)
        return True

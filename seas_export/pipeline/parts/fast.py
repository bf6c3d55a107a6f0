"""Cheaper pairs, where they are as good: `build --fast`.

A student of few steps is distilled, exported and judged as its teacher was. Pairs of both are then made from
the same seeds; the student makes the data set where every figure is within its bound. Where one is not, the
teacher does, with one mask where that changes little. What was found stands in fast.json.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seas_export.config.build import BuildConfig
from seas_export.pipeline.digests import clear_damaged, folder_digest
from seas_export.pipeline.ledger import Before, Ledger
from seas_export.pipeline.parts.model import Model
from seas_export.verdict import State, Verdict
from seas_export.verdict.files import read_verdicts
from seas_export.version import version
from seas_runtime.errors import UserError
from seas_runtime.files import read_json, write_json
from seas_train.settings import COMMAND_LINE, overlay

if TYPE_CHECKING:
    from seas_export.quality.pairs import Made, Quality
    from seas_train.data import Product

FIRST_TRY, IOU, SPREAD, SCORE, SAME_MASKS = 0.05, 0.03, 0.9, 0.9, 0.95
"""Bounds: a student's first tries and IoU on held-out photographs may lie so far below its teacher's; spread
and score are at least this part of the teacher's; masks of one step agree so far with those of all. And no
defect's verdict may be worse."""

_NO_MATTER = ("pairs", "keep", "oversample")
"""Options of generation that do not change what one pair is like."""
STUDENT, ONE_MASK, NOTHING = "student", "one mask", "nothing"
"""What may be taken."""


@dataclass(frozen=True)
class Check:
    """A figure of the fast way beside its teacher's."""

    name: str
    teacher: float
    fast: float
    bound: float
    """What it is to reach at least."""

    @property
    def passed(self) -> bool:
        """Whether it does."""
        return self.fast >= self.bound


def check_fast(config: BuildConfig) -> None:
    """Refuse, by a UserError and before any work, options that a student cannot have."""
    from seas_train.methods.table import find_method

    way = find_method(config.method).distillation
    if way is None:
        raise UserError(
            f"--fast: method {config.method} leaves its base as it is: there is no U-Net of its own to "
            "distill. Leave --fast out, or take --method seas."
        )
    if config.generate.guidance is not None:
        raise UserError(
            "--fast: a student takes its steps without guidance, which is in its weights. Leave --guidance "
            "out; what it learns is `train.generation.guidance`."
        )
    for name in ("negative_prompt", "guidance_rescale"):
        if getattr(config.generate, name) is not None:
            raise UserError(
                f"--fast: generate.{name} is of steps with guidance, and a student takes none. Leave one out."
            )
    overlay(way.blank, {**config.fast.distill, "seed": config.seed}, COMMAND_LINE, "fast.distill")


def distill(ledger: Ledger, config: BuildConfig, product: Product, teacher: Model, student: Model) -> None:
    """Distill a student: a part of the build."""
    from seas_train import load_checkpoint
    from seas_train.checkpoint import CHECKPOINT
    from seas_train.methods.table import find_method

    way = find_method(config.method).distillation
    assert way is not None  # as `check_fast` saw
    loaded = load_checkpoint(teacher.checkpoint)
    way.check(loaded, product)
    asked = {**config.fast.distill, "seed": config.seed}
    wanted = overlay(way.defaults(loaded, product), asked, COMMAND_LINE, "fast.distill")

    def make(before: Before) -> None:
        if before is not Before.NOTHING:
            clear_damaged(student.checkpoint, CHECKPOINT)
        resume = before is not Before.NOTHING
        way.run(
            loaded,
            product,
            student.checkpoint,
            student.training,
            wanted,
            resume=resume,
            progress=sys.stderr.isatty(),
        )

    inputs = {
        "version": version(),
        "teacher": ledger.entries[teacher.trained].output,
        "photographs": product.fingerprint,
        "config": {**wanted.to_dict(), "save_every": None, "preview_every": None},
    }
    ledger.part(student.trained, inputs, student.checkpoint, make, folder_digest(CHECKPOINT))


def compare(
    ledger: Ledger, config: BuildConfig, teacher: Model, student: Model, say: Callable[[str], None]
) -> dict[str, Any]:
    """Measure both and return what to make pairs with, as fast.json has it: a part of the build."""
    from seas_runtime.generation.placing.backgrounds import Backgrounds

    out = student.folder / "fast.json"
    wanted = config.generate
    inputs = {
        "version": version(),
        **{
            f"{part} of the {who}": ledger.entries[model.part(part)].output
            for who, model in (("teacher", teacher), ("student", student))
            for part in ("evaluate", "export", "verdict")
        },
        "pairs": config.fast.pairs,
        "seed": config.seed,
        **({} if wanted.onto is None else {"photographs": Backgrounds.of_folder(wanted.onto).digest}),
        "generate": {name: value for name, value in wanted.to_dict().items() if name not in _NO_MATTER},
    }
    ledger.part(
        student.part("compare"), inputs, out, lambda before: _compare(config, teacher, student, out, say)
    )
    found: dict[str, Any] = read_json(out, "comparison")
    ledger.note(fast=found)
    say(found["words"])
    return found


def _compare(
    config: BuildConfig, teacher: Model, student: Model, out: Path, say: Callable[[str], None]
) -> None:
    own = config.generate.mask_steps
    slow, fast = _pairs(config, teacher, own, say), _pairs(config, student, None, say)
    checks = [
        *_checks(slow.quality, fast.quality),
        *_mask_checks(read_json(teacher.scores, "scores"), read_json(student.scores, "scores")),
        *_verdict_checks(read_verdicts(teacher.verdict), read_verdicts(student.verdict)),
    ]
    failed = [check for check in checks if not check.passed]
    masks: list[Check] = []
    taken, mask_steps, cheapest = NOTHING, own, slow.quality
    if not failed:
        taken, mask_steps, cheapest = STUDENT, None, fast.quality
    elif own is None:
        one = _pairs(config, teacher, 1, say)
        agreed = one.against(slow).mask_iou
        masks = [
            *_checks(slow.quality, one.quality)[:1],
            Check("masks of the last step against those of all, IoU", 1.0, agreed or 0.0, SAME_MASKS),
        ]
        if all(check.passed for check in masks):
            taken, mask_steps, cheapest = ONE_MASK, 1, one.quality
    gain = slow.quality.seconds / cheapest.seconds
    write_json(
        out,
        {
            "taken": taken,
            "mask_steps": mask_steps,
            "words": _in_words(taken, gain, failed),
            "times faster": gain,
            "teacher": asdict(slow.quality),
            "student": asdict(fast.quality),
            "student's checks": [asdict(check) | {"passed": check.passed} for check in checks],
            "one mask's checks": [asdict(check) | {"passed": check.passed} for check in masks],
        },
    )


def _pairs(config: BuildConfig, model: Model, mask_steps: int | None, say: Callable[[str], None]) -> Made:
    """Pairs of every defect of a model, in its bundle's own way but for the number of masks."""
    from seas_export.placing.choice import choose_placing
    from seas_export.quality.pairs import Way, make_pairs
    from seas_runtime import Generator

    wanted = config.generate
    generator = Generator.open(model.bundle, wanted.backend, config.threads)
    placing = choose_placing(generator, wanted.source, wanted.onto, wanted.placing, regions_alone=True)
    schedule = generator.bundle.schedule()
    way = Way(schedule.sampler, schedule.steps, mask_steps)
    options = {name: value for name, value in wanted.asked.items() if name != "mask_steps"}
    made = make_pairs(
        generator,
        way,
        generator.manifest.defects,
        pairs=config.fast.pairs,
        seed=config.seed,
        batch=wanted.batch,
        placing=placing,
        tau=wanted.tau,
        options=options,
    )
    say(f"{model.part('compare')}: {way.in_words()}: {made.quality.seconds:.3f} s a pair")
    return made


def _checks(teacher: Quality, fast: Quality) -> list[Check]:
    """What two ways' pairs are compared by."""
    checks = [
        Check("passed at the first try", teacher.first_try, fast.first_try, teacher.first_try - FIRST_TRY),
        Check("spread", teacher.spread, fast.spread, SPREAD * teacher.spread),
    ]
    if teacher.score is not None:
        checks.append(Check("score", teacher.score, fast.score or 0.0, SCORE * teacher.score))
    return checks


def _mask_checks(teacher: Mapping[str, Any], student: Mapping[str, Any]) -> list[Check]:
    """The mask heads on held-out photographs, where there were any."""
    defects = teacher.get("defects", {})
    if not defects or not student.get("defects"):
        return []
    before, after = (
        sum(score["iou"] for score in found["defects"].values()) / len(found["defects"])
        for found in (teacher, student)
    )
    return [Check("IoU of masks of held-out photographs", before, after, before - IOU)]


def _verdict_checks(teacher: Sequence[Verdict], student: Sequence[Verdict]) -> list[Check]:
    """Each defect's verdict: a student may not cost one."""
    ranks = {State.NOT_USABLE: 0.0, State.DOUBTFUL: 1.0, State.USABLE: 2.0}
    found = {verdict.defect: ranks[verdict.state] for verdict in student}
    return [
        Check(f"verdict of {verdict.defect}", rank, found.get(verdict.defect, 0.0), rank)
        for verdict in teacher
        for rank in (ranks[verdict.state],)
    ]


def _in_words(taken: str, gain: float, failed: list[Check]) -> str:
    """What was taken, and why not more."""
    why = "; ".join(
        f"{check.name} {check.fast:.3g} (teacher {check.teacher:.3g}, expected {check.bound:.3g} or more)"
        for check in failed
    )
    if taken == STUDENT:
        return f"fast: pairs are made by the student, {gain:.1f} times as fast"
    way = "with one mask" if taken == ONE_MASK else "as without --fast"
    return f"fast: pairs are made by the teacher {way}, {gain:.1f} times as fast, for of the student {why}"

"""The rules: figures to a verdict, with the reasons and what to try.

The bounds lie between what was measured of products that came out well and of ones that did not: see
docs/results.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

from seas_export.verdict.figures import Figures

IOU_NOT, IOU_USABLE = 0.2, 0.4
"""Of held-out masks, over chance: below the first not usable, from the second on usable."""
EMPTY_USABLE = 0.5
"""Share of held-out normals with an empty mask; fewer are a doubt."""
PROMPT_NOT, PROMPT_USABLE = 0.1, 0.3
"""The prompt's change of the picture over another noise's."""


class State(str, Enum):
    """Whether a defect's pairs can be used; from best to worst."""

    USABLE = "usable"
    DOUBTFUL = "doubtful"
    NOT_USABLE = "not usable"


_ORDER = list(State)
LONGER = "finetune.steps"
"""The key of training that trains longer, of SeaS."""
_LEARN = (
    "start from a base that has seen photographs, a Stable Diffusion 1.x: --base",
    "look whether the defect is large enough at the base's size: seas-export data inspect",
)
_REGIONS = "train on regions of the photographs: --regions on"
_MASKS = "train the mask head longer: --set train.mask_head.steps=N"


@dataclass(frozen=True)
class Verdict:
    """Of one defect: its state, why it is not usable or doubtful, and what to try."""

    defect: str
    state: State
    why: tuple[str, ...]
    advice: tuple[str, ...]
    figures: Figures

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {**asdict(self), "state": self.state.value}

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> Verdict:
        """Return what `to_dict` gave."""
        return cls(
            values["defect"],
            State(values["state"]),
            tuple(values["why"]),
            tuple(values["advice"]),
            Figures.read(values["figures"]),
        )

    @property
    def summary(self) -> str:
        """The figures in a line."""
        masks, normals, prompt = self.figures.masks, self.figures.normals, self.figures.prompt
        words = []
        if masks is not None:
            what = "regions held out" if masks.regions else "held out"
            words.append(
                f"mask IoU {masks.iou:.2f} of {masks.pairs} {what}" if masks.pairs else "no pair held out"
            )
        if normals is not None and normals.images:
            what = "regions of normals empty" if normals.regions else "normals' masks empty"
            words.append(f"{normals.empty} of {normals.images} {what}")
        if prompt is not None:
            words.append(f"prompt {prompt.ratio:.2f} of noise")
        return ", ".join(words) or "nothing measured"


def verdict_of(defect: str, figures: Figures, longer: str = LONGER, guided: bool = True) -> Verdict:
    """Return the verdict: the worst of what the figures say.

    longer: the key of training that trains longer. guided: whether pairs can be made with guidance.
    """
    learn = (f"train longer (--set train.{longer}=N) or on more pairs (--shots)", *_LEARN)
    closer = ("follow the prompt more closely: a higher --guidance",) if guided else ()
    found = list(_findings(figures, learn, closer))
    state = max((state for state, _, _ in found), key=_ORDER.index, default=State.USABLE)
    advice = dict.fromkeys(line for _, _, lines in found for line in lines)
    return Verdict(defect, state, tuple(why for _, why, _ in found), tuple(advice), figures)


def _findings(
    figures: Figures, learn: Sequence[str], closer: Sequence[str]
) -> Iterator[tuple[State, str, Sequence[str]]]:
    """What speaks against a defect: how much, why, and what to try."""
    masks, normals, prompt = figures.masks, figures.normals, figures.prompt
    if masks is None and prompt is None:
        yield State.DOUBTFUL, "its method has no figure to judge it by", ("look at its pairs in the report",)
    if masks is not None and not masks.pairs:
        advice = "hold pairs out: photograph more of this defect, or give fewer --shots"
        yield State.DOUBTFUL, "no pair was held out, so its masks were compared with nothing", (advice,)
    elif masks is not None and (state := _grade(masks.over_chance, IOU_NOT, IOU_USABLE)) is not State.USABLE:
        state = State.DOUBTFUL if masks.laid else state  # its pairs have their placements for masks
        placed = "; where it finds too little of a pair, that pair's placement is its mask"
        chance = f"; one that marks everything has {masks.area:.2f}" if masks.area >= 0.05 else ""
        yield (
            state,
            f"on {masks.judged} its masks reach an IoU of {masks.iou:.2f} with the real ones "
            f"({IOU_USABLE:g} and more is usable{chance}){placed if masks.laid else ''}",
            (*learn, *(() if masks.regions else (_REGIONS,)), _MASKS),
        )
    if normals is not None and normals.images and normals.empty < EMPTY_USABLE * normals.images:
        yield (
            State.DOUBTFUL,
            f"masks mark something in {normals.marked} held-out normals, which have no defect",
            (_MASKS, "cut masks at a higher threshold: --tau"),
        )
    if prompt is not None and (state := _grade(prompt.ratio, PROMPT_NOT, PROMPT_USABLE)) is not State.USABLE:
        yield (
            state,
            f"its prompt changes a picture {prompt.ratio:.2f} times as much as other noise does "
            f"({PROMPT_USABLE:g} and more is usable): with it and without it, nearly the same is made",
            (*learn, *closer),
        )


def _grade(value: float, bad: float, good: float) -> State:
    """A figure of which more is better."""
    return State.NOT_USABLE if not value >= bad else State.DOUBTFUL if value < good else State.USABLE


def in_words(verdicts: Sequence[Verdict]) -> str:
    """All verdicts for the terminal: a line each, and why and what to try below those that are not usable."""
    counts = ", ".join(
        f"{count} {state.value}" for state in State if (count := sum(v.state is state for v in verdicts))
    )
    width = max(len(verdict.defect) for verdict in verdicts)
    lines = [f"verdict: {counts} of {len(verdicts)} defects"]
    for verdict in verdicts:
        state = verdict.state.value.upper() if verdict.state is State.NOT_USABLE else verdict.state.value
        lines.append(f"  {verdict.defect.ljust(width)}  {state.ljust(10)}  {verdict.summary}")
        lines += [f"  {' ' * width}    {line}" for line in verdict.why]
    advice = dict.fromkeys(line for verdict in verdicts for line in verdict.advice)
    return "\n".join([*lines, *(f"  try: {line}" for line in advice)])

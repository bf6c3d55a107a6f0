"""Whether what a build made of a defect can be used, from what was measured."""

from seas_export.verdict.figures import Figures, Normals, PromptEffect, Scores
from seas_export.verdict.rules import State, Verdict, in_words, verdict_of

__all__ = ["Figures", "Normals", "PromptEffect", "Scores", "State", "Verdict", "in_words", "verdict_of"]

"""The authors' prompt tokens: `ob1` for the product, `sks1`, `sks2`, ... for its defects, four for each.

Their code can be told other numbers of both; see `count_defects`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from seas_runtime.errors import UserError
from seas_train.data.names import unique_names
from seas_train.diffusion.prompt_encoding import tokenize
from seas_train.methods.seas.prompts import Prompts

AUTHORS_NORMAL_TOKEN = "ob1"
TOKENS_PER_DEFECT = 4
_NORMAL_TOKEN = re.compile(r"ob([1-9]\d*)")
_ANOMALY_TOKEN = re.compile(r"sks([1-9]\d*)")


@dataclass(frozen=True)
class AuthorsPrompts(Prompts):
    """The prompts that an imported checkpoint was trained with: `a ob1 with sks1 sks2 sks3 sks4`.

    `defects` are in the order of their tokens: that of the folders' names when they were trained, sorted.
    """

    anomaly_tokens: int = TOKENS_PER_DEFECT

    @property
    def product_tokens(self) -> tuple[str, ...]:
        """The product's own tokens."""
        return tuple(f"ob{number}" for number in range(1, self.normal_tokens + 1))

    def defect_tokens(self, defect: str) -> tuple[str, ...]:
        """The anomaly tokens of one defect."""
        first = 1 + self.anomaly_tokens * self.defects.index(defect)
        return tuple(f"sks{number}" for number in range(first, first + self.anomaly_tokens))


def count_defects(tokenizer: Any, where: str, each: int = TOKENS_PER_DEFECT) -> tuple[int, int]:
    """Count the defects that a tokenizer of the authors' has tokens for, and the product's tokens.

    Args:
        tokenizer: with the added tokens.
        where: starts messages.
        each: anomaly tokens of each defect, as many as were trained.

    Raises:
        UserError: the tokens are not `ob1` and so on, and `sks1` to `sks{each x defects}`.
    """
    vocabulary = tokenizer.get_vocab()
    normals, numbers = (
        sorted(int(match[1]) for match in map(token.fullmatch, vocabulary) if match)
        for token in (_NORMAL_TOKEN, _ANOMALY_TOKEN)
    )
    whole = all(found == list(range(1, len(found) + 1)) for found in (normals, numbers))
    if not normals or not numbers or not whole or len(numbers) % each:
        found = [*(f"ob{number}" for number in normals), *(f"sks{number}" for number in numbers)]
        raise UserError(
            f"{where}: expected the added tokens {AUTHORS_NORMAL_TOKEN} and sks1 to sks{{{each} x defects}}, "
            f"found {', '.join(found) or 'none of them'}; give the folder that the authors' training wrote, "
            "and --anomaly-tokens where a defect has not four"
        )
    return len(numbers) // each, len(normals)


def make_prompts(
    labels: Sequence[str], count: int, source: str, each: int = TOKENS_PER_DEFECT, normals: int = 1
) -> AuthorsPrompts:
    """The prompts of a product, its defects' tokens dealt out in the sorted order of their folders' names.

    Args:
        labels: the names of the defects' folders, in any order.
        count: how many defects the tokenizer has tokens for.
        source: where the names come from, for messages.
        each: anomaly tokens of each defect.
        normals: tokens of the product.

    Raises:
        UserError: there are more or fewer names than that, or one twice.
    """
    ordered = sorted(labels)
    if len(set(ordered)) != len(ordered):
        raise UserError(f"{source}: expected each defect once, found {', '.join(ordered)}")
    if len(ordered) != count:
        raise UserError(
            f"{source}: expected the names of {count} defects, as the tokenizer has {each * count} anomaly "
            f"tokens, found {len(ordered)}: {', '.join(ordered) or 'none'}. Name the folders that were "
            "trained on, all of them: --defect NAME --defect NAME"
        )
    names = unique_names(list(ordered))
    return AuthorsPrompts(tuple(names[label] for label in ordered), each, normals)


def check_tokens(tokenizer: Any, prompts: AuthorsPrompts, length: int, where: str) -> None:
    """Check that the tokenizer reads each of the prompts' tokens as the one token it is.

    Raises:
        UserError: a token is split or missed, or a prompt does not fit into `length`.
    """
    for text in prompts.texts.values():
        ids = tokenize(tokenizer, [text], length)[0].tolist()
        wanted = [tokenizer.convert_tokens_to_ids(word) for word in text.split() if word in prompts.tokens]
        read = [token for token in ids if token in wanted]
        if read != wanted:
            raise UserError(
                f"{where}: the prompt {text!r} is read as {tokenizer.convert_ids_to_tokens(ids[:12])}; "
                "expected each of its added tokens to be one token"
            )

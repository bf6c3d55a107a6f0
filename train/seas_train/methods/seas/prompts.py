"""The product's prompts, and the tokens that they add to the base (paper section 3.1, Unbalanced Abnormal
prompt)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from seas_runtime.errors import UserError
from seas_runtime.manifest.types import GOOD
from seas_train.bases.base import Base

NORMAL_TOKEN = "<ob>"


@dataclass(frozen=True)
class Prompts:
    """The prompts of a product's images, and their tokens."""

    defects: tuple[str, ...]
    anomaly_tokens: int
    """N, for each defect its own."""
    normal_tokens: int = 1
    """Of the product."""
    normal_word: str = "object"
    anomaly_word: str = "defect"
    """What the tokens start as."""

    @property
    def product_tokens(self) -> tuple[str, ...]:
        """The product's own tokens: `<ob>`, or `<ob_1>` and so on."""
        if self.normal_tokens == 1:
            return (NORMAL_TOKEN,)
        return tuple(f"<ob_{number}>" for number in range(1, self.normal_tokens + 1))

    @property
    def normal_token(self) -> str:
        """The product's own token, the first where it has several."""
        return self.product_tokens[0]

    @property
    def tokens(self) -> tuple[str, ...]:
        """Every new token, in the order of its row: the product's, then N for each defect."""
        return (
            *self.product_tokens,
            *(token for defect in self.defects for token in self.defect_tokens(defect)),
        )

    def defect_tokens(self, defect: str) -> tuple[str, ...]:
        """The anomaly tokens of one defect."""
        return tuple(f"<{defect}_{number}>" for number in range(1, self.anomaly_tokens + 1))

    @property
    def texts(self) -> dict[str, str]:
        """The prompt of "good" and of every defect."""
        normal = f"a {' '.join(self.product_tokens)}"
        prompts = {GOOD: normal}
        for defect in self.defects:
            prompts[defect] = f"{normal} with {' '.join(self.defect_tokens(defect))}"
        return prompts


def add_tokens(tokenizer: Any, tokens: Sequence[str]) -> list[int]:
    """Add new tokens to a tokenizer and return their ids.

    Raises:
        UserError: the tokenizer knows one of them already.
    """
    from transformers import AddedToken

    first = len(tokenizer)
    twice = sorted({token for token in tokens if tokens.count(token) > 1})
    if twice:
        raise UserError(
            f"tokens: {', '.join(twice)} would be the product's and a defect's; "
            "rename the defect's folder, or train with normal_tokens 1"
        )
    known = [token for token in tokens if token in tokenizer.get_vocab()]
    if known:
        raise UserError(
            f"base: its tokenizer has {', '.join(known)} already; "
            "start from a base that was not fine-tuned on a product"
        )
    # Not normalized: names with capitals would never match the lower-cased prompt.
    tokenizer.add_tokens([AddedToken(token, normalized=False, special=False) for token in tokens])
    ids: list[int] = tokenizer.convert_tokens_to_ids(list(tokens))
    if ids != list(range(first, first + len(tokens))):
        raise UserError(
            f"base: its tokenizer gave the new tokens the ids {ids}; expected them to follow {first - 1}"
        )
    return ids


def initial_rows(tokenizer: Any, embeddings: Tensor, prompts: Prompts) -> Tensor:
    """The new tokens' first embeddings [M + N * defects, D]: the normal word's for the product's M tokens,
    the anomaly word's for the others.

    A word that the tokenizer splits gives the mean of its pieces. The N tokens of a defect start alike, as
    the authors' do; the text encoder's positions tell them apart from the first step on.
    """

    def word(text: str) -> Tensor:
        return embeddings[tokenizer(text, add_special_tokens=False).input_ids].mean(dim=0)

    anomalies = prompts.anomaly_tokens * len(prompts.defects)
    rows = [*[word(prompts.normal_word)] * prompts.normal_tokens, *[word(prompts.anomaly_word)] * anomalies]
    return torch.stack(rows).float().clone()


class PromptEmbedding(nn.Module):
    """A token embedding whose first rows are frozen and whose other rows are a parameter of their own.

    Neither a gradient nor weight decay reaches the frozen rows, of which there may be none.
    """

    def __init__(self, frozen: Tensor, rows: Tensor) -> None:
        super().__init__()
        self.register_buffer("frozen", frozen.detach().clone(), persistent=False)  # [V, D]
        self.rows = nn.Parameter(rows.detach().clone())  # [n, D]

    def forward(self, ids: Tensor) -> Tensor:
        """Embeddings [..., D] of ids [...]; ids of V and above are the trained rows."""
        frozen: Tensor = self.get_buffer("frozen")
        count = frozen.shape[0]
        if count == 0:
            return functional.embedding(ids, self.rows)
        old = functional.embedding(ids.clamp(max=count - 1), frozen)
        new = functional.embedding((ids - count).clamp(min=0), self.rows)
        return torch.where((ids >= count).unsqueeze(-1), new, old)

    @property
    def weight(self) -> Tensor:
        """All rows [V + n, D], as an ordinary embedding holds them."""
        return torch.cat([self.get_buffer("frozen"), self.rows.detach()])

    def plain(self) -> nn.Embedding:
        """The ordinary embedding with the same rows."""
        weight = self.weight
        return nn.Embedding(weight.shape[0], weight.shape[1], _weight=weight).requires_grad_(False)


def extend(
    tokenizer: Any, text_encoder: Any, prompts: Prompts, *, train_all: bool = False
) -> PromptEmbedding:
    """Add a product's tokens to a tokenizer and a text encoder, in place; the encoder is frozen but for the
    new rows of its token embedding, or, with `train_all`, for all of them.

    Raises:
        UserError: the tokenizer has one of the tokens already.
    """
    weight: Tensor = text_encoder.get_input_embeddings().weight.detach()
    rows = initial_rows(tokenizer, weight, prompts)
    # Rows past the tokenizer's last token are padding that no prompt reaches.
    old = weight[: len(tokenizer)]
    embedding = PromptEmbedding(old[:0], torch.cat([old, rows])) if train_all else PromptEmbedding(old, rows)
    add_tokens(tokenizer, prompts.tokens)
    text_encoder.requires_grad_(False)
    text_encoder.set_input_embeddings(embedding)
    return embedding


def write_back(text_encoder: Any, embedding: PromptEmbedding) -> None:
    """Give the text encoder an ordinary embedding with the trained rows, so that it can be saved as any
    other."""
    plain = embedding.plain()
    text_encoder.set_input_embeddings(plain)
    text_encoder.config.vocab_size = plain.num_embeddings


@dataclass(frozen=True)
class FineTuned:
    """A base after stage 1: evaluation mode, frozen, with the product's tokens in tokenizer and text encoder.

    `models` is a `Base` whose tokenizer, text encoder and U-Net are the fine-tuned ones; its name, path,
    fingerprint and licence stay the base's, its geometry is that of the product's image size.
    """

    models: Base
    prompts: Prompts
    fingerprint: str
    """sha256 over what stage 1 was made from: configuration, seed, base and data. Part of stage 2's
    identity."""

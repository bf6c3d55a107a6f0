from __future__ import annotations

import copy

import pytest
import torch

from seas_runtime.errors import UserError
from seas_train.bases.base import Base
from seas_train.diffusion.prompt_encoding import encode_prompts, tokenize
from seas_train.methods.seas.prompts import Prompts, add_tokens, extend, initial_rows, write_back

PROMPTS = Prompts(("broken", "MT_Blow hole"), anomaly_tokens=2)


def test_prompts_are_the_papers() -> None:
    assert PROMPTS.texts == {
        "good": "a <ob>",
        "broken": "a <ob> with <broken_1> <broken_2>",
        "MT_Blow hole": "a <ob> with <MT_Blow hole_1> <MT_Blow hole_2>",
    }
    assert PROMPTS.tokens == ("<ob>", "<broken_1>", "<broken_2>", "<MT_Blow hole_1>", "<MT_Blow hole_2>")


def test_every_new_token_is_one_token(tiny_base: Base) -> None:
    tokenizer = copy.deepcopy(tiny_base.tokenizer)
    first = len(tokenizer)
    assert add_tokens(tokenizer, PROMPTS.tokens) == list(range(first, first + 5))
    ids = tokenize(tokenizer, [PROMPTS.texts["MT_Blow hole"]], 16)[0].tolist()
    with_id = tokenizer.convert_tokens_to_ids("with</w>")
    assert ids[2:6] == [first, with_id, first + 3, first + 4]
    assert ids[0] == tokenizer.bos_token_id
    assert ids[6:] == [tokenizer.eos_token_id] * 10


def test_tokens_that_are_there_already_are_refused(tiny_base: Base) -> None:
    tokenizer = copy.deepcopy(tiny_base.tokenizer)
    add_tokens(tokenizer, PROMPTS.tokens)
    with pytest.raises(UserError, match="was not fine-tuned"):
        add_tokens(tokenizer, PROMPTS.tokens)


def test_a_prompt_that_is_too_long_is_refused(tiny_base: Base) -> None:
    tokenizer = copy.deepcopy(tiny_base.tokenizer)
    prompts = Prompts(("x",), anomaly_tokens=12)  # start, a, <ob>, with, 12 tokens, end: 17 of 16
    add_tokens(tokenizer, prompts.tokens)
    with pytest.raises(UserError, match=r"expected at most 16 tokens .* found 17"):
        tokenize(tokenizer, list(prompts.texts.values()), 16)


def test_rows_start_as_object_and_as_the_mean_of_defects_pieces(tiny_base: Base) -> None:
    weight = tiny_base.text_encoder.get_input_embeddings().weight.detach()
    vocabulary = tiny_base.tokenizer.get_vocab()
    rows = initial_rows(tiny_base.tokenizer, weight, PROMPTS)
    pieces = [vocabulary[piece] for piece in ("def", "e", "c", "t</w>")]
    assert rows.shape == (5, 16)
    assert torch.equal(rows[0], weight[vocabulary["object</w>"]])
    assert all(torch.allclose(row, weight[pieces].mean(0)) for row in rows[1:])


def test_the_extended_encoder_encodes_old_prompts_as_before(tiny_base: Base) -> None:
    tokenizer, encoder = copy.deepcopy(tiny_base.tokenizer), copy.deepcopy(tiny_base.text_encoder)
    before = encode_prompts(tokenizer, encoder, ["a object with defect", ""], 16)
    embedding = extend(tokenizer, encoder, PROMPTS)
    assert torch.equal(encode_prompts(tokenizer, encoder, ["a object with defect", ""], 16), before)
    # The tokens are new: the same words in their place give the same states, as the rows start as theirs.
    assert torch.equal(
        encode_prompts(tokenizer, encoder, ["a <ob>"], 16)[:, :3],
        encode_prompts(tokenizer, encoder, ["a object"], 16)[:, :3],
    )
    with torch.no_grad():
        embedding.rows[0] += 1
    assert not torch.equal(encode_prompts(tokenizer, encoder, ["a <ob>"], 16)[:, 2], before[:1, 2])


def test_written_back_the_encoder_is_an_ordinary_one(tiny_base: Base) -> None:
    tokenizer, encoder = copy.deepcopy(tiny_base.tokenizer), copy.deepcopy(tiny_base.text_encoder)
    embedding = extend(tokenizer, encoder, PROMPTS)
    with torch.no_grad():
        embedding.rows += torch.randn(embedding.rows.shape, generator=torch.Generator().manual_seed(0))
    texts = [*PROMPTS.texts.values(), "a object"]
    states = encode_prompts(tokenizer, encoder, texts, 16)
    write_back(encoder, embedding)
    assert isinstance(encoder.get_input_embeddings(), torch.nn.Embedding)
    assert encoder.config.vocab_size == len(tokenizer)
    assert torch.equal(encode_prompts(tokenizer, encoder, texts, 16), states)


def test_only_the_new_rows_are_parameters(tiny_base: Base) -> None:
    encoder = copy.deepcopy(tiny_base.text_encoder)
    embedding = extend(copy.deepcopy(tiny_base.tokenizer), encoder, PROMPTS)
    trained = [parameter for parameter in encoder.parameters() if parameter.requires_grad]
    assert len(trained) == 1
    assert trained[0] is embedding.rows

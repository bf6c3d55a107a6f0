"""The tokenizer: whole words, lengths that fit, and new tokens that survive saving."""

from pathlib import Path

import pytest
from transformers import CLIPTokenizer

from seas_train.bases.micro.tokens import COMMON_WORDS, END, LENGTH, START, build_tokenizer, byte_alphabet
from seas_train.bases.micro.world.world import families, render_scene


@pytest.fixture(scope="module")
def captions() -> list[str]:
    scenes = (
        render_scene(0, i, family, flawed) for i, family in enumerate(families()) for flawed in (False, True)
    )
    return [scene.caption for scene in scenes]


@pytest.fixture(scope="module")
def tokenizer(captions: list[str], tmp_path_factory: pytest.TempPathFactory) -> CLIPTokenizer:
    return build_tokenizer(captions, tmp_path_factory.mktemp("tokenizer"))


def test_words_are_single_tokens_and_captions_fit(tokenizer: CLIPTokenizer, captions: list[str]) -> None:
    words = {word for caption in captions for word in caption.split()} | set(COMMON_WORDS)
    assert [word for word in sorted(words) if len(tokenizer.tokenize(word)) != 1] == []
    assert max(len(tokenizer(caption).input_ids) for caption in captions) <= LENGTH


def test_text_comes_back_and_unknown_words_fall_apart_into_bytes(tokenizer: CLIPTokenizer) -> None:
    for text in ("a photo of an object with defect", "zyxq 7 ü"):
        assert tokenizer.decode(tokenizer(text).input_ids, skip_special_tokens=True).strip() == text
    assert len(set(byte_alphabet().values())) == 256


def test_ends_and_padding_are_those_of_clip(tokenizer: CLIPTokenizer) -> None:
    ids = tokenizer("a defect", padding="max_length", truncation=True).input_ids
    start, end = tokenizer.convert_tokens_to_ids([START, END])
    assert len(ids) == LENGTH == tokenizer.model_max_length
    assert ids[0] == start
    assert ids[3:] == [end] * (LENGTH - 3)
    assert len(tokenizer("a " * 40, truncation=True).input_ids) == LENGTH


def test_added_tokens_survive_saving(captions: list[str], tmp_path: Path) -> None:
    tokenizer = build_tokenizer(captions, tmp_path / "tokenizer")
    before = tokenizer("a good part").input_ids
    assert tokenizer.add_tokens(["<part>", "<flaw>"]) == 2
    tokenizer.save_pretrained(tmp_path / "saved")
    loaded = CLIPTokenizer.from_pretrained(str(tmp_path / "saved"))
    assert loaded("a good part").input_ids == before
    ids = loaded("a <part> with <flaw>").input_ids
    assert ids == tokenizer("a <part> with <flaw>").input_ids
    assert len(ids) == 6
    assert loaded.model_max_length == LENGTH

"""Bases and checkpoints of others: what they ask for is not done, what they lack is named."""

from __future__ import annotations

import json
import os
import shutil
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from seas_runtime.errors import UserError
from seas_train.bases.base import Base, find_base, load_base
from seas_train.bases.configurations import read_configuration
from seas_train.methods.table import load_checkpoint
from seas_train.settings import read_yaml
from tests.authors import write_authors
from tests.export.checkpoints import write_tiny_checkpoint
from tests.train.test_bases import edit

STEMS = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "model"}
Spoil = Callable[[Path], object]


@pytest.fixture
def base(tiny_base_path: Path, tmp_path: Path) -> Path:
    """A base of a test's own."""
    return Path(shutil.copytree(tiny_base_path, tmp_path / "base"))


@pytest.fixture(scope="module")
def checkpoint_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_checkpoint(tmp_path_factory.mktemp("checkpoint"))


def same(one: Any, other: Any) -> None:
    expected = other.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in one.state_dict().items())


def shard(folder: Path, stem: str, names: list[str], variant: str = "") -> Path:
    """Split a folder's one weights file into shards of these names, with their index."""
    whole = folder / f"{stem}.safetensors"
    tensors = load_file(whole)
    whole.unlink()
    tensor_names = sorted(tensors)
    for number, name in enumerate(names):
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        part = {key: tensors[key] for key in tensor_names[number :: len(names)]}
        if name.endswith(".bin"):
            torch.save(part, file)
        else:
            save_file(part, file, metadata={"format": "pt"})
    index = folder / f"{stem}.safetensors.index{variant}.json"
    named = {key: names[number % len(names)] for number, key in enumerate(tensor_names)}
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": named}))
    return index


# --- an index of shards


@pytest.mark.parametrize("component", STEMS)
@pytest.mark.parametrize("variant", ["", ".fp16"])
def test_shards_that_lie_beside_their_index_are_read(
    component: str, variant: str, base: Path, tiny_base: Base
) -> None:
    stem = STEMS[component]
    names = [f"{stem}{variant}-0000{n}-of-00002.safetensors" for n in (1, 2)]
    shard(base / component, stem, names, variant)
    loaded = load_base(base)
    same(getattr(loaded, component), getattr(tiny_base, component))
    before = loaded.fingerprint
    file = base / component / names[1]
    tensors = load_file(file)
    save_file({name: value + 1 for name, value in tensors.items()}, file, metadata={"format": "pt"})
    assert load_base(base).fingerprint != before


@pytest.mark.parametrize("component", STEMS)
@pytest.mark.parametrize(
    "name",
    [
        "pytorch_model-00001.bin",
        "../../outside.safetensors",
        "../unet/model.safetensors",
        "sub/model.safetensors",
        "..\\outside.safetensors",
        ".hidden.safetensors",
        "model.safetensors\n",
        "model.pt",
    ],
)
@pytest.mark.parametrize("allow_pickle", [False, True])
def test_an_index_that_names_something_else_is_refused(
    component: str, name: str, allow_pickle: bool, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pickles without being asked, files outside: no library may see the index."""
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("a pickle reached the loader"))
    index = shard(base / component, STEMS[component], ["one.safetensors"])
    index.write_text(index.read_text().replace('"one.safetensors"', json.dumps(name)))
    with pytest.raises(UserError, match="expected names of safetensors files that lie beside it"):
        load_base(base, allow_pickle=allow_pickle)


def test_an_absolute_path_in_an_index_is_refused(base: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.safetensors"
    index = shard(base / "unet", STEMS["unet"], ["one.safetensors"])
    (base / "unet" / "one.safetensors").rename(outside)
    index.write_text(index.read_text().replace("one.safetensors", str(outside)))
    with pytest.raises(UserError, match="that lie beside it"):
        load_base(base)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[]", "weight_map: expected the shard of each tensor"),
        ('{"weight_map": {}}', "weight_map: expected the shard of each tensor"),
        ('{"weight_map": {"w": 3}}', "that lie beside it"),
        ('{"weight_map": {"w": "gone.safetensors"}}', "gone.safetensors: expected a shard, found nothing"),
        ("{", "is broken"),
    ],
)
def test_a_broken_index(content: str, said: str, base: Path) -> None:
    index = shard(base / "unet", STEMS["unet"], ["one.safetensors"])
    index.write_text(content)
    with pytest.raises(UserError, match=said):
        load_base(base)


def test_one_whole_file_goes_before_an_index_beside_it(base: Path, tiny_base: Base) -> None:
    whole = base / "unet" / "diffusion_pytorch_model.safetensors"
    kept = whole.read_bytes()
    shard(base / "unet", STEMS["unet"], ["../../outside.safetensors"])
    whole.write_bytes(kept)
    same(load_base(base).unet, tiny_base.unet)


# --- configurations


CONFIGS = {
    "unet": "unet/config.json",
    "vae": "vae/config.json",
    "text_encoder": "text_encoder/config.json",
    "scheduler": "scheduler/scheduler_config.json",
    "tokenizer": "tokenizer/tokenizer_config.json",
    "tokens": "tokenizer/special_tokens_map.json",
    "index": "model_index.json",
}
REACHING_OUT: dict[str, Any] = {
    "auto_map": {"AutoModel": "someone/code--model.Evil"},
    "trust_remote_code": True,
    "custom_pipeline": "someone/pipeline",
    "attn_implementation": "kernels-community/flash-attn",
    "_attn_implementation": "kernels-community/flash-attn:kernel",
    "_attn_implementation_internal": "someone/kernel@main",
    "quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True},
}


@pytest.mark.parametrize("key", REACHING_OUT)
@pytest.mark.parametrize("file", CONFIGS)
def test_a_configuration_that_asks_for_code_kernels_or_quantised_weights_is_refused(
    file: str, key: str, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the package `kernels` there to fetch one, and a network that must not be asked."""
    asked: list[object] = []
    kernels = types.ModuleType("kernels")
    kernels.get_kernel = lambda *words, **_: asked.append(words)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "kernels", kernels)
    monkeypatch.setattr("socket.socket.connect", lambda *words: asked.append(words))
    edit(*CONFIGS[file].split("/"), **{key: REACHING_OUT[key]})(base)
    with pytest.raises(UserError, match=f"{key}: expected nothing that asks for code"):
        load_base(base)
    assert asked == []


@pytest.mark.parametrize("value", [None, "", "eager", "sdpa", False])
def test_what_asks_for_nothing_is_no_reason_to_refuse(value: object, base: Path) -> None:
    edit("text_encoder", "config.json", attn_implementation=value, auto_map=None)(base)
    edit("unet", "config.json", quantization_config={}, _name_or_path="/home/someone")(base)
    assert load_base(base).unet is not None


def test_a_checkpoint_of_ours_is_read_the_same_way(checkpoint_path: Path, tmp_path: Path) -> None:
    checkpoint = Path(shutil.copytree(checkpoint_path, tmp_path / "checkpoint"))
    edit("text_encoder", "config.json", attn_implementation="kernels-community/flash-attn")(checkpoint)
    with pytest.raises(UserError, match="attn_implementation"):
        load_checkpoint(checkpoint)


def test_an_import_is_read_the_same_way(tmp_path: Path) -> None:
    from seas_train.methods.seas.authors.generation import read_generation

    folder = write_authors(tmp_path)
    generation = folder / "generation-checkpoint"
    edit("unet", "config.json", auto_map={"x": "y"})(generation)
    with pytest.raises(UserError, match="auto_map"):
        read_generation(generation, str(folder / "base"))


BAD_VALUES: dict[str, tuple[Spoil, str]] = {
    "U-Net of a billion channels": (
        edit("unet", "config.json", block_out_channels=[10**9] * 4),
        "block_out_channels: expected a list of a whole number",
    ),
    "a million layers": (edit("text_encoder", "config.json", num_hidden_layers=10**6), "num_hidden_layers"),
    "layers of a list of lists": (edit("unet", "config.json", layers_per_block=[[1]]), "layers_per_block"),
    "a block that is none of SD's": (
        edit("unet", "config.json", down_block_types=["os.system"] * 4),
        "down_block_types: expected a list of CrossAttnDownBlock2D or DownBlock2D",
    ),
    "an activation that is none": (edit("vae", "config.json", act_fn="__import__"), "act_fn"),
    "channels as text": (edit("vae", "config.json", latent_channels="4"), "latent_channels"),
    "a flag as channels": (edit("unet", "config.json", in_channels=True), "in_channels"),
    "endless time": (
        edit("scheduler", "scheduler_config.json", num_train_timesteps=10**12),
        "num_train_timesteps",
    ),
    "image embeddings": (edit("unet", "config.json", encoder_hid_dim=768), "encoder_hid_dim: expected null"),
    "a shift that nobody applies": (edit("vae", "config.json", shift_factor=0.1), "shift_factor"),
    "another tokenizer": (edit("tokenizer", "tokenizer_config.json", tokenizer_class="T5Tokenizer"), "T5Tok"),
    "a token with code": (
        edit("tokenizer", "special_tokens_map.json", bos_token={"content": "x", "vocab_file": "/etc/passwd"}),
        "bos_token: expected a token",
    ),
    "a component of its own": (
        edit("model_index.json", text_encoder=["my_module", "Evil"]),
        "expected transformers's CLIPTextModel",
    ),
    "a tokenizer of its own": (edit("model_index.json", tokenizer=["evil", "CLIPTokenizer"]), "tokenizer"),
}


@pytest.mark.parametrize("name", BAD_VALUES)
def test_values_out_of_their_range_are_refused(name: str, base: Path) -> None:
    spoil, said = BAD_VALUES[name]
    spoil(base)
    with pytest.raises(UserError, match=said):
        load_base(base)


def test_only_what_is_known_reaches_a_library(base: Path) -> None:
    """Files, too: an adapter's configuration beside the weights names a model to fetch."""
    edit("tokenizer", "tokenizer_config.json", vocab_file="/etc/passwd", chat_template="{{ x }}")(base)
    (base / "text_encoder" / "adapter_config.json").write_text('{"base_model_name_or_path": "someone/model"}')
    (base / "text_encoder" / "modeling_evil.py").write_text("raise SystemExit")
    (base / "tokenizer" / "chat_template.jinja").write_text("{{ x }}")
    loaded = load_base(base)
    assert loaded.tokenizer.chat_template is None
    assert "vocab_file" not in read_configuration("tokenizer", base / "tokenizer", "base")


def test_loading_a_folder_asks_no_network(
    base: Path, checkpoint_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def refuse(*words: object) -> None:
        asked.append(words)
        raise OSError("no network")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)
    load_base(base)
    load_checkpoint(checkpoint_path)
    assert asked == []


def test_keys_of_a_newer_version_are_left_out_and_named(base: Path, caplog: pytest.LogCaptureFixture) -> None:
    edit("unet", "config.json", brand_new_block=3)(base)
    load_base(base)
    assert "brand_new_block" in caplog.text


def test_a_file_beside_the_model_does_not_change_its_fingerprint(base: Path, tiny_base: Base) -> None:
    (base / "unet" / ".DS_Store").write_bytes(b"x")
    (base / "unet" / "NOTES.txt").write_text("mine")
    (base / "text_encoder" / "flax_model.msgpack").write_bytes(b"x")
    assert load_base(base).fingerprint == tiny_base.fingerprint


# --- variants


@pytest.mark.parametrize("variant", ["fp16", "bf16", "ema", "non_ema", "fp32"])
def test_a_base_with_only_a_variant_is_loaded(
    variant: str, base: Path, tiny_base: Base, caplog: pytest.LogCaptureFixture
) -> None:
    for component, stem in STEMS.items():
        folder = base / component
        (folder / f"{stem}.safetensors").rename(folder / f"{stem}.{variant}.safetensors")
    caplog.set_level("INFO")
    loaded = load_base(base)
    for component in STEMS:
        same(getattr(loaded, component), getattr(tiny_base, component))
    assert f"diffusion_pytorch_model.{variant}.safetensors" in caplog.text


@pytest.mark.parametrize("component", STEMS)
def test_half_precision_in_some_parts_only(component: str, base: Path) -> None:
    stem = STEMS[component]
    whole = base / component / f"{stem}.safetensors"
    tensors = {name: value.half() for name, value in load_file(whole).items()}
    save_file(tensors, base / component / f"{stem}.fp16.safetensors", metadata={"format": "pt"})
    whole.unlink()
    loaded = load_base(base)
    assert {p.dtype for p in getattr(loaded, component).parameters()} == {torch.float32}


def test_the_plain_file_goes_before_variants_and_averaged_weights_before_others(
    base: Path, tiny_base: Base
) -> None:
    folder, stem = base / "unet", STEMS["unet"]
    other = {name: value + 1 for name, value in load_file(folder / f"{stem}.safetensors").items()}
    save_file(other, folder / f"{stem}.non_ema.safetensors", metadata={"format": "pt"})
    same(load_base(base).unet, tiny_base.unet)
    (folder / f"{stem}.safetensors").rename(folder / f"{stem}.fp16.safetensors")
    same(load_base(base).unet, tiny_base.unet)


def test_a_pickled_variant_is_read_where_pickles_are(base: Path, tiny_base: Base) -> None:
    folder = base / "text_encoder"
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.fp16.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match="--allow-pickle"):
        load_base(base)
    same(load_base(base, allow_pickle=True).text_encoder, tiny_base.text_encoder)


def test_the_hub_is_asked_for_variants_only_where_there_is_nothing_else(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    folder = base / "unet"
    plain, variant = (folder / f"{STEMS['unet']}{kind}.safetensors" for kind in ("", ".fp16"))
    plain.rename(folder.parent / "on the hub")
    asked: list[list[str]] = []

    def download(name: str, *, allow_patterns: list[str]) -> str:
        asked.append(list(allow_patterns))
        if "unet/*model*.safetensors" in allow_patterns:
            (folder.parent / "on the hub").rename(variant)
        return str(base)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert load_base("someone/half").name == "someone/half"
    assert len(asked) == 2
    assert "vae/*model*.safetensors" not in asked[1]


# --- links


def hub_cache(base: Path, cache: Path) -> Path:
    """The base as a hub's cache holds it: a snapshot of links to blobs."""
    snapshot = cache / "models--someone--sd" / "snapshots" / "0123abcd"
    for number, file in enumerate(sorted(file for file in base.rglob("*") if file.is_file())):
        blob = cache / "models--someone--sd" / "blobs" / f"{number:064x}"
        blob.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, blob)
        link = snapshot / file.relative_to(base)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    return snapshot


def test_a_hub_caches_snapshot_is_a_base(
    base: Path, tiny_base: Base, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    loaded = load_base(hub_cache(base, tmp_path / "hub"))
    same(loaded.unet, tiny_base.unet)
    assert loaded.fingerprint == tiny_base.fingerprint
    assert "outside" not in caplog.text


def test_a_snapshot_copied_without_its_blobs_is_told_with_the_links_target(
    base: Path, tmp_path: Path
) -> None:
    snapshot = hub_cache(base, tmp_path / "hub")
    copied = tmp_path / "copied"
    shutil.copytree(snapshot, copied, symlinks=True)
    with pytest.raises(UserError, match=r"model_index.json: .*a link to ../../blobs/0*, .*without its blobs"):
        load_base(copied)


@pytest.mark.parametrize(
    "file",
    [
        "model_index.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
        "text_encoder/model.safetensors",
        "tokenizer/vocab.json",
        "tokenizer/special_tokens_map.json",
        "scheduler/scheduler_config.json",
        "vae",
    ],
)
def test_a_link_to_nowhere_is_named_with_its_target(file: str, base: Path) -> None:
    path = base / file
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    path.symlink_to("/mnt/models/gone")
    with pytest.raises(UserError, match="a link to /mnt/models/gone, where nothing is"):
        load_base(base)


def test_a_base_or_a_single_file_that_is_a_link_to_nowhere(tmp_path: Path) -> None:
    for name in ("base", "sd.safetensors"):
        (tmp_path / name).symlink_to("../gone")
        with pytest.raises(UserError, match=r"a link to ../gone, where nothing is"):
            find_base(tmp_path / name)
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(UserError, match="loop"):
        find_base(tmp_path / "loop")


def test_a_checkpoint_with_a_link_to_nowhere(checkpoint_path: Path, tmp_path: Path) -> None:
    for file in ("seas.json", "references.safetensors", "mask_head/model.safetensors"):
        checkpoint = Path(shutil.copytree(checkpoint_path, tmp_path / file.replace("/", "_")))
        (checkpoint / file).unlink()
        (checkpoint / file).symlink_to("gone")
        with pytest.raises(UserError, match="a link to gone, where nothing is"):
            load_checkpoint(checkpoint)


def test_a_link_out_of_the_base_is_told(base: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = base / "unet" / "diffusion_pytorch_model.safetensors"
    file.rename(tmp_path / "elsewhere.safetensors")
    file.symlink_to("../../elsewhere.safetensors")
    load_base(base)
    assert f"is a link to {tmp_path / 'elsewhere.safetensors'}, outside of" in caplog.text


def test_weights_that_git_lfs_did_not_fetch(base: Path) -> None:
    note = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3438167540\n"
    (base / "unet" / "diffusion_pytorch_model.safetensors").write_text(note)
    with pytest.raises(UserError, match="git lfs pull"):
        load_base(base)


# --- pipes and sizes


PIPES = [
    "model_index.json",
    "unet/config.json",
    "unet/diffusion_pytorch_model.safetensors",
    "text_encoder/model.safetensors",
    "tokenizer/vocab.json",
    "tokenizer/merges.txt",
    "tokenizer/special_tokens_map.json",
    "scheduler/scheduler_config.json",
]


def pipe(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes")
@pytest.mark.parametrize("file", PIPES)
def test_a_pipe_in_a_base_is_refused_not_waited_for(file: str, base: Path) -> None:
    pipe(base / file)
    with pytest.raises(UserError, match="found a pipe"):
        load_base(base)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes")
@pytest.mark.parametrize(
    "file", ["seas.json", "references.safetensors", "mask_head/config.json", "mask_head/model.safetensors"]
)
def test_a_pipe_in_a_checkpoint(file: str, checkpoint_path: Path, tmp_path: Path) -> None:
    checkpoint = Path(shutil.copytree(checkpoint_path, tmp_path / "checkpoint"))
    pipe(checkpoint / file)
    with pytest.raises(UserError, match="found a pipe"):
        load_checkpoint(checkpoint)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes")
def test_a_pipe_as_single_file_pickle_card_and_yaml(base: Path, tmp_path: Path) -> None:
    from seas_train.bases.tensor_files import read_pickle

    for name in ("sd.safetensors", "sd.ckpt", "config.yaml"):
        pipe(tmp_path / name)
    for name in ("sd.safetensors", "sd.ckpt"):
        with pytest.raises(UserError, match="found a pipe"):
            load_base(tmp_path / name, allow_pickle=True)
    with pytest.raises(UserError, match="found a pipe"):
        read_pickle(tmp_path / "sd.ckpt")
    with pytest.raises(UserError, match=r"--config .*found a pipe"):
        read_yaml(tmp_path / "config.yaml")
    pipe(base / "README.md")
    assert load_base(base).licence == "unknown"


@pytest.mark.parametrize(
    "file",
    [
        "model_index.json",
        "vae/config.json",
        "tokenizer/vocab.json",
        "unet/diffusion_pytorch_model.safetensors",
    ],
)
def test_a_file_far_too_large_for_its_kind_is_refused_before_it_is_read(file: str, base: Path) -> None:
    with (base / file).open("r+b") as opened:
        opened.truncate(40 * 1024**3)  # takes no disk
    with pytest.raises(UserError, match="at most"):
        load_base(base)


def test_a_checkpoints_files_far_too_large(checkpoint_path: Path, tmp_path: Path) -> None:
    for file in (
        "seas.json",
        "references.safetensors",
        "mask_head/config.json",
        "mask_head/model.safetensors",
    ):
        checkpoint = Path(shutil.copytree(checkpoint_path, tmp_path / file.replace("/", "_")))
        with (checkpoint / file).open("r+b") as opened:
            opened.truncate(5 * 1024**3)
        with pytest.raises(UserError, match=r"at most|expected about"):
            load_checkpoint(checkpoint)


def test_a_mask_head_that_calls_for_more_than_it_has(checkpoint_path: Path, tmp_path: Path) -> None:
    checkpoint = Path(shutil.copytree(checkpoint_path, tmp_path / "checkpoint"))
    for values in ({"coarse_width": 16_384 - 8}, {"depth": 10**6}):
        edit("mask_head", "config.json", **values)(checkpoint)
        with pytest.raises(UserError, match=r"mask.head"):
            load_checkpoint(checkpoint)


def test_a_compressed_archive_is_no_pickle_of_ours(tmp_path: Path) -> None:
    """A few kilobytes of it could be any number of gigabytes."""
    import zipfile

    from seas_train.bases.tensor_files import read_pickle

    torch.save({"w": torch.zeros(8)}, tmp_path / "stored.ckpt")
    assert list(read_pickle(tmp_path / "stored.ckpt")) == ["w"]
    with (
        zipfile.ZipFile(tmp_path / "stored.ckpt") as stored,
        zipfile.ZipFile(tmp_path / "packed.ckpt", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for item in stored.infolist():
            packed.writestr(item.filename, stored.read(item))
    with pytest.raises(UserError, match="a compressed archive"):
        read_pickle(tmp_path / "packed.ckpt")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: " + "x" * 2 * 1024**2, "at most"),
        ("[" * 100_000, "nested too deeply"),
        ("a: &a [*a]", "expected at most"),
        (
            "a0: &a0 [x, x]\n"
            + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)),
            "expected at most",
        ),
    ],
    ids=["2 MiB", "deep", "endless", "references to references"],
)
def test_yaml_that_would_exhaust_the_machine(text: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=said):
        read_yaml(file)


def test_yaml_with_references_is_read(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("a: &a {x: 1}\nb: *a\n")
    assert read_yaml(file) == {"a": {"x": 1}, "b": {"x": 1}}

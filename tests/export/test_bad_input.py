"""What cannot be exported: each mistake has its own message, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from seas_export.export import ExportResult, export_bundle
from seas_runtime.errors import CheckFailed, UserError

Spoil = Callable[[Path], object]


def remove(name: str) -> Spoil:
    def spoil(checkpoint: Path) -> None:
        target = checkpoint / name
        shutil.rmtree(target) if target.is_dir() else target.unlink()

    return spoil


def write(name: str, content: bytes) -> Spoil:
    return lambda checkpoint: (checkpoint / name).write_bytes(content)


def change(name: str, **values: object) -> Spoil:
    def spoil(checkpoint: Path) -> None:
        file = checkpoint / name
        file.write_text(json.dumps({**json.loads(file.read_text()), **values}))

    return spoil


BAD_CHECKPOINTS: dict[str, tuple[Spoil, str]] = {
    "gone": (
        lambda path: shutil.rmtree(path),
        r"no such folder; expected one that `seas-export train` wrote",
    ),
    "no description": (remove("seas.json"), r"seas\.json is missing"),
    "description cut off": (write("seas.json", b'{"schema": 1, '), r"seas\.json.*is broken: expected JSON"),
    "from the future": (change("seas.json", schema=99), r"schema: expected 1, found 99"),
    "no prompts": (change("seas.json", prompts=None), r"prompts: expected an object"),
    "no mask head": (remove("mask_head"), r"mask_head.config\.json.*found nothing"),
    "mask head cut off": (
        write("mask_head/model.safetensors", b"1234"),
        r"expected the mask head's weights as safetensors",
    ),
    "no references": (
        remove("references.safetensors"),
        r"references\.safetensors: expected the tensor `latents`",
    ),
    "no U-Net": (remove("unet"), r"unet.config\.json is missing"),
    "U-Net without weights": (
        remove("unet/diffusion_pytorch_model.safetensors"),
        r"expected a \.safetensors file in",
    ),
    "VAE cut off": (write("vae/diffusion_pytorch_model.safetensors", b"\0" * 9), r"vae could not be loaded"),
    "no tokenizer": (remove("tokenizer"), r"tokenizer.tokenizer_config\.json is missing"),
    "x0 prediction": (
        change("scheduler/scheduler_config.json", prediction_type="sample"),
        r"prediction_type: expected epsilon or v_prediction, found sample",
    ),
}


@pytest.mark.parametrize("case", BAD_CHECKPOINTS)
def test_bad_checkpoint(case: str, checkpoint_folder: Path, tmp_path: Path) -> None:
    spoil, message = BAD_CHECKPOINTS[case]
    broken = Path(shutil.copytree(checkpoint_folder, tmp_path / "checkpoint"))
    spoil(broken)
    with pytest.raises(UserError, match=message):
        export_bundle(broken, tmp_path / "out" / "bundle")
    assert not (tmp_path / "out").exists()


BAD_OPTIONS: dict[str, tuple[dict[str, object], str]] = {
    "unknown precision": (
        {"precision": "int4"},
        r"precision: expected one of fp32, .*, found 'int4'",
    ),
    "unknown target": ({"target": "toaster"}, r"target: expected one of cpu, openvino, .*, found 'toaster'"),
    "no steps": ({"steps": 0}, r"steps: expected 3 to 999, found 0"),
    "fewer steps than masks": ({"steps": 2}, r"steps: expected 3 to 999, found 2"),
    "more steps than the schedule": ({"steps": 1000}, r"steps: expected 3 to 999, found 1000"),
}


@pytest.mark.parametrize("case", BAD_OPTIONS)
def test_bad_option(case: str, checkpoint_folder: Path, tmp_path: Path) -> None:
    options, message = BAD_OPTIONS[case]
    with pytest.raises(UserError, match=message):
        export_bundle(checkpoint_folder, tmp_path / "out" / "bundle", **options)  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def a_file(out: Path) -> None:
    out.write_text("mine")


def other_files(out: Path) -> None:
    out.mkdir()
    (out / "thesis.txt").write_text("mine")


def a_bundle(out: Path) -> None:
    out.mkdir()
    (out / "manifest.json").write_text('{"schema": 2, "files": {}}')


BAD_PLACES: dict[str, tuple[Callable[[Path], None], bool, str]] = {
    "a file": (a_file, True, r"--out .*: expected a folder or nothing, found a file"),
    "someone else's folder": (
        other_files,
        True,
        r"--out .*: expected an empty folder or a bundle, found other files",
    ),
    "a bundle, unforced": (
        a_bundle,
        False,
        r"--out .*: there is a bundle already; give --force to replace it",
    ),
}


@pytest.mark.parametrize("case", BAD_PLACES)
def test_bad_place(case: str, checkpoint_folder: Path, tmp_path: Path) -> None:
    occupy, force, message = BAD_PLACES[case]
    out = tmp_path / "bundle"
    occupy(out)
    before = sorted((path.name, path.stat().st_mtime_ns) for path in tmp_path.rglob("*"))
    with pytest.raises(UserError, match=message):
        export_bundle(checkpoint_folder, out, force=force)
    assert sorted((path.name, path.stat().st_mtime_ns) for path in tmp_path.rglob("*")) == before


def test_folder_that_cannot_be_written(
    checkpoint_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # the tests may run as root, whom nothing stops
    with pytest.raises(UserError, match=r"--out .*: expected a folder that can be written"):
        export_bundle(checkpoint_folder, tmp_path / "out" / "bundle")


def test_folder_inside_a_file(checkpoint_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match=r"--out .*: expected a folder that can be written"):
        export_bundle(checkpoint_folder, tmp_path / "file" / "bundle")


def test_full_disk(
    traced: Callable[..., ExportResult],
    checkpoint_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("seas_export.export.bundle.save_graphs", full)
    with pytest.raises(UserError, match="bundle: cannot write: the disk is full"):
        traced(checkpoint_folder, tmp_path / "bundle", parity=False)
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_cannot_be_traced(
    checkpoint_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("data-dependent control flow\nwith a long story")

    monkeypatch.setattr("seas_export.graphs.trace.trace", refuse)
    with pytest.raises(
        CheckFailed, match=r"text_encoder: PyTorch .* cannot trace it: data-dependent control flow;"
    ):
        export_bundle(checkpoint_folder, tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []

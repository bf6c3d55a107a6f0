"""Nothing of a person's is replaced: every command that writes, against folders of other people's files."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from seas_export.cli.app import app
from seas_export.cli.entry import main
from tests.runtime.bundles import write_tiny_bundle
from tests.runtime.finished_sets import write_finished

# Names that a person's files may well have, among them all those by which ours are known.
NAMES = [
    "NOTES.txt",
    "photo.png",
    "000.png",
    "000000.png",
    "seas.json",
    "model_index.json",
    "manifest.json",
    "dataset.json",
    "run.json",
    "sample.json",
    "build.json",
    "records.jsonl",
    "report.html",
    "bench.json",
    "SHA256SUMS",
    "INSTALL.txt",
    "README.md",
    "model.sig",
    "references.safetensors",
    "losses.jsonl",
    "contact_sheet.png",
    "index.json",
    "engine.bin",
    ".seas-export.json",
    ".pending.json",
]
FOLDERS = [
    "unet",
    "vae",
    "text_encoder",
    "tokenizer",
    "mask_head",
    "train/good",
    "test/stain",
    "ground_truth/stain",
    "graphs",
    "tables",
    "finetune",
    "finetune/state-000100",
    "engines/0123456789abcdef0123456789abcdef",
    "checkpoint",
    "bundle",
    "dataset/test/stain",
    "bottle",
    "sample/bottle",
    "training/finetune",
    "my/own",
]
ROUNDS = 3

Words = Callable[["World", Path], list[str]]


class World:
    """What commands read: a product, a bundle, its packed file, a data set. Nothing of it is worked on."""

    def __init__(self, folder: Path) -> None:
        self.product = folder / "photos" / "bottle"
        (self.product / "train/good").mkdir(parents=True)
        (self.product / "train/good/0.png").write_bytes(b"a photograph")
        self.bundle = write_tiny_bundle(folder / "bundle")
        self.dataset = folder / "dataset"
        write_finished(self.dataset)
        self.packed = folder / "packed.zip"
        assert main(["pack", str(self.bundle), "--out", str(self.packed)]) == 0


# What writes a folder, by the option (or argument) that names it; {out} is that folder.
INTO: dict[tuple[str, str], Words] = {
    ("train", "out"): lambda w, out: ["train", str(w.product), "--out", str(out), "--force"],
    ("train", "run"): lambda w, out: [
        *("train", str(w.product), "--out", f"{out}-checkpoint", "--run", str(out), "--force")
    ],
    ("distill", "out"): lambda w, out: [
        *("distill", str(w.bundle), str(w.product), "--out", str(out), "--force")
    ],
    ("distill", "run"): lambda w, out: [
        *("distill", str(w.bundle), str(w.product), "--out", f"{out}-student", "--run", str(out), "--force")
    ],
    ("export", "out"): lambda w, out: ["export", str(w.product), "--out", str(out), "--force"],
    ("export optimum", "out"): lambda w, out: [
        *("export", str(w.product), "--layout", "optimum", "--out", str(out), "--force")
    ],
    ("import-seas", "out"): lambda w, out: [
        *("import-seas", "--generation", str(w.bundle), "--mask", str(w.bundle), "--base", "micro"),
        *("--product", "bottle", "--data", str(w.product.parent), "--out", str(out), "--force"),
    ],
    ("base random", "directory"): lambda w, out: ["base", "random", "sd14", str(out), "--force"],
    ("base untrained", "directory"): lambda w, out: ["base", "untrained", "micro", str(out), "--force"],
    ("build", "out"): lambda w, out: [
        *("build", "--product", "bottle", "--data", str(w.product.parent), "--out", str(out), "--force")
    ],
    ("generate", "out"): lambda w, out: [
        *("generate", str(w.bundle), "--defect", "all", "--count", "1", "--out", str(out), "--force")
    ],
    ("convert", "out"): lambda w, out: [
        *("convert", str(w.dataset), "--to", "coco", "--out", str(out), "--force")
    ],
    ("data import", "out"): lambda w, out: [
        *("data", "import", str(w.product), "--product", out.name, "--out", str(out.parent), "--force")
    ],
    ("place", "out"): lambda w, out: [
        *("place", str(w.bundle), "--onto", str(w.product / "train/good"), "--out", str(out), "--force")
    ],
    ("masks", "out"): lambda w, out: ["masks", str(w.bundle), "--out", str(out), "--force"],
    ("merge", "out"): lambda w, out: ["merge", (w.dataset.parent / "shards").as_uri(), "--out", str(out)],
    ("prove", "out"): lambda w, out: [
        *("prove", str(w.product), "--with", f"placed={w.dataset}", "--out", str(out))
    ],
    ("unpack", "out"): lambda w, out: ["unpack", str(w.packed), "--out", str(out), "--force"],
    ("wheelhouse", "out"): lambda w, out: ["wheelhouse", str(out), "--target", "linux-x86", "--force"],
    ("sample", "out"): lambda w, out: ["sample", "--out", str(out.parent), "--force", "--size", "64"],
}
# What writes single files, by the file that is in the way.
FILES: dict[tuple[str, str], tuple[str, Words]] = {
    ("pack", "out"): (
        "b.zip",
        lambda w, out: ["pack", str(w.bundle), "--out", str(out / "b.zip"), "--force"],
    ),
    ("preset", "out"): (
        "p.yaml",
        lambda w, out: ["preset", "mvtec", "--out", str(out / "p.yaml"), "--force"],
    ),
    ("bench", "out"): ("bench.svg", lambda w, out: ["bench", str(w.bundle), "--out", str(out)]),
}
# `sign` writes model.sig and `engine` writes engines/KEY, both into the bundle: tested where they are made.
ELSEWHERE = {("sign", "bundle"), ("engine", "bundle")}


def commands(command: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield name, command
    for key, value in (inner or {}).items():
        yield from commands(value, f"{name} {key}".strip())


def test_every_command_that_writes_is_in_the_tables() -> None:
    known = {*INTO, *FILES, *ELSEWHERE}
    for name, command in commands(typer.main.get_command(app)):
        options = {parameter.name for parameter in command.params}
        for option in options & {"out", "run"}:
            assert (name, option) in known, f"{name} --{option}"
        if "force" in options:
            assert any(key[0] == name for key in known), f"{name} --force"


def scatter(folder: Path, seed: int) -> dict[str, bytes]:
    """Put a person's files anywhere into a folder; returns them all."""
    draw = random.Random(seed)
    for _ in range(draw.randint(1, 8)):
        place = folder / draw.choice([".", *FOLDERS]) / draw.choice(NAMES)
        if not any(parent.is_file() for parent in place.parents) and not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(draw.randbytes(draw.randint(0, 40)))
    return snapshot(folder)


def snapshot(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("world"))


@pytest.mark.parametrize("command", INTO, ids=" --".join)
def test_a_folder_of_other_files_is_refused_before_any_work(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: tuple[str, str]
) -> None:
    for seed in range(ROUNDS):
        out = tmp_path / str(seed) / "bottle"
        before = scatter(out, seed * 1000 + len(command[0]))
        code = main(INTO[command](world, out))
        assert snapshot(out) == before, capsys.readouterr().err
        assert code == 2, capsys.readouterr().err
    assert "unexpected" not in capsys.readouterr().err


@pytest.mark.parametrize("command", FILES, ids=" --".join)
def test_a_file_of_another_kind_is_refused_before_any_work(
    world: World, tmp_path: Path, command: tuple[str, str]
) -> None:
    name, words = FILES[command]
    (tmp_path / name).write_bytes(b"mine")
    before = scatter(tmp_path, 7)
    assert main(words(world, tmp_path)) == 2
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("command", ["train", "export", "import-seas", "build", "generate", "convert"])
def test_an_out_that_is_an_input_or_lies_in_it_is_refused(world: World, command: str) -> None:
    read = {"generate": world.bundle, "convert": world.dataset}.get(command, world.product)
    before = snapshot(world.bundle.parent)
    for place in (read, next(path for path in read.iterdir() if path.is_dir()), read / "new"):
        assert main(INTO[command, "out"](world, place)) == 2
        assert snapshot(world.bundle.parent) == before

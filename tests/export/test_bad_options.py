"""Mistakes on the command line: own words, exit code 2, no traceback, nothing left behind."""

from pathlib import Path

import pytest

from tests.export.commands import Run

# Words of the command, with {bundle}, {product}, {products}, {tmp}; what the message must hold.
MISTAKES = {
    "unknown command": ("buidl", ("no such command 'buidl'", "build")),
    "unknown option": ("doctor --jsn", ("no such option: --jsn", "--json")),
    "number expected": ("generate {bundle} --defect all --out {tmp}/o --count many", ("--count", "integer")),
    "count of nothing": (
        "generate {bundle} --defect all --out {tmp}/o --count 0",
        ("count", "from 1 to", "found 0"),
    ),
    "batch beyond": ("generate {bundle} --defect all --out {tmp}/o --batch 65", ("batch", "64", "65")),
    "negative seed": (
        "generate {bundle} --defect all --out {tmp}/o --seed -1",
        ("seed", "from 0 to", "found -1"),
    ),
    "tau beyond": ("generate {bundle} --defect all --out {tmp}/o --tau 1.5", ("tau", "0.0 to 1.0", "1.5")),
    "guidance beyond": (
        "generate {bundle} --defect all --out {tmp}/o --guidance 1e9",
        ("guidance", "100", "1000000000"),
    ),
    "defect missing": ("generate {bundle} --out {tmp}/o", ("--defect",)),
    "defect unknown": ("generate {bundle} --defect crack --out {tmp}/o", ("'crack'", "broken_large", "all")),
    "schedule unknown": (
        "generate {bundle} --defect all --out {tmp}/o --steps 99",
        ("dpmpp_2m/99", "dpmpp_2m/5"),
    ),
    "sampler unknown": (
        "generate {bundle} --defect all --out {tmp}/o --sampler heun",
        ("heun/5", "dpmpp_2m/5"),
    ),
    "backend unknown": ("generate {bundle} --defect all --out {tmp}/o --backend gpu", ("'gpu'", "cpu")),
    "backend to come": (
        "generate {bundle} --defect all --out {tmp}/o --backend tensorrt",
        ("tensorrt", "cannot be imported"),
    ),
    "no bundle there": ("inspect {tmp}/nothing", ("nothing", "expected a bundle's folder")),
    "a folder that is no bundle": ("verify {product}", ("manifest.json",)),
    "out of foreign files": (
        "generate {bundle} --defect all --out {product}",
        ("expected an empty folder or a dataset", "ground_truth"),
    ),
    "parity without checkpoint": ("verify {bundle} --parity", ("--parity", "--checkpoint DIR")),
    "checkpoint without parity": ("verify {bundle} --checkpoint {tmp}", ("--checkpoint", "--parity")),
    "batches of words": ("bench {bundle} --batches one,two", ("--batches", "'one,two'")),
    "batches of zero": ("bench {bundle} --batches 0,1", ("--batches", "'0,1'")),
    "no product there": ("data inspect {tmp}/nothing", ("nothing", "no such folder")),
    "layout unknown": (
        "data inspect {product} --layout voc",
        ("layout", "'voc'", "mvtec | visa | mvtec3d"),
    ),
    "whose rules": (
        "train {product} --out {tmp}/o --reproduce mine",
        ("--reproduce", "paper | authors", "'mine'"),
    ),
    "whose rules, of a build": (
        "build --product x --reproduce mine",
        ("reproduce:", "paper | authors", "'mine'"),
    ),
    "import without photographs": (
        "import-seas --generation {tmp} --mask {tmp}/rmp --base micro --product plate --out {tmp}/o "
        "--data {tmp}",
        ("plate", "normal photographs", "--data ROOT"),
    ),
    "import of nothing": (
        "import-seas --generation {tmp}/g --mask {tmp}/rmp --base micro --product plate --out {tmp}/o "
        "--data {products}",
        ("--generation", "no such folder", "generation-checkpoint"),
    ),
    "fit unknown": ("data inspect {product} --fit zoom", ("fit", "'zoom'", "crop | pad | stretch")),
    "window of no kind": ("data inspect {product} --window wide", ("window", "auto | full", "'wide'")),
    "window of one value": ("data inspect {product} --window 5", ("window", "auto | full or a list", "'5'")),
    "window the wrong way round": ("data inspect {product} --window 9,5", ("window", "a lower and a higher")),
    "window without an end": ("data inspect {product} --window 9,inf", ("window", "a lower and a higher")),
    "window of words": ("data inspect {product} --window a,b", ("window", "a number")),
    "masks unknown": ("data inspect {product} --masks grey", ("binary | labels | inverted", "'grey'")),
    "size of no latents": ("data inspect {product} --size 100", ("100", "multiple")),
    "defect of another product": ("data inspect {product} --defect rust", ("'rust'", "dark_line, spot")),
    "sample too small": ("sample --out {tmp}/s --size 8", ("size", "64", "8")),
    "resume and force": ("train {product} --out {tmp}/c --resume --force", ("--resume", "--force")),
    "checkpoint in the way": ("train {product} --out {bundle}", ("--out", "a checkpoint", "another folder")),
    "assignment without value": ("train {product} --out {tmp}/c --set seed", ("--set seed", "KEY=VALUE")),
    "precision unknown": ("export {tmp} --out {tmp}/b --precision int4", ("export.precision", "'int4'")),
    "too few steps": ("export {tmp} --out {tmp}/b --steps 0", ("export.steps", "0")),
    "no product named": ("build", ("--product bottle",)),
    "product is a path": ("build --product ../bottle", ("'../bottle'", "--data")),
    "product not there": ("build --product gear", ("data/gear", "--data ROOT")),
    "data not there": ("build --product gear --data {tmp}/nothing", ("--data", "does not exist")),
    "product not in data": ("build --product gear --data {products}", ("plate",)),
    "data is the product": ("build --product gear --data {product}", ("looks like the product itself",)),
    "config not there": ("build --product bottle --config {tmp}/no.yaml", ("--config", "no.yaml")),
    "unknown key set": (
        "build --product bottle --set export.precison=fp16",
        ("'export.precison'", "'precision'"),
    ),
    "build pairs of none": ("build --product bottle --pairs 0", ("generate.pairs", "1 or more", "found 0")),
    "bench of no pairs": ("bench {bundle} --pairs 0", ("--pairs", "from 1 to", "found 0")),
    "out of another kind": (
        "build --product plate --data {products} --out {bundle}",
        ("--out", "expected an empty folder or a build", "another"),
    ),
    "base not there": (
        "build --product plate --data {products} --base {tmp}/none --out {tmp}/o",
        ("base", "no such folder", "micro"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_has_its_own_words(
    run: Run,
    name: str,
    toy_bundle: Path,
    toy_product: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words, expected = MISTAKES[name]
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.chdir(home)
    places = {"bundle": toy_bundle, "product": toy_product, "products": toy_product.parent, "tmp": home}
    ended = run(*(word.format(**places) for word in words.split()))
    assert ended.code == 2, ended.err
    assert ended.out == ""
    missing = [text for text in expected if text not in ended.err]
    assert not missing, ended.err
    assert "Traceback" not in ended.err
    left = [path for path in home.rglob("*") if path.is_file()]
    assert left == []


def test_no_two_mistakes_say_the_same(
    run: Run, toy_bundle: Path, toy_product: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    places = {"bundle": toy_bundle, "product": toy_product, "products": toy_product.parent, "tmp": tmp_path}
    cheap = [words for words, _ in MISTAKES.values() if "none --out" not in words]
    said = [run(*(word.format(**places) for word in words.split())).err for words in cheap]
    assert len(set(said)) == len(said)

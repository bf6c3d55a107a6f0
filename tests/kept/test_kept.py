"""Bundles of schema 1 that were kept give what they gave, to the byte on the machine that made them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seas_runtime import Bundle, Generator
from tests.kept import evidence
from tests.kept.evidence import BUNDLES, KEPT

EXPECTED = evidence.read("expected.json")
same_machine = pytest.mark.skipif(
    evidence.machine() != EXPECTED["made_with"],
    reason="another ONNX Runtime or processor than the kept pairs were made with: its last bits may differ",
)
GROUPS = [
    *(("toy", f"defect={name} ", batch) for name in evidence.DEFECTS["toy"] for batch in (1, 4)),
    *(("exported", "", batch) for batch in (1, 4)),
]


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Copies of the kept bundles."""
    return {name: evidence.open_bundle(name, tmp_path_factory.mktemp("kept")) for name in BUNDLES}


@pytest.fixture(scope="session")
def generators(kept: dict[str, Path]) -> dict[str, Generator]:
    return {name: Generator.open(path, threads=1) for name, path in kept.items()}


def command(*words: object) -> subprocess.CompletedProcess[str]:
    """Run `seas-export WORDS...` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "seas_export", *map(str, words)],
        env=evidence.environment(sys.path),
        capture_output=True,
        text=True,
        check=False,
    )


def done(*words: object) -> Any:
    """Return what a command that ends well prints as JSON."""
    ended = command(*words, "--json")
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def differences(
    generator: Generator, bundle: str, requests: list[dict[str, Any]]
) -> list[tuple[str, list[str]]]:
    """Return the requests that give something else than they gave, and what of it differs."""
    found = []
    for request in requests:
        expected, now = EXPECTED["runs"][bundle][evidence.key(request)], evidence.run(generator, request)
        changed = [part for part in expected if expected[part] != now[part]]
        if changed:
            found.append((evidence.key(request), changed))
    return found


def test_every_known_request_is_asked_for_again() -> None:
    for bundle in BUNDLES:
        keys = [evidence.key(request) for request in evidence.requests(bundle)]
        assert sorted(keys) == sorted(EXPECTED["runs"][bundle])


@same_machine
@pytest.mark.parametrize(("bundle", "words", "batch"), GROUPS)
def test_pairs_are_the_same_bytes(
    generators: dict[str, Generator], bundle: str, words: str, batch: int
) -> None:
    requests = [
        request
        for request in evidence.requests(bundle)
        if words in evidence.key(request) and request["batch"] == batch
    ]
    assert requests
    assert not differences(generators[bundle], bundle, requests)


@same_machine
@pytest.mark.parametrize("bundle", BUNDLES)
def test_threads_change_no_byte(kept: dict[str, Path], bundle: str) -> None:
    generator = Generator.open(kept[bundle], threads=2)
    assert not differences(generator, bundle, evidence.requests(bundle)[3 :: 31 if bundle == "toy" else 3])


@pytest.mark.parametrize("bundle", BUNDLES)
def test_pairs_are_nearly_the_same_anywhere(generators: dict[str, Generator], bundle: str) -> None:
    now = evidence.samples(generators[bundle], bundle)
    with np.load(KEPT / "samples.npz") as expected:
        image = expected[f"{bundle}_image"].astype(int) - now[f"{bundle}_image"]
        probability = expected[f"{bundle}_probability"].astype(int) - now[f"{bundle}_probability"]
        assert np.std(expected[f"{bundle}_image"]) > 20
    assert np.abs(image).max() <= 1
    assert np.abs(probability).max() / 65535 < 1e-4


@same_machine
@pytest.mark.parametrize("bundle", BUNDLES)
def test_a_dataset_is_the_same_files(generators: dict[str, Generator], tmp_path: Path, bundle: str) -> None:
    _check_dataset(evidence.dataset(generators[bundle], bundle, tmp_path / "out"), bundle)


@same_machine
@pytest.mark.parametrize("bundle", BUNDLES)
def test_the_command_writes_the_same_dataset(kept: dict[str, Path], tmp_path: Path, bundle: str) -> None:
    out = tmp_path / "out"
    done("generate", kept[bundle], "--out", out, "--threads", 1, *evidence.dataset_words(bundle))
    _check_dataset(evidence.describe_dataset(out), bundle)


def _check_dataset(found: dict[str, Any], bundle: str) -> None:
    expected = dict(EXPECTED["datasets"][bundle])
    for name in ("files", "records", "pixels"):
        assert found[name] == expected[name], name
    assert found["description"] == expected["description"]
    if evidence.png_writer() == EXPECTED["png_writer"]:
        assert found["png"] == expected["png"]


def test_records_say_what_they_said(generators: dict[str, Generator]) -> None:
    """The hashes are of these fields alone: another one is a decision, and this is where it is made."""
    (pair,) = generators["toy"].generate("good", 1)
    record = pair.record.to_dict()
    assert set(record) == {*evidence.RECORD, "times"}
    assert set(record["attempts"][0]) == set(evidence.ATTEMPT)


def test_the_requests_try_again_and_give_up() -> None:
    """What the hashes stand for: a gate that lets everything through would prove little."""
    outcomes = {"first": 0, "later": 0, "never": 0}
    generator = Generator.open(KEPT / "toy", threads=1)
    for defect in evidence.DEFECTS["toy"]:
        for pair in generator.generate(defect, 12, 7):
            tries = len(pair.record.attempts)
            outcomes["never" if not pair.record.accepted else "first" if tries == 1 else "later"] += 1
    assert min(outcomes.values()) >= 1, outcomes


@pytest.mark.parametrize("bundle", BUNDLES)
def test_commands_read_a_kept_bundle(kept: dict[str, Path], bundle: str) -> None:
    fingerprint = Bundle.read(kept[bundle]).fingerprint
    verified = done("verify", kept[bundle])
    assert verified["whole"]
    assert verified["fingerprint"] == done("inspect", kept[bundle])["fingerprint"] == fingerprint
    assert fingerprint == EXPECTED["fingerprints"][bundle]
    compared = done("diff", kept[bundle], kept[bundle])
    assert compared["same"]
    assert compared["differences"] == []


def test_a_kept_archive_is_the_kept_bundle(kept: dict[str, Path], tmp_path: Path) -> None:
    done("unpack", KEPT / "toy.zip", "--out", tmp_path / "toy")
    for file in (path for path in (KEPT / "toy").rglob("*") if path.is_file()):
        assert (tmp_path / "toy" / file.relative_to(KEPT / "toy")).read_bytes() == file.read_bytes()
    done("pack", kept["toy"], "--out", tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == (KEPT / "toy.zip").read_bytes()


def test_noise_is_what_it_was() -> None:
    """Streams of schema 1: datasets that exist depend on them."""
    from seas_runtime.methods.noise import PairNoise, Stream

    for kept in evidence.read("noise.json"):
        noise = PairNoise(*kept["key"], "stain", 1)
        assert noise.normal(Stream.START, (8,)).tolist() == kept["start"]
        steps = [noise.normal(Stream.STEP, (8,), step).tolist() for step in range(4)]
        assert steps == kept["steps"]
        chosen = [noise.choice(Stream.REFERENCE, count) for count in (7, 60)]
        assert chosen == kept["references_of_7_and_60"]

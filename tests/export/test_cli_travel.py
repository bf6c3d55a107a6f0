"""`pack`, `unpack`, `sign` and `diff` as a person types them."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.numpy

from seas_runtime.bundle.reading import hash_files, read_manifest_file, write_manifest
from seas_runtime.installing import install
from tests.export.commands import Run


@pytest.fixture
def bundle(toy_bundle: Path, tmp_path: Path) -> Path:
    """A copy of the tiny bundle, to change."""
    return Path(shutil.copytree(toy_bundle, tmp_path / "bundle"))


def test_pack_and_unpack(run: Run, bundle: Path, tmp_path: Path) -> None:
    packed = run("pack", bundle, "--json")
    assert (packed.code, packed.json["path"]) == (0, str(tmp_path / "bundle.zip"))
    bundle.rename(tmp_path / "kept")
    unpacked = run("unpack", tmp_path / "bundle.zip", "--sha256", packed.json["sha256"], "--json")
    assert unpacked.json["bundle"] == str(bundle)
    assert run("diff", bundle, tmp_path / "kept").out.startswith("The same bundle")
    assert run("pack", bundle).code == 2
    assert run("unpack", tmp_path / "bundle.zip").code == 2
    assert run("unpack", tmp_path / "kept").code == 2
    assert "Name it: --out" in run("unpack", tmp_path / "some.seas").err


def test_sign_verify_and_generate(run: Run, bundle: Path, tmp_path: Path) -> None:
    pytest.importorskip("model_signing", reason="not installed: pip install '.[sign]'")
    from tests.runtime.signing_keys import write_keys

    private, public = write_keys(tmp_path, "mine")
    _, other = write_keys(tmp_path, "other")
    (bundle / ".DS_Store").write_bytes(b"clutter")
    (bundle / "engines").mkdir()
    (bundle / "engines/step.plan").write_bytes(b"of this machine")
    assert run("verify", bundle, "--signature", public).code == 2
    assert run("sign", bundle, "--key", private, "--json").json["files"] == 8
    assert run("sign", bundle, "--key", private).code == 2
    (bundle / "engines/step.plan").write_bytes(b"of another one")
    (bundle / ".DS_Store").unlink()
    assert run("sign", bundle, "--key", private, "--force").code == 0
    assert "Signed by the owner" in run("verify", bundle, "--signature", public).out
    assert run("verify", bundle, "--signature", other).code == 2
    words = ("generate", bundle, "--defect", "stain", "--count", 1, "--threads", 1, "--no-gate")
    assert run(*words, "--out", tmp_path / "a", "--require-signature", public).code == 0
    assert run(*words, "--out", tmp_path / "b", "--require-signature", other).code == 2
    assert not (tmp_path / "b").exists()
    tool = [sys.executable, "-m", "model_signing", "verify", "key", "--signature", bundle / "model.sig"]
    tool += ["--public_key", public, bundle]
    done = subprocess.run([str(word) for word in tool], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (bundle / "graphs/step.onnx").write_bytes(b"changed")
    assert subprocess.run([str(word) for word in tool], capture_output=True).returncode != 0


def test_sign_with_a_password(run: Run, bundle: Path, tmp_path: Path) -> None:
    pytest.importorskip("model_signing", reason="not installed: pip install '.[sign]'")
    from cryptography.hazmat.primitives import serialization

    from tests.runtime.signing_keys import write_keys

    private, public = write_keys(tmp_path, "mine")
    key = serialization.load_pem_private_key(private.read_bytes(), None)
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"open sesame"),
        )
    )
    (tmp_path / "password").write_text("open sesame\n")
    assert "--password-file" in run("sign", bundle, "--key", private).err
    (tmp_path / "empty").write_text("")
    assert run("sign", bundle, "--key", private, "--password-file", tmp_path / "empty").code == 2
    assert run("sign", bundle, "--key", private, "--password-file", tmp_path / "password").code == 0
    assert run("verify", bundle, "--signature", public).code == 0


def test_sign_refuses_what_is_no_key_and_leaves_nothing(run: Run, bundle: Path, tmp_path: Path) -> None:
    pytest.importorskip("model_signing", reason="not installed: pip install '.[sign]'")
    (tmp_path / "key").write_text("hello")
    before = sorted(bundle.rglob("*"))
    ended = run("sign", bundle, "--key", tmp_path / "key")
    assert ended.code == 2
    assert "elliptic-curve private key" in ended.err
    assert run("sign", bundle, "--key", tmp_path / "none").code == 2
    assert sorted(bundle.rglob("*")) == before


def test_sign_without_the_tool(
    run: Run, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key").write_text("hello")
    monkeypatch.setitem(sys.modules, "model_signing", None)
    ended = run("sign", bundle, "--key", tmp_path / "key")
    assert ended.code == 2
    assert f"Install it: {install('sign')}" in ended.err


def test_diff_says_in_words_what_changed(run: Run, toy_bundle: Path, bundle: Path) -> None:
    tensors = safetensors.numpy.load_file(bundle / "tables/embeddings.safetensors")
    tensors["stain"] = tensors["stain"] + 0.5
    safetensors.numpy.save_file(tensors, bundle / "tables/embeddings.safetensors")
    references = safetensors.numpy.load_file(bundle / "tables/references.safetensors")["latents"]
    safetensors.numpy.save_file({"latents": references[:5]}, bundle / "tables/references.safetensors")
    schedules = safetensors.numpy.load_file(bundle / "tables/schedule.safetensors")
    kept = {key: value for key, value in schedules.items() if "ddim_eta" not in key}
    safetensors.numpy.save_file(kept, bundle / "tables/schedule.safetensors")
    rewrite_manifest(bundle)
    said = run("diff", toy_bundle, bundle)
    assert said.code == 0
    for words in (
        "The mask threshold changed from 0.2 to 0.35.",
        "Provenance base changed from 'toy' to 'toy 2'.",
        "Sampler guidance changed from 8 to 5.",
        "The embedding of 'stain' changed, by 0.5 at most.",
        "The number of normal images to start from changed from 7 to 5.",
        "The schedule 'ddim_eta/4' is gone.",
        "The licence 'Apache-2.0 (the toy)' is gone.",
    ):
        assert words in said.out
    found = run("diff", toy_bundle, bundle, "--json").json
    assert found["same"] is False
    assert {"what": "tau", "a": 0.2, "b": 0.35, "words": "The mask threshold changed from 0.2 to 0.35."} in (
        found["differences"]
    )
    assert not any(item["what"].startswith("graphs") for item in found["differences"])


def rewrite_manifest(bundle: Path) -> None:
    """Change several fields of a manifest whose files have changed."""
    manifest, _ = read_manifest_file(bundle)
    write_manifest(
        bundle,
        dataclasses.replace(
            manifest,
            files=hash_files(bundle),
            generation={**manifest.generation, "tau": 0.35},
            sampler=dataclasses.replace(manifest.sampler, guidance=5.0),
            provenance={"base": "toy 2"},
            licences=(),
        ),
    )


def test_diff_of_graphs_and_defects(run: Run, toy_bundle: Path, tmp_path: Path) -> None:
    from tests.runtime.bundles import Toy, write_tiny_bundle

    other = write_tiny_bundle(tmp_path / "other", Toy(gain=5.0, noise_input=False))
    said = run("diff", toy_bundle, other).out
    assert "Graph step: input noise is gone" in said
    assert "The graph decode_mask is another one" in said
    assert "decode_image" not in said
    swapped = write_tiny_bundle(tmp_path / "swapped", defects=("stain", "broken_large"))
    assert "The defects stand in another order: stain, broken_large." in run("diff", toy_bundle, swapped).out


def test_diff_of_a_damaged_bundle(run: Run, toy_bundle: Path, bundle: Path) -> None:
    (bundle / "graphs/step.onnx").write_bytes(b"x")
    assert run("diff", toy_bundle, bundle).code == 2

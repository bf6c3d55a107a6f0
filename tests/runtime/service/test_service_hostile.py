"""Uploads of people who mean harm: refused in words, nothing outside of the state folder, memory bounded."""

from __future__ import annotations

import io
import resource
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from seas_runtime.bundle.archive import pack_bundle
from seas_runtime.photographs.png import encode_png
from seas_runtime.service.box import Box
from tests.runtime.service.boxes import client, running

GROWTH = 400 << 10
"""KiB that the process may grow by over all of them."""


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png(width: int, height: int, data: bytes = b"", depth: int = 8, colour: int = 0) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _fine() -> bytes:
    return encode_png(np.random.default_rng(1).integers(0, 255, (64, 64, 3)).astype(np.uint8))


def _saved(kind: str, size: tuple[int, int] = (64, 64), mode: str = "RGB") -> bytes:
    held = io.BytesIO()
    Image.new(mode, size, 90).save(held, kind)
    return held.getvalue()


def pictures() -> Iterator[tuple[str, bytes]]:
    """Bodies that are no photographs to draw into."""
    fine, bomb = _fine(), zlib.compress(bytes(50_000_000))
    yield "nothing", b""
    yield "text", b"hello"
    yield "html", b"<html><script>alert(1)</script></html>"
    yield "svg", b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
    yield "eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n(/etc/passwd) run\n"
    yield "pdf", b"%PDF-1.4\n1 0 obj <<>> endobj\n"
    yield "elf", b"\x7fELF" + bytes(200)
    yield "zip", _zip({"a.png": fine})
    yield "pickle", b"\x80\x04cposix\nsystem\n(S'id'\ntR."
    yield "one pixel", _png(1, 1, zlib.compress(b"\0\0"))
    yield "one row", _png(4000, 1, zlib.compress(bytes(4001)))
    yield "300 megapixels", _png(20_000, 15_000, bomb)
    yield "more than 32 bits", _png(2**31 - 1, 2**31 - 1, bomb)
    yield "no width", _png(0, 64, bomb)
    yield "promised too much", _png(8000, 7900, zlib.compress(bytes(100)))
    yield "broken checksum", fine[:-20] + bytes(4) + fine[-16:]
    yield "bad depth", _png(64, 64, zlib.compress(bytes(5000)), depth=3)
    yield "bad colour", _png(64, 64, zlib.compress(bytes(5000)), colour=5)
    yield "no data", _png(64, 64)
    yield "not deflated", _png(64, 64, b"not deflated")
    for cut in (4, 9, 20, 33, 50, 80, len(fine) // 2, len(fine) - 30):
        yield f"cut at {cut}", fine[:cut]
    yield "text bomb", fine[:33] + _chunk(b"zTXt", b"k\0\0" + bomb) + b"broken"
    yield "gif", _saved("GIF")
    yield "icon", _saved("ICO")
    yield "ppm", _saved("PPM")
    yield "jpeg cut", _saved("JPEG", (400, 400))[:300]
    yield "webp cut", _saved("WEBP", (400, 400))[:60]
    yield (
        "bmp with a huge size",
        b"BM" + struct.pack("<IHHIIiiHH", 100, 0, 0, 54, 40, 60_000, 60_000, 1, 24) + bytes(24),
    )
    yield (
        "tiff that points at itself",
        b"II*\0\x08\0\0\0" + struct.pack("<H", 1) + struct.pack("<HHII", 273, 4, 9, 8) * 40,
    )
    yield "tiff of 300 megapixels", _tiff(20_000, 15_000)


def _tiff(width: int, height: int) -> bytes:
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
    tags += [(273, 4, 1, 8), (277, 3, 1, 1), (278, 4, 1, height), (279, 4, 1, 10)]
    body = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4)
    return b"II*\0" + struct.pack("<I", 8) + body


def _zip(files: dict[str, bytes], how: int = zipfile.ZIP_STORED) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", how) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return held.getvalue()


def archives(packed: bytes) -> Iterator[tuple[str, bytes]]:
    """Bodies that are no packed bundles."""
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    yield "text", b"hello"
    yield "empty zip", _zip({})
    yield "picture", _fine()
    yield "no manifest", _zip({name: data for name, data in files.items() if name != "manifest.json"})
    for name in (
        "../outside.txt",
        "/tmp/outside.txt",
        "a/../../outside.txt",
        "..\\outside.txt",
        "C:\\outside.txt",
    ):
        yield f"entry {name}", _zip({**files, name: b"outside"})
    yield "entry of a device", _zip({**files, "graphs/NUL.onnx": b"x"})
    yield "one entry more", _zip({**files, "extra.txt": b"x"})
    yield "one entry less", _zip(dict(list(files.items())[:-1]))
    yield (
        "changed weights",
        _zip({name: data + b"x" * name.endswith(".onnx") for name, data in files.items()}),
    )
    yield (
        "same size, other bytes",
        _zip(
            {
                name: data[:-1] + b"x" if name.endswith(".safetensors") else data
                for name, data in files.items()
            }
        ),
    )
    yield "manifest of zeros", _zip({**files, "manifest.json": bytes(9_000_000)}, zipfile.ZIP_DEFLATED)
    yield "manifest of brackets", _zip({**files, "manifest.json": b"[" * 100_000})
    yield "manifest twice", _zip(files)[:-1]
    yield "bomb", _zip({**files, "bomb.bin": bytes(200_000_000)}, zipfile.ZIP_DEFLATED)
    link = zipfile.ZipInfo("graphs/link.onnx")
    link.external_attr = 0o120777 << 16
    held = io.BytesIO(_zip(files))
    with zipfile.ZipFile(held, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    yield "link", held.getvalue()
    for cut in (10, 1000, len(packed) // 2, len(packed) - 10):
        yield f"cut at {cut}", packed[:cut]


@pytest.fixture(scope="module")
def packed(builds: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    file = tmp_path_factory.mktemp("packed") / "bottle.zip"
    pack_bundle(builds / "bottle/bundle", file)
    return file.read_bytes()


def test_hostile_uploads_are_refused(builds: Path, tmp_path: Path, packed: bytes) -> None:
    with running(builds, tmp_path / "inside/state", max_photograph_mb=8.0, max_bundle_mb=30.0) as own:
        asking = client(own)
        before = _memory()
        outside = _outside(tmp_path)
        tried = 0
        for name, body in pictures():
            answer = asking.put("/v1/photographs/set/a.png", content=body)
            assert answer.status_code in (413, 422), (name, answer.status_code, answer.text)
            assert str(tmp_path) not in answer.text
            tried += 1
        for name, body in archives(packed):
            answer = asking.post("/v1/bundles", content=body)
            assert answer.status_code in (413, 422), (name, answer.status_code, answer.text)
            assert str(tmp_path) not in answer.text
            tried += 1
        assert tried >= 60
        assert not list(own.state.incoming.iterdir())
        assert not list(own.state.bundles.iterdir())
        assert not own.photographs.sets()
        assert _outside(tmp_path) == outside
        assert _memory() - before < GROWTH
        taken = asking.post("/v1/bundles", content=packed)
        assert taken.status_code == 201, taken.text  # an honest one is taken after all that
        assert asking.put("/v1/photographs/set/a.png", content=_fine()).status_code == 201


@pytest.mark.parametrize(
    "path",
    [
        "/v1/photographs/..%2f..%2fetc/a.png",
        "/v1/photographs/set/..%2f..%2fa.png",
        "/v1/photographs/set/.hidden.png",
        "/v1/photographs/set/a.exe",
        "/v1/photographs/set/a.png%00.exe",
        "/v1/photographs/set/CON.png",
        "/v1/photographs/SET/a.png",
        "/v1/photographs/set/a%0ab.png",
        "/v1/photographs/set/" + "a" * 300 + ".png",
    ],
)
def test_names_are_never_paths(box: Box, operator: TestClient, path: str) -> None:
    answer = operator.put(path, content=_fine())
    assert answer.status_code in (404, 405, 422), answer.text
    assert not list(box.state.incoming.iterdir())
    assert operator.get(path).status_code in (404, 422)


@pytest.mark.parametrize(
    "id", ["..", "..%2f..", "20260101-0000000g", "%2fetc%2fpasswd", "20260101-00000000%00"]
)
def test_ids_are_never_paths(operator: TestClient, id: str) -> None:
    for rest in ("", "/pairs", "/download", "/pairs/stain/0/image", "/pairs/..%2f../0/mask"):
        answer = operator.get(f"/v1/jobs/{id}{rest}")
        page = answer.headers["content-type"].startswith("text/html")  # where the path ends at the top
        assert page or answer.status_code in (404, 422), rest
        assert "root:" not in answer.text


def test_a_body_over_its_limit_is_refused_while_it_comes(builds: Path, tmp_path: Path) -> None:
    with running(builds, tmp_path / "state", max_photograph_mb=0.1) as own:
        asking = client(own)
        sent = 0

        def endless() -> Iterator[bytes]:
            nonlocal sent
            while sent < 50_000_000:
                sent += 50_000
                yield bytes(50_000)

        answer = asking.put("/v1/photographs/set/a.png", content=endless())
        assert answer.status_code == 413
        assert asking.put("/v1/photographs/set/a.png", content=bytes(200_000)).status_code == 413
        assert not list(own.state.incoming.iterdir())


def test_bundles_that_are_not_signed_are_refused_where_a_key_is_asked_for(
    builds: Path, tmp_path: Path, packed: bytes
) -> None:
    from tests.runtime.signing_keys import write_keys

    key = write_keys(tmp_path, "owner")[1]
    with running(builds, tmp_path / "state", require_signature=key) as own:
        asking = client(own)
        answer = asking.post("/v1/bundles", content=packed)
        assert answer.status_code == 422
        assert "signature" in answer.json()["error"]
        listed = asking.get("/v1/bundles").json()["bundles"]
        assert all("sign" in bundle["refused"] for bundle in listed)
        new = {"bundle": listed[0]["id"], "defects": ["stain"]}
        assert asking.post("/v1/jobs", json=new).status_code == 422


def _memory() -> int:
    """KiB at the most so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _outside(folder: Path) -> set[str]:
    found = {str(path) for path in folder.rglob("*") if "state" not in path.parts}
    return found | {str(path) for path in Path("/tmp").glob("outside*")}

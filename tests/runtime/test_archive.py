"""Bundles as one file: what pack wrote comes back the same, and no hostile archive leaves anything behind."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import stat
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from seas_runtime.bundle.archive import pack_bundle, unpack_bundle
from seas_runtime.bundle.reading import Bundle
from seas_runtime.errors import UserError
from tests.runtime.bundles import write_tiny_bundle


def tree(folder: Path) -> dict[str, bytes | None]:
    """Everything below a folder: files with what they hold."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A bundle's files by name, manifest first."""
    path = write_tiny_bundle(tmp_path_factory.mktemp("packed") / "bundle")
    files = {name: data for name, data in tree(path).items() if data is not None}
    return {"manifest.json": files.pop("manifest.json"), **files}


@dataclass
class Entry:
    """An entry as a test writes it, honest or not."""

    name: str
    data: bytes = b""
    mode: int = stat.S_IFREG | 0o644
    method: int = zipfile.ZIP_STORED

    def info(self) -> zipfile.ZipInfo:
        made = zipfile.ZipInfo(self.name)
        made.create_system = 3
        made.external_attr = self.mode << 16
        made.compress_type = self.method
        return made


@dataclass
class Archive:
    """Entries, and what is done to the bytes of the archive afterwards."""

    entries: list[Entry]
    patches: list[Callable[[bytes], bytes]] = field(default_factory=list)

    def find(self, name: str) -> Entry:
        return next(entry for entry in self.entries if entry.name == name)

    def write(self, path: Path) -> Path:
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as opened:
            for entry in self.entries:
                opened.writestr(entry.info(), entry.data)
        data = stream.getvalue()
        for patch in self.patches:
            data = patch(data)
        path.write_bytes(data)
        return path


Spoil = Callable[[Archive], None]


def adding(name: str, data: bytes = b"x", /, **options: Any) -> Spoil:
    return lambda archive: archive.entries.append(Entry(name, data, **options))


def listing(name: str, data: bytes = b"x", **options: Any) -> Spoil:
    """Add an entry that the manifest lists with its true hash: only the name or kind is wrong."""

    def spoil(archive: Archive) -> None:
        adding(name, data, **options)(archive)
        entry = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
        manifest(lambda values: values["files"].__setitem__(name, entry))(archive)

    return spoil


def manifest(change: Callable[[dict[str, Any]], Any]) -> Spoil:
    def spoil(archive: Archive) -> None:
        entry = archive.find("manifest.json")
        values = json.loads(entry.data)
        change(values)
        entry.data = json.dumps(values).encode()

    return spoil


def changing(name: str, /, **options: Any) -> Spoil:
    def spoil(archive: Archive) -> None:
        for key, value in options.items():
            setattr(archive.find(name), key, value)

    return spoil


def renaming(old: str, new: bytes) -> Spoil:
    """Put a name into the archive that zipfile would not write, of the same length."""
    return lambda archive: archive.patches.append(lambda data: data.replace(old.encode(), new))


def in_directory(offset: int, layout: str, value: int, name: str = "graphs/step.onnx") -> Spoil:
    """Change a field of an entry's central header, whose name begins at byte 46."""

    def patch(data: bytes) -> bytes:
        start = data.rindex(name.encode()) - 46
        assert data[start : start + 4] == b"PK\x01\x02"
        changed = bytearray(data)
        struct.pack_into(layout, changed, start + offset, value)
        return bytes(changed)

    return lambda archive: archive.patches.append(patch)


def in_local_header(name: str, new: bytes) -> Spoil:
    def patch(data: bytes) -> bytes:
        start = data.index(name.encode())
        return data[:start] + new + data[start + len(new) :]

    return lambda archive: archive.patches.append(patch)


def removing(name: str) -> Spoil:
    return lambda archive: archive.entries.remove(archive.find(name))


def flipping(name: str) -> Spoil:
    def spoil(archive: Archive) -> None:
        entry = archive.find(name)
        entry.data = entry.data[:-1] + bytes([entry.data[-1] ^ 1])

    return spoil


def shortened(archive: Archive) -> None:
    archive.patches.append(lambda data: data[: len(data) // 2])


def without_directory(archive: Archive) -> None:
    archive.patches.append(lambda data: data[: data.index(b"PK\x01\x02")])


def twice_the_same_bytes(archive: Archive) -> None:
    """Let the last entry's header point to the first one's data."""
    in_directory(42, "<I", 0, archive.entries[-1].name)(archive)


def bomb(size: int, said: int | None = None) -> Spoil:
    def spoil(archive: Archive) -> None:
        listing("tables/zeros.bin", b"\0" * size, method=zipfile.ZIP_DEFLATED)(archive)
        if said is not None:
            entry = {"sha256": hashlib.sha256(b"\0" * said).hexdigest(), "size": said}
            manifest(lambda values: values["files"].__setitem__("tables/zeros.bin", entry))(archive)
            in_directory(24, "<I", said, "tables/zeros.bin")(archive)

    return spoil


def small_bombs(archive: Archive) -> None:
    """Let forty megabytes lie in forty kilobytes, one megabyte an entry."""
    for index in range(40):
        listing(f"tables/{index}.bin", bytes(1 << 20), method=zipfile.ZIP_DEFLATED)(archive)


def renamed_file(name: str) -> Spoil:
    """Give a graph's file another name, in archive and manifest alike."""

    def spoil(archive: Archive) -> None:
        archive.find("graphs/step.onnx").name = name

        def change(values: dict[str, Any]) -> None:
            values["files"][name] = values["files"].pop("graphs/step.onnx")
            values["graphs"]["step"]["file"] = name

        manifest(change)(archive)

    return spoil


NAME = "file's name on every system"
HOSTILE: dict[str, tuple[Spoil, str]] = {
    "parent path": (adding("../evil"), NAME),
    "parent path, listed": (listing("../evil"), NAME),
    "parent path in the middle": (listing("graphs/../../evil"), NAME),
    "parent path that stays inside": (listing("graphs/../evil"), NAME),
    "absolute path": (listing("/tmp/seas-evil"), NAME),
    "two slashes": (listing("//host/share"), NAME),
    "here": (listing("./evil"), NAME),
    "empty part": (listing("graphs//evil"), NAME),
    "backslashes": (renaming("graphs/step.onnx", b"..\\..\\abc\\c.onnx"), NAME),
    "drive": (listing("C:/evil"), NAME),
    "stream": (listing("graphs/step.onnx:evil"), NAME),
    "device": (listing("graphs/NUL"), NAME),
    "device with suffix": (listing("com1.txt"), NAME),
    "trailing dot": (listing("graphs/step.onnx."), NAME),
    "trailing space": (listing("graphs/evil "), NAME),
    "control character": (listing("graphs/e\nvil"), NAME),
    "zero byte": (renaming("graphs/step.onnx", b"graphs/ste\x00.onnx"), NAME),
    "wildcard": (listing("graphs/*"), NAME),
    "long name": (listing("graphs/" + "x" * 300), NAME),
    "long path": (listing("/".join(["deep"] * 200)), NAME),
    "no name": (adding(""), NAME),
    "parent folder": (adding("../", b"", mode=stat.S_IFDIR), NAME),
    "symbolic link": (changing("graphs/step.onnx", data=b"/etc/passwd", mode=stat.S_IFLNK | 0o777), "link"),
    "link that is listed": (listing("graphs/l", b"../../x", mode=stat.S_IFLNK | 0o777), "link"),
    "character device": (changing("graphs/step.onnx", mode=stat.S_IFCHR | 0o644), "device or pipe"),
    "pipe": (changing("graphs/step.onnx", mode=stat.S_IFIFO | 0o644), "device or pipe"),
    "socket": (changing("graphs/step.onnx", mode=stat.S_IFSOCK | 0o644), "device or pipe"),
    "folder in a file's name": (changing("graphs/step.onnx", mode=stat.S_IFDIR | 0o755), "found a folder"),
    "the same name twice": (adding("graphs/step.onnx"), "same file on some systems"),
    "manifest twice": (adding("manifest.json", b"{}"), "same file on some systems"),
    "other case": (listing("graphs/STEP.onnx"), "same file on some systems"),
    "other composition": (
        lambda archive: (listing("graphs/\u00e9")(archive), listing("graphs/e\u0301")(archive))[0],
        "same file on some systems",
    ),
    "file as folder": (listing("graphs/step.onnx/evil"), "is a file"),
    "bomb": (bomb(8 << 20), "no weights"),
    "bomb that says it is small": (bomb(8 << 20, said=4000), "found more|broken zip"),
    "bombs that are small each": (
        small_bombs,
        "are no bundle",
    ),
    "a list of entries beyond all bounds": (
        lambda archive: archive.patches.append(
            lambda data: data[:-10] + (5 << 20).to_bytes(4, "little") + data[-6:]
        ),
        "found a list of 5242880 bytes",
    ),
    "size beyond the disk": (
        lambda archive: (
            in_directory(24, "<I", 0xFFFFFFF0)(archive),
            in_directory(20, "<I", 0xFFFFFFF0)(archive),
            manifest(lambda values: values["files"]["graphs/step.onnx"].update(size=0xFFFFFFF0))(archive),
        )[0],
        "lie inside another|free space|broken zip",
    ),
    "overlapping entries": (twice_the_same_bytes, "inside another's"),
    "too many entries": (
        lambda archive: archive.entries.extend(Entry(f"e/{index}") for index in range(4100)),
        "at most 4096 entries",
    ),
    "encrypted": (in_directory(8, "<H", 1), "encrypted"),
    "unknown compression": (in_directory(10, "<H", 99), "compression method 99"),
    "bzip2": (changing("graphs/step.onnx", method=zipfile.ZIP_BZIP2), "compression method 12"),
    "stored with another size": (in_directory(20, "<I", 7), "cannot hold"),
    "two names for one entry": (in_local_header("graphs/step.onnx", b"graphs/evil.onnx"), "broken zip"),
    "wrong checksum": (in_directory(16, "<I", 1), "broken zip"),
    "shortened": (shortened, "broken zip"),
    "no directory": (without_directory, "broken zip"),
    "no zip": (lambda archive: archive.patches.append(lambda _: b"PK\x03\x04 no"), "broken zip"),
    "empty file": (lambda archive: archive.patches.append(lambda _: b""), "broken zip"),
    "no manifest": (removing("manifest.json"), "expected manifest.json at the top"),
    "manifest in a folder": (changing("manifest.json", name="b/manifest.json"), "expected manifest.json"),
    "manifest that is no JSON": (changing("manifest.json", data=b"\x80\x04."), "is broken"),
    "manifest nested deeply": (changing("manifest.json", data=b"[" * 100_000), "nested too deeply"),
    "manifest of another schema": (manifest(lambda values: values.update(schema=3)), "update seas-export"),
    "manifest with an absolute path": (renamed_file("/etc/cron.d/x"), NAME),
    "manifest that lists a parent": (
        manifest(lambda values: values["files"].update({"../x": {"sha256": "0" * 64, "size": 1}})),
        "is refused",
    ),
    "manifest that lists a device": (
        manifest(lambda values: values["files"].update({"aux": {"sha256": "0" * 64, "size": 1}})),
        "is refused",
    ),
    "manifest that lists two cases": (
        manifest(
            lambda values: values["files"].update(
                {"A": values["files"]["graphs/step.onnx"], "a": values["files"]["graphs/step.onnx"]}
            )
        ),
        "more than their case",
    ),
    "manifest that lists itself": (
        manifest(lambda values: values["files"].update({"Manifest.json": {"sha256": "0" * 64, "size": 1}})),
        "does not list it",
    ),
    "manifest that lists a signature": (
        manifest(lambda values: values["files"].update({"model.sig": {"sha256": "0" * 64, "size": 1}})),
        "does not list it",
    ),
    "file in the engine cache": (listing("engines/k/step.plan"), "does not list it"),
    "engine that is not listed": (adding("engines/k/step.plan"), "not listed"),
    "file that is not listed": (adding("graphs/evil.so"), "not listed"),
    "listed file missing": (removing("graphs/step.onnx"), "missing"),
    "listed size differs": (
        manifest(lambda values: values["files"]["graphs/step.onnx"].update(size=5)),
        "expected 5 bytes",
    ),
    "changed file": (flipping("graphs/step.onnx"), "expected sha256"),
    "changed table": (flipping("tables/references.safetensors"), "expected sha256"),
}


def test_there_are_enough_hostile_archives() -> None:
    assert len(HOSTILE) >= 30


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_is_refused_and_leaves_nothing(
    contents: dict[str, bytes], tmp_path: Path, name: str
) -> None:
    """Beside an older folder that it would replace, too, for every other one."""
    spoil, words = HOSTILE[name]
    archive = Archive([Entry(file, data) for file, data in contents.items()])
    spoil(archive)
    existing = list(HOSTILE).index(name) % 2 == 0
    inner = tmp_path / "deep" / "inner"
    inner.mkdir(parents=True)
    file = archive.write(tmp_path / "hostile.zip")
    if existing:
        for inside, data in contents.items():
            (inner / "out" / inside).parent.mkdir(parents=True, exist_ok=True)
            (inner / "out" / inside).write_bytes(data)
    before = tree(tmp_path)
    with pytest.raises(UserError, match=words):
        unpack_bundle(file, inner / "out", force=existing)
    assert tree(tmp_path) == before
    assert not Path("/tmp/seas-evil").exists()


def test_what_was_packed_comes_back(tiny_bundle: Path, tmp_path: Path) -> None:
    packed = pack_bundle(tiny_bundle, tmp_path / "bundle.zip")
    bundle = unpack_bundle(packed.path, tmp_path / "there", sha256=packed.sha256)
    assert tree(tmp_path / "there") == tree(tiny_bundle)
    assert bundle.fingerprint == packed.fingerprint == Bundle.read(tmp_path / "there").fingerprint
    assert packed.files == 7
    assert packed.size == packed.path.stat().st_size


def test_the_same_bundle_gives_the_same_bytes_without_engines(own_bundle: Path, tmp_path: Path) -> None:
    first = pack_bundle(own_bundle, tmp_path / "one.zip")
    (own_bundle / "engines/key").mkdir(parents=True)
    (own_bundle / "engines/key/step.plan").write_bytes(b"of this machine")
    (own_bundle / ".DS_Store").write_bytes(b"clutter")
    second = pack_bundle(own_bundle, tmp_path / "two.zip")
    assert first.sha256 == second.sha256
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()


def test_an_archive_that_another_tool_compressed_is_read(contents: dict[str, bytes], tmp_path: Path) -> None:
    """With folders as entries and deflated data, as file managers write them."""
    entries = [Entry(name, data, method=zipfile.ZIP_DEFLATED) for name, data in contents.items()]
    folders = [Entry(f"{name}/", mode=stat.S_IFDIR | 0o755) for name in ("graphs", "tables")]
    file = Archive([*folders, *entries]).write(tmp_path / "other.zip")
    unpack_bundle(file, tmp_path / "out")
    assert tree(tmp_path / "out").keys() == {*contents, "graphs", "tables"}


def test_a_damaged_bundle_is_not_packed(own_bundle: Path, tmp_path: Path) -> None:
    (own_bundle / "graphs/step.onnx").write_bytes(b"")
    with pytest.raises(UserError, match=r"step\.onnx"):
        pack_bundle(own_bundle, tmp_path / "bundle.zip")
    assert not (tmp_path / "bundle.zip").exists()


def test_nothing_is_overwritten_unless_forced(tiny_bundle: Path, tmp_path: Path) -> None:
    file = tmp_path / "bundle.zip"
    pack_bundle(tiny_bundle, file)
    with pytest.raises(UserError, match="there already"):
        pack_bundle(tiny_bundle, file)
    pack_bundle(tiny_bundle, file, force=True)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("mine")
    for force in (False, True):
        with pytest.raises(UserError, match=r"expected an empty folder or a bundle.*mine\.txt"):
            unpack_bundle(file, tmp_path / "out", force=force)
    (tmp_path / "out/mine.txt").unlink()
    unpack_bundle(file, tmp_path / "out")
    with pytest.raises(UserError, match="there is a bundle already"):
        unpack_bundle(file, tmp_path / "out")
    unpack_bundle(file, tmp_path / "out", force=True)
    (tmp_path / "out/mine.txt").write_text("mine")
    with pytest.raises(UserError, match=r"no command of ours wrote.*mine\.txt"):
        unpack_bundle(file, tmp_path / "out", force=True)
    assert (tmp_path / "out/mine.txt").read_text() == "mine"


def test_a_file_that_pack_did_not_write_is_not_replaced(tiny_bundle: Path, tmp_path: Path) -> None:
    mine = tmp_path / "photos.zip"
    with zipfile.ZipFile(mine, "w") as opened:
        opened.writestr("photo.png", b"mine")
    before = mine.read_bytes()
    with pytest.raises(UserError, match="not a packed bundle"):
        pack_bundle(tiny_bundle, mine, force=True)
    assert mine.read_bytes() == before


def test_the_folder_that_the_archive_lies_in_is_not_unpacked_over(tiny_bundle: Path, tmp_path: Path) -> None:
    bundle = shutil.copytree(tiny_bundle, tmp_path / "bundle")
    file = pack_bundle(bundle, tmp_path / "bundle.zip").path.replace(bundle / "bundle.zip")
    with pytest.raises(UserError, match="holds FILE"):
        unpack_bundle(file, bundle, force=True)
    assert file.exists()


def test_places_that_cannot_be(own_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="lies in the bundle"):
        pack_bundle(own_bundle, own_bundle / "bundle.zip")
    with pytest.raises(UserError, match="found a folder"):
        pack_bundle(own_bundle, tmp_path)
    with pytest.raises(UserError, match="found a folder"):
        unpack_bundle(tmp_path, tmp_path / "out")
    with pytest.raises(UserError, match="found nothing"):
        unpack_bundle(tmp_path / "none.zip", tmp_path / "out")


def test_another_hash_than_was_asked_for(tiny_bundle: Path, tmp_path: Path) -> None:
    file = pack_bundle(tiny_bundle, tmp_path / "bundle.zip").path
    with pytest.raises(UserError, match="expected sha256 00"):
        unpack_bundle(file, tmp_path / "out", sha256="00")
    assert not (tmp_path / "out").exists()


def test_a_full_disk_is_told_beforehand(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil

    file = pack_bundle(tiny_bundle, tmp_path / "bundle.zip").path
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(UserError, match="free space"):
        unpack_bundle(file, tmp_path / "a/b/out")
    assert not (tmp_path / "a").exists()

"""Shards in a store: each pair once, whatever is killed, refused, doubled or spoilt."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import shutil
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fsspec", reason="fsspec is not installed: pip install '.[remote]'")

from seas_runtime.bundle.reading import Bundle
from seas_runtime.dataset.shards import store as stores
from seas_runtime.dataset.shards.merging import merge_shards
from seas_runtime.dataset.shards.names import Part, Range, Shard, missing, parse
from seas_runtime.dataset.shards.store import Store
from seas_runtime.dataset.shards.writing import ShardOptions, write_shards
from seas_runtime.dataset.writing import DatasetRequest, write_dataset
from seas_runtime.errors import CheckFailed, UserError
from seas_runtime.generation.generator import Generator
from seas_runtime.spreading.contract import Job
from seas_runtime.spreading.devices import Device
from seas_runtime.spreading.pool import Pool
from seas_runtime.spreading.processes import Processes
from tests.runtime.datasets import snapshot

REQUEST = DatasetRequest(("all",), 20, seed=3, batch=3)
OPTIONS = ShardOptions(pairs=8)  # made 9


@pytest.fixture(scope="module")
def alone(generator: Generator, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of 20 pairs each of two defects and normals, written into a folder."""
    out = tmp_path_factory.mktemp("alone") / "out"
    write_dataset(generator, REQUEST, out)
    return snapshot(out)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"file://{tmp_path}/store"


def objects(folder: Path) -> dict[str, bytes]:
    """The shards of a store, without what differs from run to run."""
    return {file.name: file.read_bytes() for file in (folder / "shards").glob("*.tar")}


@pytest.mark.parametrize("kind", ["tar", "files"])
def test_merged_shards_are_the_dataset(
    generator: Generator, url: str, tmp_path: Path, alone: dict[str, bytes], kind: str
) -> None:
    reports: list[tuple[int, int]] = []
    options = ShardOptions(kind, 8)
    summary = write_shards(generator, REQUEST, url, options, lambda *done: reports.append(done))
    assert (summary.shards, summary.pairs, summary.continued, summary.left) == (9, 60, 0, 0)
    assert reports[0] == (0, 60)
    assert reports[-1] == (60, 60)
    merged = merge_shards([url], tmp_path / "merged")
    assert (merged.shards, merged.pairs, merged.twice, merged.missing) == (9, 60, 0, 0)
    assert snapshot(tmp_path / "merged") == alone
    assert write_dataset(generator, REQUEST, tmp_path / "merged").continued == 60
    again = write_shards(generator, REQUEST, url, options)
    assert (again.shards, again.continued) == (0, 60)


def test_a_tar_is_what_webdataset_reads(generator: Generator, url: str, tmp_path: Path) -> None:
    write_shards(generator, dataclasses.replace(REQUEST, defects=("stain",)), url, OPTIONS)
    first = min((tmp_path / "store/shards").glob("stain-000000-000009-*.tar"))
    index = json.loads(first.with_name(f"{first.name}.index.json").read_text())
    samples: dict[str, set[str]] = {}
    with tarfile.open(first) as tar:
        for member in tar:
            handle = tar.extractfile(member)
            assert handle is not None
            data = handle.read()
            start, size = index["members"][member.name]
            assert first.read_bytes()[start : start + size] == data
            if not member.name.startswith("__rejected__/"):
                key, _, ending = member.name.partition(".")
                samples.setdefault(key, set()).add(ending)
            if member.name.endswith("png"):
                assert data.startswith(b"\x89PNG")
    assert samples
    assert all(endings == {"png", "mask.png", "json"} for endings in samples.values())
    assert len(index["records"]) == 9
    assert len(samples) == sum(record["accepted"] for record in index["records"])


def test_killed_and_continued(
    generator: Generator, url: str, tmp_path: Path, alone: dict[str, bytes]
) -> None:
    class Killed(BaseException):
        pass

    def kill(done: int, total: int) -> None:
        if done > 20:
            raise Killed

    with pytest.raises(Killed):
        write_shards(generator, REQUEST, url, OPTIONS, kill)
    store = tmp_path / "store/shards"
    half = store / f".stain-000000-000009-0123456789abcdef.tar.abcd1234{stores.TEMPORARY_SUFFIX}"
    half.write_bytes(b"half a shard")
    with pytest.raises(UserError, match=r"found .* missing, such as .*--partial"):
        merge_shards([url], tmp_path / "early")
    assert not (tmp_path / "early").exists()
    part = merge_shards([url], tmp_path / "part", partial=True)
    assert 20 < part.pairs < 60
    assert part.pairs + part.missing == 60
    assert write_shards(generator, REQUEST, url, OPTIONS).continued == part.pairs
    merge_shards([url], tmp_path / "merged")
    assert snapshot(tmp_path / "merged") == alone


def test_two_writers_of_the_same_pairs_are_one(generator: Generator, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_shards(generator, REQUEST, f"file://{tmp_path}/{name}", OPTIONS)
    assert objects(tmp_path / "a") == objects(tmp_path / "b")
    merged = merge_shards([f"file://{tmp_path}/{name}" for name in ("a", "b")], tmp_path / "merged")
    assert (merged.shards, merged.pairs, merged.twice) == (9, 60, 0)


def test_parts_and_a_larger_count(
    generator: Generator, url: str, tmp_path: Path, alone: dict[str, bytes]
) -> None:
    smaller = dataclasses.replace(REQUEST, count=11)
    write_shards(generator, smaller, url, OPTIONS)
    left = [
        write_shards(generator, REQUEST, url, dataclasses.replace(OPTIONS, part=Part(k, 2))).left
        for k in (1, 2)
    ]
    assert left[0] > 0 == left[1]
    names = [shard.range for shard in parse(file.name for file in (tmp_path / "store/shards").iterdir())]
    assert Range("stain", 9, 11) in names
    assert Range("stain", 11, 18) in names
    merge_shards([url], tmp_path / "merged")
    assert snapshot(tmp_path / "merged") == alone


def test_processes_write_their_own_shards(
    tiny_bundle: Path, url: str, tmp_path: Path, alone: dict[str, bytes]
) -> None:
    job = Job(str(tiny_bundle), Bundle.read(tiny_bundle).fingerprint, "cpu", 1)
    with Pool(Bundle.read(tiny_bundle), Processes([Device("one", threads=1)]), job) as pool:
        write_shards(pool, REQUEST, url, OPTIONS)
    merge_shards([url], tmp_path / "merged")
    assert snapshot(tmp_path / "merged") == alone
    (run,) = (tmp_path / "store/runs").iterdir()
    told = json.loads(run.read_text())
    assert told["bundle"] == Bundle.read(tiny_bundle).fingerprint
    assert told["workers"][0]["backend"]["backend"] == "cpu"
    assert {shard["name"] for shard in told["shards"]} == set(objects(tmp_path / "store"))


def test_spoilt_shards_are_found(generator: Generator, url: str, tmp_path: Path) -> None:
    write_shards(generator, REQUEST, url, OPTIONS)
    first = min((tmp_path / "store/shards").glob("*.tar"))
    whole = first.read_bytes()
    first.write_bytes(whole[:600] + bytes([whole[600] ^ 1]) + whole[601:])
    with pytest.raises(CheckFailed, match="expected the content"):
        merge_shards([url], tmp_path / "merged")
    assert not (tmp_path / "merged").exists()
    first.write_bytes(whole)
    index = first.with_name(f"{first.name}.index.json")
    told = json.loads(index.read_text())
    told["records"][0]["seed"] = 4
    index.write_text(json.dumps(told))
    with pytest.raises(CheckFailed, match="as the index has it"):
        merge_shards([url], tmp_path / "merged")


def test_pairs_that_differ_are_found(generator: Generator, url: str, tmp_path: Path) -> None:
    write_shards(generator, dataclasses.replace(REQUEST, defects=("good",)), url, OPTIONS)
    other = dataclasses.replace(REQUEST, defects=("good",), seed=4)
    write_shards(generator, other, f"file://{tmp_path}/other", OPTIONS)
    with pytest.raises(UserError, match="another seed: expected 3, found 4; merge those of one request"):
        merge_shards([url, f"file://{tmp_path}/other"], tmp_path / "merged")
    foreign = min((tmp_path / "other/shards").glob("*.tar"))
    for file in (foreign, foreign.with_name(f"{foreign.name}.index.json")):
        shutil.copy(file, tmp_path / "store/shards")
    with pytest.raises(CheckFailed, match="hold different pairs of this number"):
        merge_shards([url], tmp_path / "merged")


def test_what_does_not_fit_is_refused(generator: Generator, url: str, tmp_path: Path) -> None:
    write_shards(generator, dataclasses.replace(REQUEST, count=2), url, OPTIONS)
    with pytest.raises(UserError, match="another seed"):
        write_shards(generator, dataclasses.replace(REQUEST, seed=9), url, OPTIONS)
    with pytest.raises(UserError, match="shards of another kind: expected files, found tar"):
        write_shards(generator, REQUEST, url, ShardOptions("files"))
    (tmp_path / "full").mkdir()
    (tmp_path / "full/notes.txt").write_text("mine")
    with pytest.raises(UserError, match="found other files, such as notes"):
        write_shards(generator, REQUEST, f"file://{tmp_path}/full", OPTIONS)
    with pytest.raises(UserError, match="expected one of tar, files"):
        ShardOptions("zip")
    for text in ("2", "0/3", "4/3", "a/b"):
        with pytest.raises(UserError, match="such as 2/8"):
            Part.parse(text)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/notes.txt").write_text("mine")
    with pytest.raises(UserError, match="found other files"):
        merge_shards([url], tmp_path / "taken")


def test_what_is_missing() -> None:
    there = [Range("a", 4, 6), Range("b", 0, 90), Range("a", 20, 30)]
    assert [(item.start, item.end) for item in missing("a", 26, 10, there)] == [(0, 4), (6, 10), (10, 20)]
    assert list(missing("b", 90, 10, there)) == []
    assert [(item.start, item.end) for item in missing("c", 25, 10, there)] == [(0, 10), (10, 20), (20, 25)]


def test_names_tell_what_is_held() -> None:
    shard = Shard(Range("two-words", 0, 1_000_000), "ab" * 32, "tar")
    (found,) = parse(
        [shard.name, "notes.txt", "a-000002-000001-0123456789abcdef.tar", f"{shard.name}.index.json"]
    )
    assert found == Shard(shard.range, "ab" * 8, "tar")


class Moody:
    """A file system that refuses, loses connections and cuts writes short, in turn."""

    def __init__(self, files: Any, errors: list[Exception]) -> None:
        self._files, self._errors = files, errors

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._files, name)
        if name not in ("find", "pipe_file", "put_file", "mv", "exists"):
            return found

        def moody(*arguments: Any, **options: Any) -> Any:
            if self._errors:
                if name == "put_file":
                    self._files.pipe_file(arguments[1], b"half")
                raise self._errors.pop()
            return found(*arguments, **options)

        return moody


def test_a_store_that_refuses_for_a_while(
    generator: Generator, url: str, tmp_path: Path, alone: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "PAUSES", (0.0,) * 4)
    original = Store.__init__
    errors: list[Exception] = []

    def moody(self: Store, where: str) -> None:
        original(self, where)
        self._files = Moody(self._files, errors)

    monkeypatch.setattr(Store, "__init__", moody)

    def refuse(done: int, total: int) -> None:
        errors.extend([OSError("SlowDown"), ConnectionError("reset"), TimeoutError("timed out")])

    write_shards(generator, REQUEST, url, OPTIONS, refuse)
    errors.clear()
    merge_shards([url], tmp_path / "merged")
    assert snapshot(tmp_path / "merged") == alone
    errors.extend([OSError("SlowDown")] * 9)
    with pytest.raises(CheckFailed, match="SlowDown; run the command again"):
        Store(url).names("shards")


def test_the_store_is_asked_before_workers_start(
    tiny_bundle: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NoCredentialsError(Exception):
        pass

    class Idle:
        def start(self, job: Job) -> Any:
            raise AssertionError("started")

    def refuse(self: Any, path: str) -> bool:
        raise NoCredentialsError("Unable to locate credentials")

    original = Store.__init__

    def locked(self: Store, where: str) -> None:
        original(self, where)
        monkeypatch.setattr(type(self._files), "exists", refuse)

    monkeypatch.setattr(Store, "__init__", locked)
    pool = Pool(Bundle.read(tiny_bundle), Idle(), Job("", "", "cpu", 1))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="does not let us in"):
        write_shards(pool, REQUEST, url, OPTIONS)


def test_urls_that_lead_nowhere() -> None:
    with pytest.raises(UserError, match="expected file, s3, gs, az or sftp"):
        Store("nothing://there")


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The address of an S3 server on this machine, with a bucket `pairs`."""
    pytest.importorskip("s3fs", reason="s3fs is not installed: pip install '.[remote]'")
    server_module = pytest.importorskip("moto.server", reason="moto is not installed: pip install '.[dev]'")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def test_shards_in_s3(
    generator: Generator, s3: str, tmp_path: Path, alone: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    import s3fs

    monkeypatch.setenv("AWS_ENDPOINT_URL", s3)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setattr(stores, "PAUSES", (0.01,))
    with pytest.raises(UserError, match="make the bucket or folder"):
        write_shards(generator, REQUEST, "s3://nowhere/run", OPTIONS)
    s3fs.S3FileSystem().mkdir("pairs")
    write_shards(generator, dataclasses.replace(REQUEST, count=5), "s3://pairs/run", OPTIONS)
    assert write_shards(generator, REQUEST, "s3://pairs/run", OPTIONS).continued == 15
    merge_shards(["s3://pairs/run"], tmp_path / "merged")
    assert snapshot(tmp_path / "merged") == alone


def test_s3_without_credentials(monkeypatch: pytest.MonkeyPatch, s3: str, tmp_path: Path) -> None:
    import s3fs

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(UserError, match="does not let us in"):
        Store("s3://pairs/run").names("shards")


def test_a_list_that_lags(
    generator: Generator, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a list does not show yet is made again, with the same bytes under the same name."""
    write_shards(generator, REQUEST, url, OPTIONS)
    before = objects(tmp_path / "store")
    with monkeypatch.context() as patch:
        patch.setattr(Store, "names", lambda self, folder: {})
        assert write_shards(generator, REQUEST, url, OPTIONS).shards == 9
    assert objects(tmp_path / "store") == before
    assert merge_shards([url], tmp_path / "merged").twice == 0


class Server:
    """An SFTP server on this machine that serves a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._loop = folder, asyncio.new_event_loop()
        self.port, self.key = 0, ""
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Server:
        self._thread.start()
        assert self._ready.wait(30)
        return self

    def __exit__(self, *error: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        import asyncssh

        async def serve() -> None:
            key = asyncssh.generate_private_key("ssh-ed25519")
            self.key = key.export_public_key().decode().strip()

            class Open(asyncssh.SSHServer):
                def begin_auth(self, username: str) -> bool:
                    return username == "guest"  # who needs a password, and is given none here

                def password_auth_supported(self) -> bool:
                    return True

            server = await asyncssh.listen(
                "127.0.0.1",
                0,
                server_factory=Open,
                server_host_keys=[key],
                sftp_factory=lambda channel: asyncssh.SFTPServer(channel, chroot=str(self._folder)),
            )
            self.port = server.get_port()
            self._ready.set()

        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(serve())
        self._loop.run_forever()


def test_shards_over_sftp(
    generator: Generator, tmp_path: Path, alone: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("sshfs", reason="sshfs is not installed: pip install '.[remote]'")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(stores, "PAUSES", (0.01,))
    (tmp_path / "served").mkdir()
    with Server(tmp_path / "served") as server:
        url = f"sftp://root@127.0.0.1:{server.port}/run"
        (tmp_path / ".ssh").mkdir()
        known = tmp_path / ".ssh/known_hosts"
        known.write_text("")
        with pytest.raises(UserError, match="does not let us in"):
            Store(url)
        known.write_text(f"[127.0.0.1]:{server.port} {server.key}\n")
        with pytest.raises(UserError, match="does not let us in"):
            Store(url.replace("root", "guest"))
        write_shards(generator, dataclasses.replace(REQUEST, count=5), url, OPTIONS)
        assert write_shards(generator, REQUEST, url, OPTIONS).continued == 15
        merge_shards([url], tmp_path / "merged")
    assert snapshot(tmp_path / "merged") == alone
    assert not [name for name in (tmp_path / "served").rglob(f"*{stores.TEMPORARY_SUFFIX}")]

"""Pairs of a Ray cluster are those of one process, whoever dies, joins or dawdles."""

from __future__ import annotations

import dataclasses
import logging
import platform
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seas_runtime.bundle.reading import Bundle
from seas_runtime.dataset.writing import DatasetRequest, write_dataset
from seas_runtime.errors import CheckFailed, UserError
from seas_runtime.generation.generator import Generator
from seas_runtime.methods.request import Placing
from seas_runtime.spreading.contract import Job, Opened
from seas_runtime.spreading.on_ray import crew as crews
from seas_runtime.spreading.on_ray import sending
from seas_runtime.spreading.on_ray import work as works
from seas_runtime.spreading.on_ray.connection import connect
from seas_runtime.spreading.on_ray.crew import RayCrew
from seas_runtime.spreading.on_ray.sending import pack_bundle, unpack
from seas_runtime.spreading.opening import open_source
from seas_runtime.spreading.pool import Pool
from seas_runtime.spreading.worker import versions
from tests.runtime.datasets import snapshot
from tests.runtime.fake_ray import Actor, FakeRay, after, dawdle
from tests.runtime.placing.photographs import write_photographs, write_placing_bundle

REQUEST = DatasetRequest(("all",), 20, seed=3, batch=2)


@pytest.fixture(scope="module")
def alone(generator: Generator, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of 20 pairs each of two defects and normals, made by this process."""
    out = tmp_path_factory.mktemp("alone") / "out"
    write_dataset(generator, REQUEST, out)
    return snapshot(out)


def job_of(bundle: Path, **changes: Any) -> Job:
    return Job(
        **{**dataclasses.asdict(Job(str(bundle), Bundle.read(bundle).fingerprint, "cpu", 1)), **changes}
    )


@pytest.fixture
def pool_on(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Pool]:
    """A function of a stand-in for Ray that gives a pool on it."""
    monkeypatch.setattr(crews, "_TICK", 0.02)
    monkeypatch.setattr(crews, "JOIN_EVERY", 0.05)

    def pool(ray: FakeRay, **changes: Any) -> Pool:
        monkeypatch.setattr(crews, "connect", lambda address, **options: ray)
        return Pool(Bundle.read(tiny_bundle), RayCrew("local"), job_of(tiny_bundle, **changes))

    return pool


@pytest.mark.parametrize("cores", [(1,), (2,), (1, 2, 1)], ids=str)
def test_any_number_of_workers(
    pool_on: Callable[..., Pool], tmp_path: Path, alone: dict[str, bytes], cores: tuple[int, ...]
) -> None:
    ray = FakeRay(*cores)
    with pool_on(ray) as pool:
        assert len(pool.start()) == sum(cores)
        write_dataset(pool, REQUEST, tmp_path / "out")
    assert snapshot(tmp_path / "out") == alone
    assert ray.is_shut_down


def test_workers_that_die_are_replaced(
    pool_on: Callable[..., Pool], tmp_path: Path, alone: dict[str, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    calls = [0]

    def kill_some(actor: Actor, name: str) -> None:
        calls[0] += name == "make"
        if name == "make" and calls[0] in (2, 5, 6, 11, 14):
            actor.die()

    ray = FakeRay(1, 1, before=kill_some)
    with pool_on(ray) as pool:
        write_dataset(pool, REQUEST, tmp_path / "out")
    assert snapshot(tmp_path / "out") == alone
    assert len(ray.actors) >= 5
    assert "its pairs are made again" in caplog.text


def test_what_kills_every_worker_is_given_up(
    pool_on: Callable[..., Pool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(works, "MOST_TRIES", 3)
    ray = FakeRay(1, before=lambda actor, name: actor.die() if name == "make" else None)
    with pool_on(ray) as pool, pytest.raises(CheckFailed, match="3 workers died over the same pairs"):
        write_dataset(pool, REQUEST, tmp_path / "out")


def test_a_cluster_without_workers_is_given_up(
    pool_on: Callable[..., Pool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crews, "ALONE_SECONDS", 0.3)
    ray = FakeRay(1)

    def leave(actor: Actor) -> None:
        ray.cores.clear()
        actor.die()

    ray.before = after(2, leave)
    with pool_on(ray) as pool, pytest.raises(CheckFailed, match="no worker is left"):
        write_dataset(pool, REQUEST, tmp_path / "out")


def test_a_machine_joins(pool_on: Callable[..., Pool], tmp_path: Path, alone: dict[str, bytes]) -> None:
    ray = FakeRay(1)
    ray.before = after(3, lambda actor: ray.cores.append(2))
    with pool_on(ray) as pool:
        write_dataset(pool, REQUEST, tmp_path / "out")
    assert snapshot(tmp_path / "out") == alone
    assert len(ray.actors) == 3


def test_what_dawdles_is_made_by_another(
    pool_on: Callable[..., Pool], tmp_path: Path, alone: dict[str, bytes]
) -> None:
    ray = FakeRay(2, before=after(7, dawdle(90)))
    begun = time.monotonic()
    with pool_on(ray) as pool:
        write_dataset(pool, REQUEST, tmp_path / "out")
    assert time.monotonic() - begun < 60
    assert snapshot(tmp_path / "out") == alone


def test_a_late_answer_is_dropped(
    pool_on: Callable[..., Pool], tmp_path: Path, alone: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are done in the end: the second is no second pair."""
    monkeypatch.setattr(works, "DAWDLING", 0.0)
    ray = FakeRay(2, before=after(4, dawdle(0.5)))
    with pool_on(ray) as pool:
        write_dataset(pool, REQUEST, tmp_path / "out")
        write_dataset(pool, dataclasses.replace(REQUEST, count=21), tmp_path / "out")
    made = snapshot(tmp_path / "out")
    assert {name: made[name] for name in alone if name.endswith("_mask.png")} == {
        name: data for name, data in alone.items() if name.endswith("_mask.png")
    }


def test_a_bundle_is_sent_where_it_is_not(
    pool_on: Callable[..., Pool], tmp_path: Path, alone: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    from seas_runtime.spreading.on_ray import actor as actors

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(actors, "_missing", _first_time_missing())
    ray = FakeRay(2)
    monkeypatch.setitem(sys.modules, "ray", ray)
    with pool_on(ray) as pool:
        write_dataset(pool, REQUEST, tmp_path / "out")
    assert ray.puts == 1
    assert snapshot(tmp_path / "out") == alone
    assert len(list(tmp_path.glob("seas-export-*/*/manifest.json"))) == 1


def _first_time_missing() -> Callable[[Job], tuple[str, ...]]:
    return lambda job: () if "seas-export-" in job.bundle else ("bundle",)


def test_what_was_sent_is_checked(tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    packed = dict(pack_bundle(tiny_bundle))
    folder = unpack(packed, Bundle.read(tiny_bundle).fingerprint)
    assert Bundle.read(folder).fingerprint == Bundle.read(tiny_bundle).fingerprint
    assert unpack({}, Bundle.read(tiny_bundle).fingerprint) == folder  # it is there
    name = "tables/embeddings.safetensors"
    packed[name] = packed[name][::-1].copy()
    with pytest.raises(UserError, match="embeddings"):
        Bundle.read(unpack(packed, "0" * 64))
    folder.parent.chmod(0o755)
    with pytest.raises(UserError, match="a folder of this user alone"):
        sending.unpack(packed, "1" * 64)


def test_placed_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = write_placing_bundle(tmp_path / "bundle")
    write_photographs(tmp_path / "photographs")
    request = DatasetRequest(("all",), 4, 3, 2, placing=Placing())
    generator = Generator.open(bundle, threads=1)
    generator.draw_onto(tmp_path / "photographs")
    write_dataset(generator, request, tmp_path / "one")
    monkeypatch.setattr(crews, "connect", lambda address, **options: FakeRay(2))
    with open_source(bundle, threads=1, ray="local") as (source, _):
        source.draw_onto(tmp_path / "photographs")
        write_dataset(source, request, tmp_path / "other")
    assert snapshot(tmp_path / "one") == snapshot(tmp_path / "other")


def _answering(*answers: Any) -> FakeRay:
    """Return a cluster whose workers answer these when they open."""
    return FakeRay(len(answers), before=lambda actor, name: answers[actor.number] if name == "open" else None)


def test_a_machine_that_cannot_ends_the_run_before_any_work(
    pool_on: Callable[..., Pool], tmp_path: Path
) -> None:
    one = Opened({"backend": "cpu"}, "some processor", "a", 1, versions(), None)
    old = dataclasses.replace(one, host="b", versions={**versions(), "seas-export": "0.0.1"})
    for answers, words in (
        ((one, old), r"expected seas-export .* as on [ab], found .*; install the same"),
        (
            (one, dataclasses.replace(one, kind="another", host="b")),
            r"expected kind .* as on [ab], found .*--mixed-devices",
        ),
        ((one, UserError("node b: backend openvino is not installed")), "node b: backend openvino"),
    ):
        with pool_on(_answering(*answers)) as pool, pytest.raises(UserError, match=words):
            write_dataset(pool, REQUEST, tmp_path / "out")
        assert not (tmp_path / "out/dataset.json").exists()
    other = pool_on(FakeRay(2), fingerprint="0" * 64)
    with other, pytest.raises(UserError, match=r"node .*: expected the bundle 000000000000, found"):
        write_dataset(other, REQUEST, tmp_path / "out")
    with pool_on(FakeRay()) as pool, pytest.raises(UserError, match="expected a cluster with a machine"):
        write_dataset(pool, REQUEST, tmp_path / "out")


def test_a_machine_that_a_store_does_not_let_in(
    pool_on: Callable[..., Pool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before any work, and by the machine's name: the one that the command is given on was let in."""
    pytest.importorskip("fsspec", reason="fsspec is not installed: pip install '.[remote]'")
    from seas_runtime.dataset.shards.store import Store
    from seas_runtime.dataset.shards.writing import ShardOptions, write_shards

    class NoCredentialsError(Exception):
        pass

    original, here = Store.exists, threading.get_ident()

    def exists(self: Store, name: str) -> bool:
        if threading.get_ident() != here:
            raise self._failure("look at", NoCredentialsError("Unable to locate credentials"))
        return original(self, name)

    monkeypatch.setattr(Store, "exists", exists)
    monkeypatch.setattr(platform, "node", lambda: "rack7")
    with (
        pool_on(FakeRay(1)) as pool,
        pytest.raises(UserError, match=r"node rack7: file://.*does not let us in .*credentials"),
    ):
        write_shards(pool, REQUEST, f"file://{tmp_path}/store", ShardOptions())
    assert not (tmp_path / "store").exists()


def test_a_machine_that_joins_and_cannot_is_left_out(
    pool_on: Callable[..., Pool], tmp_path: Path, alone: dict[str, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    other = Opened({"backend": "cpu"}, "another", "b", 1, versions(), None)
    ray = FakeRay(1)
    join = after(3, lambda actor: ray.cores.append(1))
    ray.before = lambda actor, name: other if (actor.number, name) == (1, "open") else join(actor, name)
    with caplog.at_level(logging.WARNING), pool_on(ray) as pool:
        write_dataset(pool, REQUEST, tmp_path / "out")
    assert snapshot(tmp_path / "out") == alone
    assert "a machine that joined makes no pairs: b: expected" in caplog.text
    assert len(ray.actors) == 2


def test_mixed_machines_say_which(pool_on: Callable[..., Pool], tmp_path: Path) -> None:
    from tests.runtime.datasets import read_records

    with pool_on(FakeRay(1), mixed=True) as pool:
        kind = pool.start()[0].kind
        write_dataset(pool, dataclasses.replace(REQUEST, count=2), tmp_path / "out")
    assert {record["device"] for record in read_records(tmp_path / "out")} == {kind}


def test_addresses_that_lead_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        dead = f"127.0.0.1:{taken.getsockname()[1]}"  # bound, and nobody listens
        monkeypatch.setitem(sys.modules, "ray", FakeRay(1))
        with pytest.raises(UserError, match="nobody answers there"):
            connect(dead)
        with pytest.raises(UserError, match="nobody answers there"):
            connect(f"ray://{dead}")
    with pytest.raises(UserError, match="expected local, auto, or a cluster's address"):
        connect("somewhere")
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"Ray is not installed: .*ray"):
        connect("local")


def test_another_version_of_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    class Old(FakeRay):
        def is_initialized(self) -> bool:
            return False

        def init(self, **options: Any) -> None:
            raise RuntimeError("Version mismatch: The cluster was started with:\n    Ray: 2.9.0")

    monkeypatch.setitem(sys.modules, "ray", Old(1))
    with pytest.raises(UserError, match="another version of Ray or Python"):
        connect("local")


def test_options_that_do_not_go_together(tiny_bundle: Path) -> None:
    for options, words in (
        ({"ray": "local", "devices": "all"}, "leave one out"),
        ({"ray": "local", "backend": "auto"}, "name one"),
        ({"mixed": True}, "is of --ray"),
    ):
        with pytest.raises(UserError, match=words), open_source(tiny_bundle, **options):  # type: ignore[arg-type]
            pass

"""`build --all --ray`: products side by side on a cluster's machines, and what is refused before any work."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from seas_export.pipeline import everything
from seas_export.pipeline.on_ray import cluster as clusters
from seas_export.pipeline.on_ray.builder import Builder, Seen
from seas_runtime.errors import UserError
from tests.export.commands import Run
from tests.export.test_build_everything import CHILD, add, states
from tests.runtime.fake_ray import Actor, FakeRay


@pytest.fixture
def products(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to put products into, whose builds are processes that end as the products' names say."""
    monkeypatch.setattr(everything, "_command", lambda: [sys.executable, "-c", CHILD])
    monkeypatch.chdir(tmp_path)
    return tmp_path / "photos"


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeRay]:
    """A function that lets `--ray` lead to a stand-in for Ray."""
    strategies = ModuleType("ray.util.scheduling_strategies")
    affinity = lambda node, soft: SimpleNamespace(node=node, soft=soft)  # noqa: E731
    strategies.NodeAffinitySchedulingStrategy = affinity  # type: ignore[attr-defined]
    for name in ("ray", "ray.util"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, strategies.__name__, strategies)

    def begin(*cores: int, **options: Any) -> FakeRay:
        ray = FakeRay(*cores, **options)
        monkeypatch.setattr(clusters, "connect", lambda address: ray)
        return ray

    return begin


def built_with(ray: FakeRay) -> list[dict[str, Any]]:
    """What the actors that built were to have; those before looked, each on its machine."""
    return [options for options in ray.asked if options["scheduling_strategy"] == "SPREAD"]


def test_products_are_built_by_cores(run: Run, products: Path, on: Callable[..., FakeRay]) -> None:
    add(products, "a", "broken", "killed", "unlearnt")
    ray = on(4, 4)
    ended = run("build", "--all", "--data", "photos", "--ray", "head:6379", "--seed", 5, "--json")
    assert states(ended) == {"a": "built", "broken": "failed", "killed": "failed", "unlearnt": "built"}
    assert ended.code == 1
    words = {entry["product"]: entry["words"] for entry in ended.json["products"]}
    assert words["broken"] == "failed: training diverged"
    assert "ended with code -9" in words["killed"]
    data, config = json.loads(Path("out/a/seen.json").read_text())
    assert (data, config) == (str(products), {"seed": 5, "threads": 2})
    assert "failed: training diverged" in Path("out/broken.log").read_text()
    looked = [options["scheduling_strategy"] for options in ray.asked[:2]]
    assert [(one.node, one.soft) for one in looked] == [("0", False), ("1", False)]
    assert [(one["num_cpus"], one["num_gpus"]) for one in built_with(ray)] == [(2.0, 0.0)] * 4
    assert ray.is_shut_down
    assert all(actor.dead for actor in ray.actors)
    assert not list(Path("out").glob(".ray*"))
    again = run("build", "--all", "--data", "photos", "--ray", "head:6379", "--json")
    assert states(again)["a"] == "current"


def test_each_has_a_gpu(run: Run, products: Path, on: Callable[..., FakeRay]) -> None:
    add(products, "a", "b")
    ray = on(8)
    ray.more = {"GPU": 2.0}
    assert run("build", "--all", "--data", products, "--ray", "auto").code == 0
    assert [(one["num_cpus"], one["num_gpus"]) for one in built_with(ray)] == [(0.0, 1.0)] * 2
    assert json.loads(Path("out/a/seen.json").read_text())[1] == {}


def test_a_machine_that_is_lost(
    run: Run, products: Path, on: Callable[..., FakeRay], caplog: pytest.LogCaptureFixture
) -> None:
    """Another continues; what ends every machine is given up."""
    add(products, "a")
    calls = [0]

    def lose(actor: Actor, name: str) -> None:
        calls[0] += name == "build"
        if name == "build" and calls[0] <= lost:
            actor.die()

    lost = 2
    on(1, before=lose)
    assert run("build", "--all", "--data", products, "--ray", "auto").code == 0
    assert "another continues" in caplog.text
    calls[0], lost = 0, 99
    on(1, before=lose)
    ended = run("build", "--all", "--data", products, "--ray", "auto", "--json")
    assert ended.code == 1
    assert "4 machines were lost" in ended.json["products"][0]["words"]


def test_an_interrupt_ends_the_builds(products: Path, on: Callable[..., FakeRay]) -> None:
    add(products, "a", "b")

    def interrupt(text: str) -> None:
        if "built" in text:
            raise KeyboardInterrupt

    ray = on(2)
    with pytest.raises(KeyboardInterrupt):
        everything.build_everything(products, Path("out"), {}, ray="auto", say=interrupt)
    assert ray.is_shut_down
    assert all(actor.dead for actor in ray.actors)


def test_machines_are_asked_before_any_work(
    run: Run, products: Path, on: Callable[..., FakeRay], monkeypatch: pytest.MonkeyPatch
) -> None:
    add(products, "a")
    here = Builder().look(())
    away = products.parent / "away"

    def other(change: Callable[[tuple[str, ...]], Seen]) -> None:
        monkeypatch.setattr(Builder, "look", lambda self, paths: change(paths))
        on(1, 1)

    def said(*words: object) -> str:
        ended = run("build", "--all", "--data", products, "--ray", "auto", "--out", away, *words)
        assert ended.code == 2
        assert not away.exists()
        return " ".join(ended.err.split())

    other(lambda paths: dataclasses.replace(here, host="b", version="0.0.1"))
    assert "node b: expected seas-export" in said()
    other(lambda paths: dataclasses.replace(here, host="b", missing=paths[:1]))
    assert f"node b: --data {products}: expected the products' folder" in said()
    other(lambda paths: dataclasses.replace(here, host="b", missing=paths[2:]))
    assert f"node b: --out {away}: expected the folder that this machine writes into" in said()
    other(lambda paths: dataclasses.replace(here, host="b", missing=paths[1:2]))
    assert "node b: expected the folder of this command" in said()
    other(lambda paths: here)
    assert "expected a machine with --threads 3 cores, found 1" in said("--threads", 3)
    assert "--jobs, --ray" in said("--jobs", 2)
    on()
    assert "a machine that has cores or GPUs, found none" in said()


def test_what_a_machine_sees(tmp_path: Path) -> None:
    seen = Builder().look((str(tmp_path), str(tmp_path / "none")))
    assert seen.missing == (str(tmp_path / "none"),)


def test_no_cluster_to_build_on(run: Run, products: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    add(products, "a")
    ended = run("build", "--product", "a", "--ray", "auto")
    assert ended.code == 2
    assert "only used with --all" in ended.err
    monkeypatch.setitem(sys.modules, "ray", None)
    ended = run("build", "--all", "--data", products, "--ray", "auto")
    assert ended.code == 2
    assert "Ray is not installed" in ended.err
    monkeypatch.setitem(sys.modules, "ray", FakeRay(1))
    with pytest.raises(UserError, match="nobody answers there"):
        clusters.Cluster("127.0.0.1:1")
    assert not Path("out").exists()

"""The cluster as `build --all` sees it: checked before any work, then a place for each product."""

from __future__ import annotations

import contextlib
import logging
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seas_export.pipeline.on_ray.builder import Builder, Seen
from seas_export.version import version
from seas_runtime.errors import CheckFailed, UserError
from seas_runtime.spreading.on_ray.connection import connect

logger = logging.getLogger(__name__)
MOST_TRIES = 4
"""Machines that may be lost under the same product before it is given up."""
LOOK_SECONDS = 300.0
PATIENCE_SECONDS = 120.0
"""For a build whose actor was lost to let go of its folder."""
_TICK = 0.5


class Cluster:
    """A Ray cluster that builds products: one for each GPU, or by cores where no machine has one.

    A context manager; its end ends the builds that still run.
    """

    def __init__(self, address: str) -> None:
        """Connect; UserError where Ray is not installed, or nobody answers."""
        self._ray = connect(address)
        self._actors: list[Any] = []
        self._stopped = False

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()
        self._ray.shutdown()

    @property
    def _nodes(self) -> list[dict[str, Any]]:
        """The machines that products can be built on."""
        up = [node for node in self._ray.nodes() if node["Alive"]]
        on_gpus = [node for node in up if node["Resources"].get("GPU", 0) >= 1]
        return on_gpus or [node for node in up if node["Resources"].get("CPU", 0) >= 1]

    def needs(self, products: int, threads: int | None) -> dict[str, float]:
        """Return what a product takes of a machine, in Ray's words.

        A GPU; on processors `threads` cores, or as many as all products have room for at a time. Raises
        UserError where no machine has that.
        """
        nodes = [node["Resources"] for node in self._nodes]
        if not nodes:
            raise UserError("--ray: expected a cluster with a machine that has cores or GPUs, found none")
        if any(resources.get("GPU", 0) >= 1 for resources in nodes):
            return {"num_gpus": 1.0, "num_cpus": 0.0}
        cores = [int(resources["CPU"]) for resources in nodes]
        if threads is not None and threads > max(cores):
            raise UserError(
                f"--ray: expected a machine with --threads {threads} cores, found {max(cores)} at most; give "
                "fewer"
            )
        whole = range(max(cores), 1, -1)
        each = threads or next((n for n in whole if sum(count // n for count in cores) >= products), 1)
        return {"num_cpus": float(each), "num_gpus": 0.0}

    def check(self, data: Path, out: Path) -> None:
        """Let every machine look for the data and for `out`, which all of them write into.

        Raises UserError for the first that has another version of seas-export, or one of the folders not.
        """
        made = not out.exists()
        out.mkdir(parents=True, exist_ok=True)
        mark = out / f".ray-{secrets.token_hex(4)}"
        mark.touch()
        try:
            looks = []
            for node in self._nodes:
                actor = self._actor({"num_cpus": 0.0, "num_gpus": 0.0}, node["NodeID"])
                looks.append(actor.look.remote((str(data), str(Path.cwd()), str(mark))))
            done, _ = self._ray.wait(looks, num_returns=len(looks), timeout=LOOK_SECONDS)
            if len(done) < len(looks):
                raise CheckFailed("--ray: a machine of the cluster does not answer; see ray status")
            for look in looks:
                self._check_seen(self._seen(look), data, out, str(mark))
        except BaseException:
            mark.unlink(missing_ok=True)
            if made:
                with contextlib.suppress(OSError):
                    out.rmdir()
            raise
        finally:
            mark.unlink(missing_ok=True)
            self._kill(list(self._actors))

    def build(self, words: Sequence[str], config: str, needs: dict[str, float]) -> tuple[int, list[str]]:
        """Build a product where there is room; return its exit code and what it said.

        Where the machine is lost, another continues what was finished.
        """
        for number in range(MOST_TRIES):
            actor = self._actor(needs)
            again = list(words) if number == 0 else [word for word in words if word != "--force"]
            patience = PATIENCE_SECONDS if number else 0.0
            answer = actor.build.remote(again, config, str(Path.cwd()), patience)
            try:
                while not self._ray.wait([answer], num_returns=1, timeout=_TICK)[0]:
                    pass
                code, lines = self._ray.get(answer)
                return int(code), list(lines)
            except self._ray.exceptions.RayError as error:
                if self._stopped:
                    return -15, ["stopped"]
                logger.warning("a machine that built a product is gone (%s); another continues", error)
            finally:
                self._kill([actor])
        return 1, [f"failed: {MOST_TRIES} machines were lost while they built it; is there enough memory?"]

    def stop(self) -> None:
        """End the builds."""
        self._stopped = True
        self._kill(list(self._actors))

    def _actor(self, needs: dict[str, float], node: str | None = None) -> Any:
        strategy: Any = "SPREAD"
        if node is not None:
            from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

            strategy = NodeAffinitySchedulingStrategy(node, soft=False)
        kind = self._ray.remote(Builder).options(max_restarts=0, scheduling_strategy=strategy, **needs)
        actor = kind.remote()
        self._actors.append(actor)
        return actor

    def _kill(self, actors: Sequence[Any]) -> None:
        for actor in actors:
            if actor in self._actors:
                self._actors.remove(actor)
                self._ray.kill(actor)

    def _seen(self, look: Any) -> Seen:
        try:
            seen: Seen = self._ray.get(look)
        except self._ray.exceptions.RayError as error:
            said = " ".join(str(error).split())[-300:]
            if "No module named" in said:
                raise UserError(
                    "--ray: a machine of the cluster has no seas-export; install the same version, with "
                    f"training, on every one ({said})"
                ) from None
            raise CheckFailed(f"--ray: a machine of the cluster was lost before any work: {said}") from None
        return seen

    @staticmethod
    def _check_seen(seen: Seen, data: Path, out: Path, mark: str) -> None:
        if seen.version != version():
            raise UserError(
                f"node {seen.host}: expected seas-export {version()} as here, found {seen.version}; install "
                "the same on every machine"
            )
        if str(data) in seen.missing:
            raise UserError(
                f"node {seen.host}: --data {data}: expected the products' folder, found nothing there; give "
                "a path that every machine shares"
            )
        if mark in seen.missing:
            raise UserError(
                f"node {seen.host}: --out {out}: expected the folder that this machine writes into, found "
                "another or none; give a path that every machine shares"
            )
        if seen.missing:
            raise UserError(
                f"node {seen.host}: expected the folder of this command, {seen.missing[0]}, found none; run "
                "it in one that every machine shares"
            )

"""A real Ray cluster of several nodes on this machine, as small and as patient as Ray lets us make it."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

STORE_BYTES = 100 << 20
PATIENCE = {
    # Ray reads these when it is imported, and its processes when they start. A busy machine is no dead one.
    "RAY_DASHBOARD_STARTUP_TIMEOUT_S": "900",
    "RAY_gcs_server_port_wait_time_s": "300",
    "RAY_agent_register_timeout_ms": "900000",
    "RAY_worker_register_timeout_seconds": "900",
    "RAY_health_check_timeout_ms": "120000",
    "RAY_health_check_initial_delay_ms": "60000",
    # What we do not use costs processor time at the start.
    "RAY_enable_worker_prestart": "0",
    "RAY_prestart_worker_first_driver": "0",
    "RAY_enable_metrics_collection": "0",
    "RAY_event_stats": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed: pip install '.[ray]'"
)


START_SECONDS = 1500.0


class Nodes:
    """A cluster of a head, which commands are given on, and other nodes."""

    def __init__(self, cores: int) -> None:
        from ray.cluster_utils import Cluster

        self._others: list[Any] = []
        self._cluster = Cluster(initialize_head=True, head_node_args=_small(cores))

    @property
    def address(self) -> str:
        """As `--ray` takes it."""
        return str(self._cluster.address)

    def add(self, cores: int) -> None:
        """Let a node join."""
        self._others.append(self._cluster.add_node(**_small(cores)))

    def kill_last(self) -> list[int]:
        """End the processes of the node that joined last with -9, as a loss of power does; return them."""
        node = self._others.pop()
        found = [one.process for processes in node.all_processes.values() for one in processes]
        killed = [one.pid for process in found for one in _with_children(process.pid)]
        for pid in killed:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return killed

    def workers(self) -> list[int]:
        """Return the processes of actors, on all nodes."""
        import psutil

        nodes = [*self._others, self._cluster.head_node]
        started = [one.process.pid for node in nodes for one in node.all_processes.get("raylet", ())]
        return [
            child.pid
            for pid in started
            for child in psutil.Process(pid).children()
            if any(word.startswith("ray::RemoteWorker") for word in child.cmdline())
        ]

    def close(self) -> None:
        """End all nodes."""
        self._cluster.shutdown()


@contextlib.contextmanager
def cluster(*cores: int) -> Iterator[Nodes]:
    """Yield a cluster with a node for each of `cores`; the first is its head."""
    os.environ.update(PATIENCE)
    with _patient_start():
        nodes = Nodes(cores[0])
        try:
            for each in cores[1:]:
                nodes.add(each)
            yield nodes
        finally:
            nodes.close()


@contextlib.contextmanager
def _patient_start() -> Iterator[None]:
    """Start no dashboard, and let a raylet take longer than the 30 seconds that are fixed in Ray's code."""
    from ray._private import services
    from ray._private.node import Node

    get_node = services.get_node

    def patient(address: str, node: str) -> Any:
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                return get_node(address, node)
            except RuntimeError:
                if time.monotonic() > end:
                    raise
                time.sleep(1.0)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(services, "get_node", patient)
        patched.setattr(Node, "start_api_server", lambda self, **options: None)
        yield


def _small(cores: int) -> dict[str, Any]:
    """Return a node's options. A raylet whose agents have ports does not wait 15 seconds for their files."""
    names = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port")
    return {
        "num_cpus": cores,
        "object_store_memory": STORE_BYTES,
        "include_dashboard": False,
        "include_log_monitor": False,
        "no_monitor": True,
        **dict(zip((*names, "runtime_env_agent_port"), _free_ports(4), strict=True)),
    }


def _with_children(pid: int) -> list[Any]:
    """Return a process and all that it started: a node's workers are its raylet's."""
    import psutil

    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("", 0))
        return [one.getsockname()[1] for one in sockets]

"""To a Ray cluster, or one started here; what goes wrong on the way is said before any work."""

from __future__ import annotations

import logging
import re
import socket
from typing import Any

from seas_runtime.errors import UserError
from seas_runtime.installing import install

LOCAL, AUTO = "local", "auto"
_ADDRESS = re.compile(r"(ray://)?(\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})")
_CONNECT_SECONDS = 10.0


def connect(address: str, **options: Any) -> Any:
    """Return Ray, connected to the cluster at an address: `host:6379`, `ray://host:10001`, `auto` or `local`.

    `local` starts one in this machine's processes; `options` are then `ray.init`'s. Raises UserError where
    Ray is not installed, nobody answers, or another version of Ray or Python does.
    """
    try:
        import ray
    except ImportError:
        raise UserError(f"--ray {address}: Ray is not installed: {install('ray')}") from None
    if address not in (LOCAL, AUTO):
        _check_answers(address)
    if ray.is_initialized():
        return ray
    quiet = {"log_to_driver": False, "logging_level": logging.WARNING, "configure_logging": False}
    try:
        if address == LOCAL:
            ray.init(address=LOCAL, **{**quiet, **options})
        else:
            ray.init(address=address, **quiet)
    except Exception as error:  # Ray has no class of its own for these
        raise UserError(_in_words(address, error)) from error
    return ray


def _check_answers(address: str) -> None:
    match = _ADDRESS.fullmatch(address.strip())
    if match is None or not 0 < int(match[3]) < 65536:
        raise UserError(
            f"--ray {address}: expected local, auto, or a cluster's address, such as head:6379 or "
            "ray://head:10001"
        )
    try:
        socket.create_connection((match[2].strip("[]"), int(match[3])), _CONNECT_SECONDS).close()
    except OSError as error:
        raise UserError(
            f"--ray {address}: nobody answers there ({error.strerror or error}); start the cluster's head "
            "with `ray start --head`, and give the address that it prints"
        ) from None


def _in_words(address: str, error: Exception) -> str:
    said = " ".join(str(error).split())
    if "ersion mismatch" in said:
        return (
            f"--ray {address}: the cluster has another version of Ray or Python ({said[:300]}); install the "
            "same on every machine"
        )
    if address == AUTO and isinstance(error, ConnectionError):
        return f"--ray {address}: no cluster runs here; start one with `ray start`, or give --ray local"
    return f"--ray {address}: cannot join the cluster: {said[:300] or type(error).__name__}"

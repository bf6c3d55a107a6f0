"""Tells another program that a job is over: a message that is signed with a shared secret."""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import threading
import time
import urllib.error
import urllib.request
from typing import Any

logger = logging.getLogger(__name__)

_TRIES = (0.0, 5.0, 30.0)  # seconds before each
_PATIENCE = 10.0


def sign(secret: str, moment: int, body: bytes) -> str:
    """Return the header `X-Seas-Signature`: HMAC-SHA256 over the moment, a dot and the body."""
    digest = hmac.new(secret.encode(), f"{moment}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={moment},v1={digest}"


def send_later(url: str, secret: str, message: dict[str, Any]) -> threading.Thread:
    """Send a message from a thread of its own, three times at most; what fails is said in the log."""
    thread = threading.Thread(target=_send, args=(url, secret, message), name="webhook", daemon=True)
    thread.start()
    return thread


def _send(url: str, secret: str, message: dict[str, Any]) -> None:
    body = json.dumps(message).encode()
    error: Exception | None = None
    opener = urllib.request.build_opener(_NoRedirects)
    for pause in _TRIES:
        time.sleep(pause)
        headers = {
            "Content-Type": "application/json",
            "X-Seas-Signature": sign(secret, int(time.time()), body),
        }
        try:
            with opener.open(urllib.request.Request(url, body, headers), timeout=_PATIENCE):
                return
        except (OSError, ValueError) as found:
            error = found
    logger.error("the webhook cannot be reached: %s", type(error).__name__)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """What is told to one address goes to no other."""

    def redirect_request(self, *words: Any) -> None:
        return None

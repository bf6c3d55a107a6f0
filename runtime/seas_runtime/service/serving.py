"""Runs the service: opens its state, says where it is, and answers until it is told to end."""

from __future__ import annotations

import ctypes
import logging
import ssl
import sys

import uvicorn

from seas_runtime.errors import UserError
from seas_runtime.service.app import make_app
from seas_runtime.service.box import Box
from seas_runtime.service.settings import ServiceSettings

logger = logging.getLogger(__name__)

_M_ARENA_MAX = -8  # malloc.h
_ARENAS = 2
_KEEP_ALIVE = 30
_GRACE = 2
"""Seconds that answers in the making have when the service ends; workers have theirs after that."""


def serve(settings: ServiceSettings) -> None:
    """Serve until SIGTERM or Ctrl-C; UserError for a state, a certificate or a port that cannot be used."""
    if settings.tls_certificate is not None and settings.tls_key is not None:
        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(settings.tls_certificate, settings.tls_key)
        except (OSError, ssl.SSLError) as error:
            raise UserError(
                f"tls_certificate {settings.tls_certificate}: expected PEM files of a certificate and its "
                f"key, found: {error}"
            ) from error
    _share_memory()
    box = Box(settings)
    with box.running():
        config = uvicorn.Config(
            make_app(box),
            host=settings.host,
            port=settings.port,
            ssl_certfile=settings.tls_certificate,
            ssl_keyfile=settings.tls_key,
            proxy_headers=False,
            server_header=False,
            access_log=False,  # paths may name photographs; the audit log says who did what
            log_level="warning",
            timeout_keep_alive=_KEEP_ALIVE,
            timeout_graceful_shutdown=_GRACE,
            limit_concurrency=2000,
            h11_max_incomplete_event_size=64 << 10,
        )
        server = _Server(config, box)
        try:
            server.run()
        except SystemExit:
            raise UserError(
                f"--port {settings.port}: cannot listen on {settings.host}: another program does, or it is "
                "not this machine's. Choose another --port or --host"
            ) from None


def _share_memory() -> bool:
    """Let all threads take memory from the same few pools, for the rest of the process; whether they do.

    glibc gives every thread a pool of its own, up to eight a core, and each keeps what its largest answer
    took: a service of many threads grows for hours. Another C library, or another system, is left as it is.
    """
    if not sys.platform.startswith("linux"):
        return False
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    return set_option is not None and bool(set_option(_M_ARENA_MAX, _ARENAS))


class _Server(uvicorn.Server):
    """Says where it is once it listens, and lets streams end when it does."""

    def __init__(self, config: uvicorn.Config, box: Box) -> None:
        super().__init__(config)
        self._box = box

    async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        """Listen, then say so."""
        await super().startup(sockets)  # type: ignore[arg-type]
        if not self.should_exit:
            _say(self._box)

    def handle_exit(self, sig: int, frame: object) -> None:
        """End: streams first."""
        self._box.stopping.set()
        super().handle_exit(sig, frame)  # type: ignore[arg-type]


def _say(box: Box) -> None:
    settings = box.settings
    logger.info("%s: %d bundles, state in %s", settings.address, len(box.bundles.all()), settings.state)
    if settings.readable_by_others:
        logger.warning(
            "tokens and pictures cross the network unencrypted; give --tls-certificate and --tls-key"
        )
    if box.queue.notice:
        logger.warning("%s", box.queue.notice)
    if settings.open_localhost:
        logger.warning("this machine's own users are administrators without a token (--open-localhost)")
    if not any(not token.once for token in box.tokens.all()) and not settings.open_localhost:
        code = box.tokens.make_link()
        logger.info("sign in as administrator, once, within a day: %s/#link=%s", settings.address, code)

"""What ends a command from outside, beside Ctrl-C: it is cleaned up after in the same way."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

_SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
"""A service or a container is stopped by the first, a terminal that is closed sends the second."""


class Ended(KeyboardInterrupt):
    """The process was told to end; raised where it stands, so that everything cleans up."""


class Watch:
    """Which signal came; None while none did."""

    number: int | None = None

    def stop(self, number: int, frame: FrameType | None) -> None:
        """Raise Ended, once: what follows does not disturb the cleaning up."""
        signal.signal(number, signal.SIG_IGN)
        self.number = number
        raise Ended


@contextlib.contextmanager
def ended_by_signals() -> Iterator[Watch]:
    """Let signals that would kill the process raise Ended while the block runs.

    One that is ignored (`nohup`) or handled already stays so. Threads other than the main one have none.
    """
    watch = Watch()
    mine = threading.current_thread() is threading.main_thread()
    taken = [one for one in _SIGNALS if mine and signal.getsignal(one) is signal.SIG_DFL]
    for one in taken:
        signal.signal(one, watch.stop)
    try:
        yield watch
    finally:
        for one in taken:
            signal.signal(one, signal.SIG_DFL)

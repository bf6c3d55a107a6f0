"""Standard streams that a command can rely on, whatever it was started with: a service has none."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO, cast


@contextlib.contextmanager
def usable_streams() -> Iterator[None]:
    """Fill in descriptors and streams that are missing; what cannot be said on stderr is dropped.

    A file that is opened later then never gets descriptor 0, 1 or 2, into which libraries write.
    """
    _fill_descriptors()
    before = sys.stdin, sys.stdout, sys.stderr
    sys.stdin = sys.stdin if _works(sys.stdin) else _nothing("r")
    sys.stdout = sys.stdout if _works(sys.stdout) else _nothing("w")
    sys.stderr = cast(TextIO, _Forgiving(sys.stderr if _works(sys.stderr) else _nothing("w")))
    try:
        yield
    finally:
        try:
            sys.stdout.flush()
        except OSError:
            give_up(sys.stdout)  # or the interpreter would fail at its end
        except ValueError:  # it is closed
            pass
        sys.stderr.flush()
        sys.stdin, sys.stdout, sys.stderr = before


def _fill_descriptors() -> None:
    """Open the null device on each of the descriptors 0 to 2 that is closed."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            with contextlib.suppress(OSError):
                opened = os.open(os.devnull, os.O_RDWR)  # the lowest one that is free
                os.set_inheritable(opened, True)  # children have the same


def _works(stream: TextIO | None) -> bool:
    """Whether there is a stream, and it is open."""
    return stream is not None and not getattr(stream, "closed", False)


def _nothing(mode: str) -> TextIO:
    """A stream of the null device, which stays open."""
    return cast(TextIO, open(os.devnull, mode, encoding="utf-8"))  # noqa: PTH123


def give_up(stream: TextIO) -> None:
    """Send what is left in a stream that cannot be written, and all that follows, nowhere."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        descriptor = stream.fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, descriptor)
        os.close(nowhere)
        stream.flush()


class _Forgiving:
    """A text stream of which words are lost where it cannot be written: full, closed, or its reader gone.

    A message is never worth the work that it tells of.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write `text` if that is possible."""
        try:
            return self._stream.write(text)
        except OSError:
            give_up(self._stream)
        except ValueError:  # it was closed meanwhile
            pass
        return len(text)

    def writelines(self, lines: Any) -> None:
        """Write each of `lines`."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Flush if that is possible."""
        try:
            self._stream.flush()
        except OSError:
            give_up(self._stream)
        except ValueError:
            pass

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

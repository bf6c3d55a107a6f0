"""`main`: runs a command and turns however it ends into words and an exit code."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Sequence

import typer

from seas_export.cli.app import app
from seas_export.cli.output import how_to_continue
from seas_export.cli.streams import give_up, usable_streams
from seas_export.signals import ended_by_signals
from seas_runtime.errors import CheckFailed, UserError
from seas_runtime.installing import install
from seas_runtime.packages import broken_import
from seas_runtime.printable import printable

OK, FAILED, MISTAKE, INTERRUPTED = 0, 1, 2, 130

# typer brings its own click from 0.26 on, so its errors are reached through a name that both have.
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]
_ClickException: type[Exception] = typer.BadParameter.__mro__[2]

# Which extra brings a package that a command found missing.
EXTRAS = {
    "onnxruntime": "runtime",
    "torch": "train",
    "diffusers": "train",
    "transformers": "train",
    "tokenizers": "train",
    "accelerate": "train",
    "psutil": "train",
    "tensorboard": "train",
    "yaml": "train",
    "onnx": "export",
    "onnx_ir": "export",
    "onnxscript": "export",
    "packaging": "export",
    "polygraphy": "export",
    "jinja2": "report",
    "peft": "lora",
    "cv2": "opencv",
    "cryptography": "verify",
    "model_signing": "sign",
    "fsspec": "remote",
    "ray": "ray",
    "fastapi": "serve",
    "starlette": "serve",
    "pydantic": "serve",
    "uvicorn": "serve",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Exit codes: 0 done, 1 failed, 2 the user's mistake, 130 interrupted, 143 (128 + 15) ended by SIGTERM.
    """
    with usable_streams(), ended_by_signals() as watch:
        code = _run(arguments)
    return 128 + watch.number if watch.number is not None else code


def _run(arguments: Sequence[str] | None) -> int:
    """Run a command on streams that are there."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words  # taken wherever it stands: it is typed after a command has failed
    words = [word for word in words if word != "--debug"]
    _log(debug)
    try:
        result = app(args=words, prog_name="seas-export", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        result = INTERRUPTED
    except BrokenPipeError:
        # The reader of our output went away (`| head`); nothing more can be said to it.
        give_up(sys.stdout)
        return FAILED
    except Exception as error:
        return _failed(error, debug)
    if result == INTERRUPTED:
        _tell(f"\ninterrupted. {how_to_continue()}".rstrip())
        return INTERRUPTED
    return result if isinstance(result, int) else OK


class _Harmless(logging.LogRecord):
    """A record whose message is escaped, whichever library's handler prints it."""

    def getMessage(self) -> str:
        """The message, with nothing that a terminal would obey."""
        return printable(super().getMessage(), keep="\n")


class _Plain(logging.Formatter):
    """What our packages report as it is, warnings with their level."""

    def format(self, record: logging.LogRecord) -> str:
        """One record as text, with its traceback where it has one."""
        text = printable(super().format(record), keep="\n")
        return text if record.levelno == logging.INFO else f"{record.levelname.lower()}: {text}"


def _log(debug: bool) -> None:
    """Log to stderr: our packages from INFO on, others from WARNING on; a step more with --debug."""
    logging.setLogRecordFactory(_Harmless)
    logging.captureWarnings(True)
    handler = logging.StreamHandler()
    handler.setFormatter(_Plain("%(name)s: %(message)s" if debug else "%(message)s"))
    logging.basicConfig(level=logging.INFO if debug else logging.WARNING, handlers=[handler])
    for package in ("seas_export", "seas_train", "seas_engines", "seas_runtime"):
        logging.getLogger(package).setLevel(logging.DEBUG if debug else logging.INFO)


def _failed(error: Exception, debug: bool) -> int:
    """Say how a command failed, and give the exit code for it."""
    if debug:
        _tell("".join(traceback.format_exception(error)).rstrip())
    if isinstance(error, UserError):
        return _tell(f"error: {error}", MISTAKE)
    if isinstance(error, CheckFailed):
        return _tell(f"failed: {error}", FAILED)
    if isinstance(error, _ClickException):
        return _tell(_usage(error), MISTAKE)
    if isinstance(error, ModuleNotFoundError) and (package := (error.name or "").split(".")[0]) in EXTRAS:
        extra = EXTRAS[package]
        return _tell(
            f"error: this command needs the package {package}, which is not installed here. "
            f"Install it: {install(extra)}",
            MISTAKE,
        )
    if culprit := broken_import(error):
        return _tell(f"error: {culprit}", MISTAKE)
    said = str(error).strip()
    first = said.splitlines()[0] if said else "no message"
    return _tell(
        f"failed: unexpected {type(error).__name__}: {first}\n"
        "This is a fault of seas-export or of this machine, not of the command. "
        "Add --debug for the whole traceback.",
        FAILED,
    )


def _usage(error: Exception) -> str:
    """What was wrong with the words of the command, and where to look."""
    words = str(getattr(error, "format_message", lambda: str(error))())
    if type(error).__name__ == "NoArgsIsHelpError":
        return words
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "seas-export"
    if not isinstance(error, _UsageError) or not words:
        return words or f"error: see {path} --help"
    return f"error: {words[:1].lower()}{words[1:]}\nSee: {path} --help"


def _tell(text: str, code: int = OK) -> int:
    """Print `text`, escaped, to stderr and hand `code` back."""
    print(printable(text, keep="\n"), file=sys.stderr)
    return code

"""May a command write here? Asked before the work."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from seas_runtime.errors import UserError
from seas_runtime.files import nearest_folder
from seas_runtime.outputs.kinds import Kind, entries, owned, some
from seas_runtime.outputs.replacing import real_place, try_out
from seas_runtime.outputs.temporary import sweep

FOLDER_ADVICE = "give --force to replace it, or another folder"


def check_out(
    out: Path,
    kind: Kind,
    option: str = "",
    *,
    force: bool = False,
    advice: str = FOLDER_ADVICE,
    inputs: Mapping[str, Path | None] | None = None,
) -> None:
    """Refuse, before the work, an `out` that may not be replaced or cannot be written.

    With `force` a folder of this `kind` may be replaced, where it holds nothing else; any other folder may
    not. `inputs`: what the command reads, by what it is called; see `refuse_overlap`. Raises UserError, which
    starts with `option`.
    """
    refuse_overlap(out, inputs or {}, option)
    where = f"{option} {out}".strip()
    if holds_ours(out, kind, option):
        foreign = sorted(entries(out) - (owned(out, kind, unchanged=True) or set()))
        if foreign:
            raise UserError(
                f"{where}: there is {kind.name}, and files that no command of ours wrote, or not as they "
                f"are now: {some(foreign)}. Only what we wrote is ever replaced: move these away, or choose "
                "another folder"
            )
        if not force:
            raise UserError(f"{where}: there is {kind.name} already; {advice}")
    check_writable(out, option)
    sweep(real_place(out).parent)
    sweep(real_place(out))
    try_out(out, kind)


def holds_ours(out: Path, kind: Kind, option: str = "") -> bool:
    """Return whether the folder `out` is one of a `kind`; False for none and an empty one.

    What systems leave in folders and half-written files of ours do not count. Raises UserError, which starts
    with `option`, where `out` is a file, or holds files and is no such folder.
    """
    where = f"{option} {out}".strip()
    if os.path.lexists(out) and not out.is_dir():
        found = "a link to nowhere" if out.is_symlink() and not out.exists() else "a file"
        raise UserError(f"{where}: expected a folder or nothing, found {found}; choose another name")
    held = sorted(entries(out)) if out.is_dir() else []
    if not held:
        return False
    if owned(out, kind) is None:
        raise UserError(
            f"{where}: expected an empty folder or {kind.name}, found other files: {some(held)}. "
            "Only what a command of ours wrote is ever replaced; choose another folder"
        )
    return True


def check_writable(out: Path, option: str = "") -> None:
    """Refuse a folder that cannot be made, or written where it is there."""
    place = real_place(out)
    parent = place if place.is_dir() else nearest_folder(place.parent)
    if not parent.is_dir() or not os.access(parent, os.W_OK):
        raise UserError(
            f"{option} {out}".strip()
            + f": expected a folder that can be written, {parent} cannot; choose another one"
        )


def refuse_overlap(
    out: Path, inputs: Mapping[str, Path | None], option: str = "", *, missing: bool = False
) -> None:
    """Refuse an `out` that is one of a command's `inputs`, holds one, or lies in a folder of one.

    Inputs that are not there are passed over, but for `missing`.
    """
    for name, path in inputs.items():
        if path is None or not (missing or path.exists()):
            continue
        if _within(out, path):
            how = "is" if _within(path, out) else "lies in"
        elif _within(path, out):
            how = "holds"
        else:
            continue
        raise UserError(
            f"{option} {out}: {how} {name}, {path}, which this command {'uses too' if missing else 'reads'}. "
            "Choose another place, outside of it".strip()
        )


def _within(path: Path, folder: Path) -> bool:
    """Whether `path` is `folder` or lies below it, whatever links and upper case there are."""
    whole = folder.resolve()
    return any(
        place == whole or (place.exists() and whole.exists() and place.samefile(whole))
        for place in (path.resolve(), *path.resolve().parents)
    )


def check_file(
    out: Path,
    what: str,
    ours: Callable[[Path], bool],
    option: str = "",
    *,
    force: bool = False,
    inputs: Mapping[str, Path | None] | None = None,
) -> None:
    """Refuse, before the work, a file `out` that may not be replaced: as `check_out`.

    `ours` tells whether a file that is there is `what` a command of ours wrote.
    """
    where = f"{option} {out}".strip()
    if out.is_dir():
        raise UserError(f"{where}: expected a file to write, found a folder; name a file in it")
    refuse_overlap(out, inputs or {}, option)
    if os.path.lexists(out):
        if not out.is_file() or not ours(out):
            raise UserError(
                f"{where}: there is a file that is not {what}; only what we wrote is ever replaced. "
                "Choose another name"
            )
        if not force:
            raise UserError(
                f"{where}: the file is there already; choose another name, or replace it with --force"
            )
    sweep(real_place(out).parent)
    check_writable(out.parent, option)

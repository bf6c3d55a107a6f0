"""`pack`, `unpack`, `sign`, `diff` and `wheelhouse`: what goes from one machine to another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from seas_export.cli import options, output
from seas_runtime.units import mib


@output.command("Run the same command again: the file appears whole or not at all.")
def pack(
    bundle: options.BundleFolder,
    out: Annotated[
        Path | None, typer.Option("--out", help="File to write; BUNDLE.zip beside the folder by default.")
    ] = None,
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Pack a bundle into one file, without its engines; the same bundle gives the same bytes."""
    from seas_runtime.bundle.archive import pack_bundle

    made = pack_bundle(bundle, out or bundle.absolute().with_name(bundle.absolute().name + ".zip"), force)
    text = (
        f"{made.path}: {mib(made.size)}, {made.files} files, "
        f"{'signed' if made.signed else 'not signed'}\nsha256 {made.sha256}"
    )
    output.report(made, text, json)


@output.command("Run the same command again: the folder appears whole or not at all.")
def unpack(
    archive: Annotated[Path, typer.Argument(metavar="FILE", help="The file that pack wrote.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Bundle folder to make; FILE without .zip by default.")
    ] = None,
    sha256: Annotated[
        str | None, typer.Option("--sha256", help="Refuse a file with another hash than this.")
    ] = None,
    require_signature: options.RequireSignature = None,
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Unpack a bundle; every name, size and hash is checked, and nothing is written outside its folder."""
    from seas_runtime.bundle.archive import unpack_bundle
    from seas_runtime.errors import UserError

    if out is None and archive.suffix != ".zip":
        raise UserError(f"{archive}: which folder shall it become? Name it: --out DIR")
    bundle = unpack_bundle(
        archive,
        out or archive.with_suffix(""),
        sha256=sha256,
        require_signature=require_signature,
        force=force,
    )
    files = len(bundle.manifest.files)
    data = {"bundle": str(bundle.path), "fingerprint": bundle.fingerprint, "files": files}
    output.report(data, f"{bundle.path}: whole, {files} files match their hashes.", json)


@output.command("Run the same command again: the signature appears whole or not at all.")
def sign(
    bundle: options.BundleFolder,
    key: Annotated[
        Path, typer.Option("--key", metavar="KEY.pem", help="Private key: elliptic curve, P-256 and up.")
    ],
    password_file: Annotated[
        Path | None, typer.Option("--password-file", help="File with the key's password, where it has one.")
    ] = None,
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Sign a bundle with a key of your own (OpenSSF model signing), without a network."""
    from seas_export.bundles.signing import sign_bundle

    made = sign_bundle(bundle, key, password_file, force)
    text = (
        f"{made.signature}: signs {made.files} files; check it: "
        f"seas-export verify {bundle} --signature KEY.pub"
    )
    output.report(made, text, json)


@output.command("Run it again: nothing was written.")
def diff(
    a: Annotated[Path, typer.Argument(metavar="A", help="A bundle's folder.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Another one's.")],
    json: options.Json = False,
) -> None:
    """Say in words what changed from one bundle to another."""
    from seas_export.bundles.differences import compare_bundles

    found = compare_bundles(a, b)
    output.report(found.to_dict(), found.to_text(), json)


@output.command("Run the same command again: the folder appears whole or not at all.")
def wheelhouse(
    out: Annotated[Path, typer.Argument(metavar="DIR", help="Folder to make.")],
    target: Annotated[
        str, typer.Option("--target", help="What the box is: jetson-jp6, linux-arm64 or linux-x86.")
    ],
    extras: Annotated[
        str, typer.Option("--extras", help="What it shall be able to do, with commas between.")
    ] = "runtime",
    python: Annotated[
        str | None, typer.Option("--python", help="Its Python version; by default the target's.")
    ] = None,
    wheel: Annotated[
        Path | None,
        typer.Option("--wheel", help="The wheel of seas-export; by default built from this clone."),
    ] = None,
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Collect the wheels that a box without network needs; this machine needs one, and pip."""
    from seas_export.machine.wheelhouse import collect

    names = tuple(name.strip() for name in extras.split(",") if name.strip())
    made = collect(target, out, extras=names, python=python, wheel=wheel, force=force)
    found = f"{len(made.wheels)} wheels, {mib(sum(made.wheels.values()), 0)}, for Python {made.python}"
    text = f"{out}: {found}; see {out / 'INSTALL.txt'}"
    output.report(made.to_dict(), text, json)

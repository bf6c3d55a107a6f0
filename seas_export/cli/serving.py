"""`serve`: the service with its page, and the tokens of those who may use it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from seas_export.cli import options, output

State = Annotated[
    Path | None,
    typer.Option(
        "--state", metavar="DIR", help="Where jobs, tokens and uploads lie; ./seas-state by default."
    ),
]

app = typer.Typer(
    help="A service beside the line: a page and an API that make pairs from bundles.", rich_markup_mode=None
)


@app.callback(invoke_without_command=True)
@output.command("Start it again: jobs go on where they stood.")
def serve(
    context: typer.Context,
    bundles: Annotated[
        Path | None,
        typer.Option("--bundles", metavar="DIR", help="A folder of bundles, or of builds, such as out."),
    ] = None,
    state: State = None,
    host: Annotated[
        str | None,
        typer.Option("--host", help="Address to listen on; 127.0.0.1 by default, 0.0.0.0 for all."),
    ] = None,
    port: Annotated[int | None, typer.Option("--port", help="8470 by default.")] = None,
    backend: Annotated[
        list[str] | None,
        typer.Option(
            "--backend", help=f"A worker: {options.BACKENDS} Repeat for more; cuda:1 is the second GPU."
        ),
    ] = None,
    threads: options.Threads = None,
    open_localhost: Annotated[
        bool | None,
        typer.Option(
            "--open-localhost", help="Let this machine's own users in as administrators without a token."
        ),
    ] = None,
    require_signature: options.RequireSignature = None,
    tls_certificate: Annotated[
        Path | None, typer.Option("--tls-certificate", metavar="FILE.pem", help="Serve https with it.")
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option("--tls-key", metavar="FILE.pem", help="The certificate's key.")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", metavar="FILE.yaml", help="These and more settings; SEAS_SERVE_... and options win."
        ),
    ] = None,
) -> None:
    """Serve a page and an API that make pairs, until it is stopped; waiting jobs go on at the next start."""
    if context.invoked_subcommand is not None:
        return
    from seas_runtime.service.settings import load_settings

    given = {
        "bundles": bundles,
        "state": state,
        "host": host,
        "port": port,
        "backends": tuple(backend) if backend else None,
        "threads": threads,
        "open_localhost": open_localhost,
        "require_signature": require_signature,
        "tls_certificate": tls_certificate,
        "tls_key": tls_key,
    }
    settings = load_settings(config, given)
    from seas_runtime.service.serving import serve as run

    run(settings)


@app.command("token", short_help="Make a token, or list or revoke them.")
@output.command("Run the same command again.")
def token(
    state: State = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Whose it is: a person, a line, a program.")
    ] = None,
    role: Annotated[
        str, typer.Option("--role", help="viewer (looks and downloads), operator (makes pairs) or admin.")
    ] = "operator",
    days: Annotated[
        float | None, typer.Option("--days", help="How long it is good; without end by default.")
    ] = None,
    revoke: Annotated[
        str | None, typer.Option("--revoke", metavar="ID", help="End the token of this id, at once.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Make a token, which is said once and kept as a hash; without --name list those that there are."""
    from seas_runtime.errors import UserError
    from seas_runtime.service.state.tokens import Tokens, find_role

    tokens = Tokens((state or Path("seas-state")) / "tokens")
    if revoke is not None:
        if not tokens.revoke(revoke):
            raise UserError(f"--revoke: there is no token of the id {revoke}; list them without --name")
        output.report({"revoked": revoke}, f"{revoke} is revoked", json)
    elif name is not None:
        if days is not None and not 0 < days <= 36500:
            raise UserError(f"--days: expected more than 0, 36500 at most, found {days:g}")
        text, made = tokens.make(name, find_role(role), None if days is None else days * 86400)
        output.report(
            {**made.shown(), "token": text}, f"{text}\n{made.role}, id {made.id}; not shown again", json
        )
    else:
        shown = [one.shown() for one in tokens.all()]
        rows: list[tuple[object, ...]] = [(one["id"], one["name"], one["role"]) for one in shown]
        output.report({"tokens": shown}, output.table("id", "name", "role", rows=rows), json)

"""`anomalabel serve` and `anomalabel token`: the server, and who may use it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anomalabel.cli.terminal import Device
from anomalabel.config import EMBEDDED

TOKENS_HELP = "File of login tokens, made by: anomalabel token"


def serve(
    studies: Annotated[Path, typer.Option(help="Folder of images to annotate.")],
    host: Annotated[
        str, typer.Option(help="Address to listen on, in plain HTTP: without --tokens others open the studies to all.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option()] = 8000,
    model: Annotated[list[str] | None, typer.Option(help="Models that clients may choose.")] = None,
    device: Device = "auto",
    tokens: Annotated[
        Path | None, typer.Option(help=f"{TOKENS_HELP}; without one there is no login.", readable=False)
    ] = None,
) -> None:
    """Serve the MONAI Label app to 3D Slicer."""
    from monailabel_app.server import serve as run_server
    from monailabel_app.settings import ServerSettings

    run_server(ServerSettings(studies, host, port, device, tuple(model or (EMBEDDED,)), tokens=tokens))


def token(
    name: Annotated[str, typer.Argument(help="The reviewer whose token it is, as in the panel.")],
    tokens: Annotated[Path, typer.Option(help="File to add it to; made where it is missing.", readable=False)],
) -> None:
    """Make a login token for a reviewer and print it, once: the file keeps its hash alone.

    To withdraw it, remove its line from the file; a running server notices both.
    """
    from monailabel_app.safety.tokens import add_token

    made = add_token(tokens, name)
    typer.echo(f"The token of {name} is the next line. It is shown this once; give it to nobody else.", err=True)
    typer.echo(made)

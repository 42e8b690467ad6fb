"""`modelfs serve`: a directory as a registry, for mounts and for the official clients.

Turns options into settings, says how to use the server, and ends it at a signal; the server itself
is in `modelfs.server`.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from modelfs.errors import Usage

if TYPE_CHECKING:
    from modelfs.server.app import Settings

_HOW = """\
token: {token}
mount: modelfs mount --registry kaggle+{address}{token_option} DIRECTORY
kaggle, kagglehub: export KAGGLE_API_ENVIRONMENT=LOCALHOST HTTP_PROXY={address} \
KAGGLE_USERNAME={user} KAGGLE_KEY={key}
wriftai: export WRIFTAI_API_BASE_URL={address}/v1 WRIFTAI_ACCESS_TOKEN={key}"""


@click.command()
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    default=7777,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port to listen on; 0 picks a free one.",
)
@click.option(
    "--open",
    "is_open",
    is_flag=True,
    help="Ask nobody for a token and let everybody change everything (this machine only).",
)
@click.option("--user", default=None, metavar="NAME", help="Whose the token is (the login name).")
def serve(directory: Path, host: str, port: int, is_open: bool, user: str | None) -> None:
    """Serve DIR as a model registry over HTTP.

    DIR is made if it is not there. Mounts and the official kaggle, kagglehub and wriftai clients
    can use the registry; the token they need is in DIR/token. Models of Kaggle's protocol and of
    WriftAI's are kept apart.
    """
    try:
        # Here and not above: these come with an extra that a client does not need.
        from modelfs.server import app, auth
    except ImportError as exc:
        hint = "pip install 'modelfs[server]'"
        raise Usage(f"serving needs a package that is missing: {exc.name}", hint=hint) from exc
    _log_to_stderr()
    settings = app.Settings(
        directory=directory.absolute(),
        user=user or auth.login_user(),
        host=host,
        port=port,
        is_open=is_open,
    )
    asyncio.run(_serve(settings))


async def _serve(settings: Settings) -> None:
    from modelfs.server.app import RegistryServer

    server = RegistryServer(settings)
    address = await server.start()
    try:
        ended = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, ended.set)
        click.echo(f"serving {settings.directory} at {address}")
        click.echo(_how(settings, address))
        sys.stdout.flush()
        await ended.wait()
    finally:
        await server.stop()


def _how(settings: Settings, address: str) -> str:
    """How to use the server, for the person who started it."""
    file = settings.directory / "token"
    return _HOW.format(
        address=address,
        user=settings.user,
        token="none is needed" if settings.is_open else file,
        token_option="" if settings.is_open else f" --token-file {file}",
        key="any" if settings.is_open else f"$(cat {file})",
    )


def _log_to_stderr() -> None:
    """One line per request, unless the program that runs us logs already."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr
    )

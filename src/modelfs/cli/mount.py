"""`modelfs mount` and `modelfs umount`: options into settings, and the daemon's start and end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from modelfs.cli.options import registry_options, settings
from modelfs.cli.reporting import report
from modelfs.config import VERIFY, Config
from modelfs.errors import Error, Usage

if TYPE_CHECKING:
    from modelfs.mount.session import Options


class _Octal(click.ParamType[int]):
    name = "octal"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        try:
            number = int(str(value), 8)
        except ValueError:
            self.fail(f"not an octal number: {value!r}", param, ctx)
        if not 0 <= number <= 0o777:
            self.fail(f"not a mask: {value!r}", param, ctx)
        return number


@click.command()
@click.argument("mountpoint", type=click.Path(path_type=Path))
@registry_options(is_several=True)
@click.option("--read-only", "is_read_only", is_flag=True, help="Refuse every change.")
@click.option(
    "--allow-delete", "is_deleting", is_flag=True, help="Let rm delete what is published."
)
@click.option(
    "--settle",
    type=click.FloatRange(0.1, 3600),
    help="Seconds of quiet before a copied folder with its NOTES is published.  [default: 2]",
)
@click.option(
    "--pin",
    metavar="FILE",
    help="Show only what this lock file says, byte for byte, read-only; if there is none, note in "
    "it what is used.",
)
@click.option("--offline", "is_offline", is_flag=True, help="Never ask the registry.")
@click.option("-f", "--foreground", is_flag=True, help="Stay; log to standard error.")
@click.option(
    "--cache-dir",
    metavar="DIR",
    help="Where downloaded bytes are kept.  [default: ~/.cache/modelfs]",
)
@click.option("--cache-size", metavar="SIZE", help="How many of them.  [default: 50GB]")
@click.option(
    "--buffer-memory",
    metavar="SIZE",
    help="How much memory bytes on their way may take up.  [default: 64MiB]",
)
@click.option("--allow-other", is_flag=True, help="Let other users of this machine read it.")
@click.option("--uid", type=click.IntRange(0), default=None, help="Whose the files are.")
@click.option("--gid", type=click.IntRange(0), default=None, help="Whose group's they are.")
@click.option("--umask", type=_Octal(), default="0", help="Permissions to take away, octal.")
@click.option(
    "--passthrough",
    type=click.Choice(["auto", "on", "off"]),
    default="auto",
    show_default=True,
    help="Let the kernel itself read cached files: where it can, or else fail, or never.",
)
@click.option(
    "--verify",
    type=click.Choice(VERIFY),
    help="What readers wait for. quick: the last bytes of a file, for all of it to agree with the"
    " CRC-32C that came with it; complete: the same with its MD5 or SHA-256; first: all bytes, for"
    " that.  [default: quick]",
)
@click.option(
    "--no-watchdog",
    "is_unwatched",
    is_flag=True,
    help="Start no process that unmounts when the mount's own dies or hangs.",
)
@click.option(
    "--patience",
    type=click.FloatRange(1, 86400),
    default=60,
    show_default=True,
    help="Seconds after which a mount that does nothing at all counts as hung.",
)
@click.option("-o", "extra", multiple=True, metavar="OPT,…", help="Options for FUSE itself.")
@click.option("-v", "--verbose", is_flag=True, help="Log more.")
def mount(
    mountpoint: Path,
    registries: tuple[str, ...],
    token_file: str | None,
    is_read_only: bool,
    pin: str | None,
    is_deleting: bool,
    settle: float | None,
    is_offline: bool,
    foreground: bool,
    cache_dir: str | None,
    cache_size: str | None,
    buffer_memory: str | None,
    allow_other: bool,
    uid: int | None,
    gid: int | None,
    umask: int,
    passthrough: str,
    is_unwatched: bool,
    patience: float,
    verify: str | None,
    extra: tuple[str, ...],
    verbose: bool,
) -> int:
    """Mount a model registry at MOUNTPOINT.

    MOUNTPOINT is an empty directory; it is made if it is not there. Returns when the mount serves;
    what goes wrong from then on is in a log file, which `modelfs status` names. With several
    --registry NAME=SPEC each is a directory of its name. Nothing is downloaded, and nobody is
    asked, before something looks.
    """
    from modelfs.mount import mountpoint as points
    from modelfs.mount import records, session
    from modelfs.mount.passthrough import Choice

    config = settings(
        registries=registries,
        token_file=token_file,
        is_read_only=is_read_only or pin is not None or None,
        pin=pin,
        is_deleting=is_deleting or None,
        settle=settle,
        is_offline=is_offline or None,
        cache_dir=cache_dir,
        cache_size=cache_size,
        buffer_memory=buffer_memory,
        verify=verify,
    )
    path = points.located(mountpoint)
    log_file = config.state_dir / "log" / f"mount-{records.name_of(path)}.log"
    options = session.Options(
        is_shared=allow_other,
        uid=-1 if uid is None else uid,
        gid=-1 if gid is None else gid,
        umask=umask,
        passthrough=Choice(passthrough),
        is_watched=not is_unwatched,
        patience=patience,
        log_file=None if foreground else log_file,
        extra=tuple(word for text in extra for word in text.split(",") if word),
    )
    return _begin(config, options, path, is_verbose=verbose)


def _begin(config: Config, options: Options, path: Path, *, is_verbose: bool) -> int:
    """Serve at `path`: to the end, or in the background where there is a file to log to."""
    from modelfs.mount import binding, keeping, mountpoint, session

    if config.is_deleting and config.is_read_only:
        raise Usage("--allow-delete does not go with --read-only or --pin")
    binding.load()
    mountpoint.prepare(path)
    keeping.make_directories(config)
    log_file = options.log_file
    session.log_to(log_file, is_verbose=is_verbose)
    if log_file is None:
        session.serve(config, options, path, ready=lambda: None)
        return 0
    return session.in_background(
        lambda ready: report(lambda: session.serve(config, options, path, ready)), path, log_file
    )


@click.command()
@click.argument("mountpoint", type=click.Path(path_type=Path))
@click.option("-z", "--lazy", is_flag=True, help="At once, even while something uses it.")
def umount(mountpoint: Path, lazy: bool) -> int:
    """Unmount MOUNTPOINT; what was downloaded is kept."""
    from modelfs.mount import mountpoint as points
    from modelfs.mount import session

    path = points.located(mountpoint)
    state_dir = settings().state_dir
    if points.is_ours(path):
        session.end(path, state_dir, is_lazy=lazy or points.is_stale(path))
    elif not session.forget(path, state_dir):
        raise Error(f"no modelfs is mounted there: {path}")
    return 0

"""`modelfs cache`: what is in the cache, whether it is right, and making room.

Works beside mounts that use the same directory, and asks no registry.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import click

from modelfs.cache import BlockCache, Fault, Kept
from modelfs.cli import bars, wording
from modelfs.cli.cached import Inventory, Name, Version, take, unstarted
from modelfs.cli.options import settings
from modelfs.config import Config, parse_size
from modelfs.errors import Error, Usage
from modelfs.refs import Ref
from modelfs.registry import shelf

_DAY = 86_400.0
# Somebody may be about to write to what holds nothing yet.
_NEW = 3600.0

_dry = click.option("-n", "--dry-run", "is_dry", is_flag=True, help="Only say what would be done.")
_format = click.option(
    "--format",
    "layout",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="For people, or for programs.",
)
_refs = click.argument("refs", metavar="REF…", nargs=-1, required=True)


@click.group()
@click.option("--cache-dir", metavar="DIR", help="Where it is, if not where it usually is.")
@click.pass_context
def cache(context: click.Context, cache_dir: str | None) -> None:
    """What was downloaded and is kept: look at it, check it, make room."""
    context.obj = settings(cache_dir=cache_dir)


@cache.command("dir")
@click.pass_obj
def dir_(config: Config) -> None:
    """Print where the cache is."""
    click.echo(click.format_filename(config.cache_dir))


@cache.command("list")
@click.argument("refs", metavar="[REF…]", nargs=-1)
@click.option("--files", "is_by_file", is_flag=True, help="A line for each file, not each version.")
@_format
@click.pass_obj
def list_(config: Config, refs: tuple[str, ...], is_by_file: bool, layout: str) -> None:
    """List what is in the cache, how much, and when it was last used.

    Only of REF…, and what is below them, if given. What no remembered version has is one line.
    """
    blocks = unstarted(config)
    found = take(config.cache_dir, blocks)
    wanted = [Ref.parse(text) for text in refs]
    if layout == "json":
        click.echo(json.dumps(_described(config, found, wanted), indent=2, ensure_ascii=False))
        return
    versions = [each for each in found.versions if not wanted or _is_in(each.ref, wanted)]
    several = len({each.registry for each in found.versions}) > 1
    rows = list(_rows(versions, is_by_file=is_by_file, is_long=several))
    if not wanted:
        rows += _unknown(found, is_long=several)
    if not rows:
        click.echo("nothing is in the cache", err=True)
        return
    first = int(several)
    click.echo(wording.table(rows, right=(first + 1, first + 2)))
    if not wanted:
        used = sum(kept.allocated for kept in found.contents)
        click.echo(f"{wording.size(used)} of {wording.size(config.cache_size)} used")


@cache.command()
@_dry
@click.pass_obj
def verify(config: Config, is_dry: bool) -> int:
    """Read everything again, and drop what is not as it should be.

    Files are compared with their digests, and half files block by block with the checksums that
    were noted with them; what is remembered about files and versions, with its own checksums.
    Mounts may go on meanwhile.

    \b
    Exit status: 0 all is right, 1 something was not.
    """
    blocks = unstarted(config)
    names = take(config.cache_dir, blocks).names_of()
    with _progress(sum(kept.here for kept in blocks.contents())) as tell:
        done = blocks.verify(is_dry=is_dry, progress=tell)
    faults = list(done.faults)
    faults += [
        Fault(path, "it is damaged", 0)
        for path in shelf.find_damaged(config.cache_dir, is_dry=is_dry)
    ]
    for fault in faults:
        click.echo(f"{_named(fault, names)}: {fault.what}")
    amount = wording.amount(done.checked, "file")
    click.echo(f"checked {amount}, {wording.size(done.size)}: {_verdict(faults, is_dry)}")
    if done.unproven:
        amount = wording.amount(len(done.unproven), "file")
        click.echo(f"nobody told what they should be: {amount}", err=True)
    return 1 if faults else 0


@cache.command()
@click.option(
    "--older-than",
    "days",
    type=click.FloatRange(0),
    default=30.0,
    show_default=True,
    metavar="DAYS",
    help="How long it must not have been used.",
)
@_dry
@click.pass_obj
def prune(config: Config, days: float, is_dry: bool) -> None:
    """Drop half files, and those of no version that is known here.

    Never what is pinned or in use. What interrupted programs left behind goes too.
    """
    blocks = unstarted(config)
    found = take(config.cache_dir, blocks)
    known = found.names_of()
    now = time.time()

    def is_stale(kept: Kept) -> bool:
        if not kept.here and kept.size:
            return now - kept.used_at > _NEW
        is_wanted = kept.key in known and kept.here == kept.size
        return not is_wanted and now - kept.used_at > days * _DAY

    _drop(blocks, [kept for kept in found.contents if is_stale(kept)], known, is_dry=is_dry)
    if not is_dry:
        blocks.sweep()


@cache.command()
@click.argument("refs", metavar="[REF…]", nargs=-1)
@click.option("--to", "limit", metavar="SIZE", help="Drop the longest unused until this is left.")
@_dry
@click.pass_obj
def evict(config: Config, refs: tuple[str, ...], limit: str | None, is_dry: bool) -> None:
    """Drop the files of REF…, or the longest unused, to make room.

    REF may be a version or anything above or in it. Never what is pinned or in use, nor files that
    another version has too.
    """
    if bool(refs) == (limit is not None):
        raise Usage("say what to drop: REF… or --to SIZE")
    blocks = unstarted(config)
    found = take(config.cache_dir, blocks)
    names = found.names_of()
    if limit is None:
        chosen = _of(found, names, [Ref.parse(text) for text in refs])
    else:
        chosen = _coldest(found.contents, parse_size(limit))
    _drop(blocks, chosen, names, is_dry=is_dry)


@cache.command()
@_refs
@click.pass_obj
def pin(config: Config, refs: tuple[str, ...]) -> None:
    """Keep the files of REF…, whatever else is downloaded.

    REF may be a version or anything above or in it.
    """
    blocks = unstarted(config)
    names = _expected(take(config.cache_dir, blocks), refs)
    kept = [name for name in names if not name.file.size or _pin(blocks, name)]
    click.echo(f"pinned: {wording.amount(len(kept), 'file')}")
    if missing := len(names) - len(kept):
        click.echo(f"not downloaded yet: {wording.amount(missing, 'file')}", err=True)


@cache.command()
@_refs
@click.pass_obj
def unpin(config: Config, refs: tuple[str, ...]) -> None:
    """Let the files of REF… be dropped when room is needed.

    REF may be a version or anything above or in it.
    """
    blocks = unstarted(config)
    names = _expected(take(config.cache_dir, blocks), refs)
    for name in names:
        blocks.unpin(name.identity)
    click.echo(f"not pinned: {wording.amount(len(names), 'file')}")


def _pin(blocks: BlockCache, name: Name) -> bool:
    return blocks.pin(name.identity, name.file.size, name.file.digests)


def _expected(found: Inventory, refs: Sequence[str]) -> list[Name]:
    """The files of `refs`; Error for one of which nothing is remembered."""
    names = []
    for text in refs:
        below = found.below([Ref.parse(text)])
        if not below:
            raise Error(f"nothing is known of it here: {text}", hint="modelfs cache list")
        names += below
    return names


def _of(found: Inventory, names: dict[str, list[Name]], refs: list[Ref]) -> list[Kept]:
    """The contents that only `refs` have."""
    for ref in refs:
        if not any(_is_in(each.ref, [ref]) for each in found.versions):
            raise Error(f"nothing of it is in the cache: {ref}")
    keys = {name.key for name in found.below(refs)}
    return [
        kept
        for kept in found.contents
        if kept.key in keys and all(_is_in(name.ref, refs) for name in names[kept.key])
    ]


def _coldest(contents: Iterable[Kept], limit: int) -> list[Kept]:
    """What has to go so that `limit` bytes are left; more than that where some cannot go."""
    over = sum(kept.allocated for kept in contents) - limit
    chosen = []
    for kept in sorted(contents, key=lambda kept: (kept.used_at, kept.key)):
        if over <= 0:
            break
        if not kept.is_pinned:
            chosen.append(kept)
            over -= kept.allocated
    return chosen


def _drop(
    blocks: BlockCache, chosen: list[Kept], names: dict[str, list[Name]], *, is_dry: bool
) -> None:
    dropped = [kept for kept in chosen if not kept.is_pinned and (is_dry or blocks.drop(kept))]
    for kept in dropped if is_dry else ():
        click.echo(_name_of(kept.key, names))
    freed = wording.size(sum(kept.allocated for kept in dropped))
    done = "would be dropped" if is_dry else "dropped"
    click.echo(f"{done}: {wording.amount(len(dropped), 'file')}, {freed}")
    if pinned := sum(kept.is_pinned for kept in chosen):
        click.echo(f"pinned, and kept: {wording.amount(pinned, 'file')}", err=True)
    if used := len(chosen) - len(dropped) - pinned:
        click.echo(f"in use, and kept: {wording.amount(used, 'file')}", err=True)


def _is_in(ref: Ref, wanted: Iterable[Ref]) -> bool:
    return any(ref.parts[: each.depth] == each.parts for each in wanted)


# How it is shown


def _rows(
    versions: Iterable[Version], *, is_by_file: bool, is_long: bool
) -> Iterator[Sequence[str]]:
    for version in versions:
        head = (version.registry,) if is_long else ()
        if not is_by_file:
            files = f"{version.files_here} of {wording.amount(len(version.names), 'file')}"
            yield (
                *head,
                str(version.ref),
                files,
                _part(version.here, version.size),
                *_use(version.used_at, version.is_pinned),
            )
            continue
        for name in version.names:
            if kept := version.kept.get(name.key):
                part = _part(kept.here, kept.size)
                yield (*head, str(name), "", part, *_use(kept.used_at, kept.is_pinned))


def _unknown(found: Inventory, *, is_long: bool) -> Iterable[Sequence[str]]:
    """One line for what has no name."""
    names = found.names_of()
    left = [kept for kept in found.contents if kept.key not in names]
    if not left:
        return
    here, size = sum(kept.here for kept in left), sum(kept.size for kept in left)
    used = _use(max(kept.used_at for kept in left), all(kept.is_pinned for kept in left))
    files = wording.amount(len(left), "file")
    yield (*(("",) if is_long else ()), "of no version known here", files, _part(here, size), *used)


def _part(here: int, size: int) -> str:
    if here >= size:
        return wording.size(size)
    return f"{wording.size(here)} of {wording.size(size)}"


def _use(used_at: float, is_pinned: bool) -> tuple[str, str]:
    return f"{wording.duration(time.time() - used_at)} ago", "pinned" if is_pinned else ""


def _described(config: Config, found: Inventory, wanted: list[Ref]) -> dict[str, object]:
    """The same for programs; a content that several files have is there once."""
    names = found.names_of()
    versions = [each for each in found.versions if not wanted or _is_in(each.ref, wanted)]
    keys = {key for each in versions for key in each.kept}
    return {
        "directory": str(config.cache_dir),
        "used": sum(kept.allocated for kept in found.contents),
        "budget": config.cache_size,
        "versions": [
            {
                "registry": each.registry,
                "ref": str(each.ref),
                "files": len(each.names),
                "files_here": each.files_here,
                "bytes": each.size,
                "bytes_here": each.here,
                "used_at": round(each.used_at, 3),
                "is_pinned": each.is_pinned,
            }
            for each in versions
        ],
        "contents": [
            {
                "key": kept.key,
                "bytes": kept.size,
                "bytes_here": kept.here,
                "allocated": kept.allocated,
                "used_at": round(kept.used_at, 3),
                "is_complete": kept.is_complete,
                "is_pinned": kept.is_pinned,
                "files": [
                    {"registry": name.registry, "ref": str(name.ref), "path": name.file.path}
                    for name in names.get(kept.key, ())
                ],
            }
            for kept in sorted(found.contents, key=lambda kept: kept.key)
            if not wanted or kept.key in keys
        ],
    }


def _name_of(key: str, names: dict[str, list[Name]]) -> str:
    found = names.get(key)
    if not found:
        return key
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return f"{wording.plain(found[0])}{more}"


def _named(fault: Fault, names: dict[str, list[Name]]) -> str:
    return _name_of(fault.key, names)


def _verdict(faults: Sequence[Fault], is_dry: bool) -> str:
    if not faults:
        return "all is right"
    wrong = wording.amount(len({fault.key for fault in faults}), "file")
    return f"{wrong} wrong" if is_dry else f"{wrong} wrong, which will be downloaded again"


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    """Shows on a terminal how much has been read; called by several threads."""
    with bars.bar(is_quiet=not sys.stderr.isatty()) as show:
        done = 0
        shown_at = 0.0

        def tell(count: int) -> None:
            nonlocal done, shown_at
            done += count
            now = time.monotonic()
            if show is not None and now - shown_at > 0.1:
                shown_at = now
                text = f"{wording.size(done)} of {wording.size(total)}"
                show("checking", min(100.0, 100 * done / max(1, total)), text)

        yield tell

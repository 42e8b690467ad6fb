"""The cases of what is written and run: drafts, publishing, commands, the start of the program."""

from __future__ import annotations

import json
import os
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks import mounts, reading
from benchmarks.calm import discard
from benchmarks.cold import DELAY
from benchmarks.measure import Case, Pair
from benchmarks.planting import FILE, FRAMEWORK, MODEL, OWNER, Sizes
from benchmarks.reading import expect
from benchmarks.rivals import Official
from benchmarks.stage import MODELFS, Mounted, Stage

# An instance that is there already; its next versions are what is published.
_SLUG = "many-1"
_FETCHED = "medium"
_DEADLINE = 120.0
_SMALL = 10_000

# Makes the files that are written, in a new folder.
Source = Callable[[Stage], Path]
# Publishes a folder by an official client; the seconds that took.
Publish = Callable[[Official, Path], float]


def cases(sizes: Sizes) -> list[Case[Stage]]:
    """All cases of this module, in the order of the table."""
    large, many, below = _large, partial(_many, ""), partial(_many, "data")
    native, small = "a directory of the same disk", f"{sizes.parts:,} small files"
    eight = "8 large files"
    # In the draft and in the registry, and a packed one or what is unpacked beside it.
    of_large, of_many = 3 * 8 * sizes.part, 3 * sizes.parts * _SMALL
    found = [
        Case(
            f"draft-{name}",
            f"cp -r of {what} into a draft",
            native,
            partial(_draft, make),
            rounds=3,
            fresh=fresh,
        )
        for name, what, make, fresh in (
            ("large", eight, large, of_large),
            ("many", small, many, of_many),
        )
    ]
    skipping, packing, hub = "kaggle … create -r skip", "kaggle … -r tar", "kagglehub.model_upload"
    away = f"{small}, 20 ms away"
    for name, what, source, rival, publish, delay, bar, rounds in (
        ("large-kaggle", eight, large, skipping, _skip, 0, 1, 2),
        ("large-kagglehub", eight, large, hub, _hub, 0, 1, 2),
        ("many-kaggle", small, many, skipping, _skip, 0, 1, 2),
        ("many-kaggle-tar", f"{small} in a folder", below, packing, _tar, 0, 1, 2),
        ("many-kagglehub", small, many, hub, _hub, 0, 1, 2),
        ("far-large-kaggle", f"{eight}, 20 ms away", large, skipping, _skip, DELAY, 2, 2),
        ("far-large-kagglehub", f"{eight}, 20 ms away", large, hub, _hub, DELAY, 2, 2),
        # Up to a minute a round.
        ("far-many-kaggle", away, many, skipping, _skip, DELAY, 5, 1),
        ("far-many-kagglehub", away, many, hub, _hub, DELAY, 5, 1),
    ):
        set_up = partial(_published, source, publish, delay)
        fresh = of_large if source is large else of_many
        found.append(
            Case(f"publish-{name}", f"publish {what}", rival, set_up, bar, rounds, fresh=fresh)
        )
    create, download = "versions create", "versions download --untar"
    return [
        *found,
        *(
            Case(f"versions-{name}", f"modelfs … {what}", rival, set_up, rounds=2, fresh=of_large)
            for name, what, rival, set_up in (
                ("create-kaggle", create, f"kaggle … {create}", partial(_created, _skip)),
                ("create-kagglehub", create, hub, partial(_created, _hub)),
                ("download-kaggle", download, f"kaggle … {download}", partial(_fetched, _untar)),
                (
                    "download-kagglehub",
                    download,
                    "kagglehub.model_download",
                    partial(_fetched, _hub_fetch),
                ),
            )
        ),
        Case("start", "modelfs --help", "kaggle --help", _started),
        Case("start-mount", "modelfs mount, until it serves", "kaggle --help", _mounted),
    ]


# What is written.


def _large(stage: Stage) -> Path:
    return _filled(stage.fresh("source"), 8, stage.sizes.part)


def _many(below: str, stage: Stage) -> Path:
    folder = stage.fresh("source")
    _filled(folder / below, stage.sizes.parts, _SMALL)
    return folder


def _filled(folder: Path, count: int, size: int) -> Path:
    folder.mkdir(exist_ok=True)
    noise = random.Random(size)
    for number in range(count):
        (folder / f"file-{number:04}.bin").write_bytes(noise.randbytes(size))
    return folder


def _digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): reading.sha256(path) for path in files}


def _copy(source: Path, target: Path) -> float:
    begin = time.perf_counter()
    subprocess.run(["cp", "-r", source, target], check=True, timeout=_DEADLINE)
    return time.perf_counter() - begin


# Drafts.


@contextmanager
def _draft(make: Source, stage: Stage) -> Iterator[Pair]:
    stage.planted(_SLUG)
    source = make(stage)
    seen: list[dict[str, str]] = []

    def written(target: Path) -> float:
        seconds = _copy(source, target)
        if len(seen) < 2:
            seen.append(_digests(target))
        discard(target)
        return seconds

    with stage.mount() as mount:
        yield Pair(
            lambda: written(mount.instance(_SLUG) / stage.fresh("draft").name),
            lambda: written(stage.fresh("copy") / "copy"),
            lambda: expect(seen, [_digests(source)] * 2),
        )
    discard(source)


# Publishing.


@contextmanager
def _published(make: Source, publish: Publish, delay: float, stage: Stage) -> Iterator[Pair]:
    """A folder becomes the next version of an instance; each round makes two, one on each side."""
    stage.planted(_SLUG)
    registry = mounts.distant(stage, delay) if delay else stage.url
    source, official = make(stage), Official(stage, registry)
    expected = _digests(source)
    with stage.mount(url=registry) as mount:
        yield Pair(
            lambda: _one_more(
                stage, expected, lambda: _by_notes(mount, source, stage.fresh("draft").name)
            ),
            lambda: _one_more(stage, expected, lambda: publish(official, source)),
        )
    discard(source)


def _one_more(stage: Stage, expected: dict[str, str], run: Callable[[], float]) -> float:
    """Seconds of a `run` that publishes one version with the `expected` files."""
    before, _ = stage.newest(_SLUG)
    seconds = run()
    expect(stage.newest(_SLUG), (before + 1, expected))
    return seconds


def _by_notes(mount: Mounted, source: Path, name: str) -> float:
    """As a person does it: copy the folder, write NOTES, see that it is published."""
    draft = mount.instance(_SLUG) / name
    begin = time.perf_counter()
    _copy(source, draft)
    (draft / "NOTES").write_text("notes\n")
    while json.loads((draft / ".modelfs" / "status.json").read_text())["state"] != "published":
        if time.perf_counter() - begin > _DEADLINE:
            raise RuntimeError(f"{draft} was not published")
        time.sleep(0.01)
    return time.perf_counter() - begin


def _creating(mode: str, folder: Path) -> tuple[str | Path, ...]:
    """The words of the command, which both clients have."""
    instance = f"{OWNER}/{MODEL}/{FRAMEWORK}/{_SLUG}"
    words = ("models", "instances", "versions", "create", instance)
    return (*words, "-p", folder, "-n", "notes", "-r", mode, "-q")


def _create(mode: str, official: Official, folder: Path) -> float:
    return official.kaggle(*_creating(mode, folder))


_skip, _tar = partial(_create, "skip"), partial(_create, "tar")


def _hub(official: Official, folder: Path) -> float:
    return official.upload(_SLUG, folder)


# The commands that both clients have.


@contextmanager
def _created(publish: Publish, stage: Stage) -> Iterator[Pair]:
    stage.planted(_SLUG)
    source, official = _large(stage), Official(stage)
    expected, words = _digests(source), _creating("skip", source)
    yield Pair(
        lambda: _one_more(stage, expected, lambda: _modelfs(stage, *words, *_registry(stage))),
        lambda: _one_more(stage, expected, lambda: publish(official, source)),
    )
    discard(source)


@contextmanager
def _fetched(fetch: Publish, stage: Stage) -> Iterator[Pair]:
    """A version as a folder, where none was and nothing is cached."""
    expected = {FILE: stage.planted(_FETCHED).files[FILE].digests.sha256}
    official = Official(stage)

    def into_folder(run: Callable[[Path], float]) -> float:
        folder = stage.fresh("fetched")
        seconds = run(folder)
        found = {Path(path).name: digest for path, digest in _digests(folder).items()}
        expect({FILE: found[FILE]}, expected)
        discard(folder)
        return seconds

    def rival() -> float:
        return into_folder(lambda folder: fetch(official, folder))

    rival()  # the server packs a version when it is first asked for; only the first one waits
    words = (*_FETCHING, "-p")
    yield Pair(
        lambda: into_folder(lambda folder: _modelfs(stage, *words, folder, *_registry(stage))),
        rival,
    )


_FETCHING = (
    *("models", "instances", "versions", "download"),
    *(f"{OWNER}/{MODEL}/{FRAMEWORK}/{_FETCHED}/1", "--untar", "-q"),
)


def _untar(official: Official, folder: Path) -> float:
    return official.kaggle(*_FETCHING, "-p", folder)


def _hub_fetch(official: Official, folder: Path) -> float:
    return official.download(_FETCHED, folder)[0]


def _registry(stage: Stage) -> tuple[str, ...]:
    return "--registry", f"kaggle+{stage.url}"


# The program.


@contextmanager
def _started(stage: Stage) -> Iterator[Pair]:
    official = Official(stage)
    yield Pair(lambda: _modelfs(stage, "--help"), lambda: official.kaggle("--help"))


@contextmanager
def _mounted(stage: Stage) -> Iterator[Pair]:
    official = Official(stage)
    path = stage.fresh("started")
    cache = stage.fresh("cache")

    def ours() -> float:
        seconds = _modelfs(stage, "mount", path, *_registry(stage), "--cache-dir", cache)
        expect(os.path.ismount(path), True)
        _modelfs(stage, "umount", path)
        return seconds

    yield Pair(ours, lambda: official.kaggle("--help"))


def _modelfs(stage: Stage, *words: str | Path) -> float:
    begin = time.perf_counter()
    subprocess.run(
        [MODELFS, *words],
        env=stage.environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        check=True,
        timeout=_DEADLINE,
    )
    return time.perf_counter() - begin

"""The cases of what is written and run: drafts, publishing, and the start of the program."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks import reading
from benchmarks.measure import Case, Pair
from benchmarks.planting import FRAMEWORK, MODEL, OWNER, Sizes
from benchmarks.rivals import Official
from benchmarks.stage import MODELFS, Mounted, Stage

# An instance that is there already; its next versions are what is published.
_SLUG = "many-1"
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
    found = [
        Case(
            "draft-large", "cp -r of 8 large files into a draft", native, partial(_draft, large), 3
        ),
        Case("draft-many", f"cp -r of {small}", native, partial(_draft, many), 3),
    ]
    skipping, packing, hub = "kaggle … create -r skip", "kaggle … -r tar", "kagglehub.model_upload"
    for name, what, source, rival, publish, rounds in (
        ("large-kaggle", "publish 8 large files", large, skipping, _skip, 2),
        ("large-kagglehub", "the same", large, hub, _hub, 2),
        # Up to a quarter of a minute a round.
        ("many-kaggle", f"publish {small}", many, skipping, _skip, 1),
        ("many-kaggle-tar", "the same, in a folder", below, packing, _tar, 1),
        ("many-kagglehub", f"publish {small}", many, hub, _hub, 1),
    ):
        set_up = partial(_published, source, publish)
        found.append(Case(f"publish-{name}", what, rival, set_up, rounds))
    found += [
        Case("start", "modelfs --help", "kaggle --help", _started),
        Case("start-mount", "modelfs mount, until it serves", "kaggle --help", _mounted),
    ]
    return found


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
        shutil.rmtree(target)
        return seconds

    with stage.mount() as mount:
        yield Pair(
            lambda: written(mount.instance(_SLUG) / "draft"),
            lambda: written(stage.directory / "copy"),
            lambda: _expect(seen, [_digests(source)] * 2),
        )
    shutil.rmtree(source)


# Publishing.


@contextmanager
def _published(make: Source, publish: Publish, stage: Stage) -> Iterator[Pair]:
    """A folder becomes the next version of an instance; each round makes two, one on each side."""
    stage.planted(_SLUG)
    source, official = make(stage), Official(stage)
    expected = _digests(source)

    def checked(run: Callable[[], float]) -> float:
        before, _ = stage.newest(_SLUG)
        seconds = run()
        _expect(stage.newest(_SLUG), (before + 1, expected))
        return seconds

    with stage.mount() as mount:
        yield Pair(
            lambda: checked(lambda: _by_notes(mount, source, stage.fresh("draft").name)),
            lambda: checked(lambda: publish(official, source)),
            lambda: None,
        )
    shutil.rmtree(source)


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


def _create(mode: str, official: Official, folder: Path) -> float:
    instance = f"{OWNER}/{MODEL}/{FRAMEWORK}/{_SLUG}"
    words = ("models", "instances", "versions", "create", instance)
    return official.kaggle(*words, "-p", folder, "-n", "notes", "-r", mode, "-q")


_skip, _tar = partial(_create, "skip"), partial(_create, "tar")


def _hub(official: Official, folder: Path) -> float:
    return official.upload(_SLUG, folder)


# The program.


@contextmanager
def _started(stage: Stage) -> Iterator[Pair]:
    official = Official(stage)
    yield Pair(lambda: _modelfs(stage, "--help"), lambda: official.kaggle("--help"), lambda: None)


@contextmanager
def _mounted(stage: Stage) -> Iterator[Pair]:
    official = Official(stage)
    path = stage.fresh("started")
    cache = stage.fresh("cache")

    def ours() -> float:
        registry = f"kaggle+{stage.url}"
        seconds = _modelfs(stage, "mount", path, "--registry", registry, "--cache-dir", cache)
        _expect(os.path.ismount(path), True)
        _modelfs(stage, "umount", path)
        return seconds

    yield Pair(ours, lambda: official.kaggle("--help"), lambda: None)


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


def _expect(found: object, expected: object) -> None:
    if found != expected:
        raise RuntimeError(
            f"what was written is wrong: {str(found)[:200]}, not {str(expected)[:200]}"
        )

"""The cases of `modelfs models …` against the same commands of the official clients."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks import reading, rivals
from benchmarks.measure import Case, Pair
from benchmarks.planting import FRAMEWORK, MODEL, OWNER
from benchmarks.stage import MODELFS, Stage

# An instance that is there already; its next versions are what is created.
_SLUG = "many-1"
# The version of eight large files that is downloaded.
_EIGHT = "eight"
_DEADLINE = 300.0

# Downloads the version into a new folder by an official client; the seconds, and where it is.
Download = Callable[[rivals.Official, Stage], tuple[float, Path]]


def cases() -> list[Case[Stage]]:
    create, download = "versions create of 8 large files", "versions download of 8 large files"
    return [
        Case("create-kaggle", create, "kaggle … create", partial(_created, _by_kaggle), 2),
        Case("create-kagglehub", create, "kagglehub.model_upload", partial(_created, _by_hub), 2),
        Case("download-kaggle", download, "kaggle … download", partial(_got, (), _archive), 2),
        Case(
            "download-kaggle-untar",
            f"{download}, as files",
            "kaggle … --untar",
            partial(_got, ("--untar",), _untarred),
            2,
        ),
        Case(
            "download-kagglehub",
            f"{download}, as files",
            "kagglehub.model_download",
            partial(_got, ("--untar",), _hub),
            2,
        ),
    ]


@contextmanager
def _created(publish: Callable[[rivals.Official, Path], float], stage: Stage) -> Iterator[Pair]:
    stage.planted(_SLUG)
    source, official = stage.fresh("source"), rivals.Official(stage)
    for name, file in stage.planted(_EIGHT).files.items():
        shutil.copyfile(stage.planted(_EIGHT).native(name), source / file.path)
    expected = _digests(source)

    def checked(run: Callable[[], float]) -> float:
        before, _ = stage.newest(_SLUG)
        seconds = run()
        _expect(stage.newest(_SLUG), (before + 1, expected))
        return seconds

    def ours() -> float:
        cache = stage.fresh("cache")
        words = ("create", _instance(_SLUG), "-p", str(source), "-n", "notes", "-q")
        seconds = _modelfs(stage, cache, *words)
        shutil.rmtree(cache)
        return seconds

    yield Pair(lambda: checked(ours), lambda: checked(lambda: publish(official, source)), _nothing)
    shutil.rmtree(source)


def _by_kaggle(official: rivals.Official, folder: Path) -> float:
    words = ("models", "instances", "versions", "create", _instance(_SLUG))
    return official.kaggle(*words, "-p", folder, "-n", "notes", "-q")


def _by_hub(official: rivals.Official, folder: Path) -> float:
    return official.upload(_SLUG, folder)


@contextmanager
def _got(options: tuple[str, ...], download: Download, stage: Stage) -> Iterator[Pair]:
    official = rivals.Official(stage)
    expected = {path: file.digests.sha256 for path, file in stage.planted(_EIGHT).files.items()}
    seen: list[bool] = []

    def checked(seconds: float, folder: Path) -> float:
        if len(seen) < 2:
            found = _digests(folder)
            seen.append(found == expected or all(name.endswith(".gz") for name in found))
        shutil.rmtree(folder)
        return seconds

    def ours() -> float:
        cache, folder = stage.fresh("cache"), stage.fresh("download")
        words = ("download", f"{_instance(_EIGHT)}/1", "-p", str(folder), "-q", *options)
        seconds = _modelfs(stage, cache, *words)
        shutil.rmtree(cache)
        return checked(seconds, folder)

    def rival() -> float:
        return checked(*download(official, stage))

    shutil.rmtree(download(official, stage)[1])  # the server packs a version once
    yield Pair(ours, rival, lambda: _expect(seen, [True, True]))


def _archive(official: rivals.Official, stage: Stage, *options: str) -> tuple[float, Path]:
    folder = stage.fresh("download")
    words = ("models", "instances", "versions", "download", f"{_instance(_EIGHT)}/1")
    return official.kaggle(*words, "-p", folder, "-q", *options), folder


def _untarred(official: rivals.Official, stage: Stage) -> tuple[float, Path]:
    return _archive(official, stage, "--untar")


def _hub(official: rivals.Official, stage: Stage) -> tuple[float, Path]:
    return official.download(_EIGHT, stage.fresh("kagglehub"))


def _modelfs(stage: Stage, cache: Path, *words: str) -> float:
    begin = time.perf_counter()
    subprocess.run(
        [MODELFS, "models", "instances", "versions", *words],
        env={
            **stage.environ,
            "MODELFS_REGISTRY": f"kaggle+{stage.url}",
            "MODELFS_CACHE_DIR": str(cache),
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        check=True,
        timeout=_DEADLINE,
    )
    return time.perf_counter() - begin


def _instance(slug: str) -> str:
    return f"{OWNER}/{MODEL}/{FRAMEWORK}/{slug}"


def _digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): reading.sha256(path) for path in files}


def _nothing() -> None:
    """There is nothing to check that each round did not check."""


def _expect(found: object, expected: object) -> None:
    if found != expected:
        raise RuntimeError(f"what came is wrong: {str(found)[:200]}, not {str(expected)[:200]}")

"""A mount that is killed under load, again and again, and versions that come out one by one.

`scripts/crashes` runs more rounds than a test has time for: ROUNDS.
"""

from __future__ import annotations

import os
import random
import threading
import time
from pathlib import Path

import pytest

from mount.conftest import Mount, Serve
from mount.readers import Reader
from mounting import is_mounted
from polling import wait_for
from published import SETTLE, settled
from sims.content import Instance, Model, Version, plant

ROUNDS = int(os.environ.get("ROUNDS", "3"))
VERSIONS = int(os.environ.get("ROUNDS", "5"))
# Back to serving, on an idle machine; one that runs many tests at once takes longer.
BACK = float(os.environ.get("BACK_WITHIN", "60"))
FILES = {f"{n}": random.Random(n).randbytes(900_000) for n in range(8)}


def _registry(path: Path) -> None:
    plant(path, [Model("alice", "m", (Instance("other", "it", (Version(FILES),)),))])


@pytest.mark.slow
@pytest.mark.timeout(600 + 60 * ROUNDS)
def test_a_mount_killed_under_load_is_back_with_all_that_was_written(
    serve: Serve, mounted: Mount, tmp_path: Path
) -> None:
    """What was flushed to a draft is there; nobody unmounts by hand."""
    _registry(tmp_path / "registry")
    mount = mounted(serve(), "--settle", str(SETTLE))
    top = mount.path / "alice/m/other"
    acknowledged: dict[str, bytes] = {}
    rng = random.Random(9)
    slowest = 0.0
    for number in range(ROUNDS):
        readers = [Reader(top / "it/1" / name) for name in rng.sample(sorted(FILES), 3)]
        ended = threading.Event()

        def write(number: int = number, ended: threading.Event = ended) -> None:
            count = 0
            while not ended.is_set():
                name, data = f"{number}-{count}", rng.randbytes(rng.randrange(50_000))
                try:
                    (top / "kept/draft").mkdir(parents=True, exist_ok=True)
                    with (top / "kept/draft" / name).open("xb", buffering=0) as file:
                        file.write(data)
                        os.fsync(file.fileno())
                except OSError:
                    return
                acknowledged[name] = data
                count += 1

        writer = threading.Thread(target=write)
        writer.start()
        assert not threading.Event().wait(rng.uniform(0.05, 0.4))
        mount.kill()
        ended.set()
        writer.join(BACK)
        for reader in readers:
            reader.finish(BACK)
        if rng.random() < 0.5:  # else the next mount has to clear away what is left
            wait_for(lambda: not is_mounted(mount.path), BACK)
        begun = time.monotonic()
        mount.start()
        name = rng.choice(sorted(FILES))
        assert FILES[name] == (top / "it/1" / name).read_bytes()
        slowest = max(slowest, time.monotonic() - begun)
        there = {p.name: p.read_bytes() for p in (top / "kept/draft").glob(f"{number}-*")}
        mine = {n: d for n, d in acknowledged.items() if n.startswith(f"{number}-")}
        assert mine == {n: d for n, d in there.items() if n in mine}
    there = {path.name: path.read_bytes() for path in (top / "kept/draft").iterdir()}
    assert acknowledged == {name: data for name, data in there.items() if name in acknowledged}
    assert slowest < BACK
    print(f"{ROUNDS} rounds, {len(acknowledged)} files, at most {slowest:.2f} s to serve again")


@pytest.mark.slow
@pytest.mark.timeout(600 + 60 * VERSIONS)
def test_no_reader_misses_a_name_while_versions_are_published(
    serve: Serve, mounted: Mount, tmp_path: Path
) -> None:
    """Neither of an earlier version, nor of the draft that becomes the next."""
    _registry(tmp_path / "registry")
    mount = mounted(serve(), "--settle", str(SETTLE))
    instance = mount.path / "alice/m/other/it"
    ended, missed, looks = threading.Event(), [], [(0.0, "")]
    watched = [str(instance / "1" / "0")]

    def look() -> None:
        while not ended.is_set():
            for path in list(watched):
                begun = time.monotonic()
                try:
                    with open(path, "rb") as file:
                        file.read(100)
                except OSError as exc:
                    missed.append(f"{path}: {exc}")
                looks.append((time.monotonic() - begun, path))

    readers = [threading.Thread(target=look) for _ in range(3)]
    for reader in readers:
        reader.start()
    try:
        for number in range(2, VERSIONS + 2):
            draft = instance / str(number)
            draft.mkdir()
            (draft / "f").write_bytes(b"%d" % number * 1000)
            watched[1:] = [str(draft / "f")]
            (draft / "NOTES").write_text("more")
            settled(draft)
            assert b"%d" % number * 1000 == (draft / "f").read_bytes()
    finally:
        ended.set()
        for reader in readers:
            reader.join(BACK)
    assert [] == missed
    took, path = max(looks)
    print(
        f"{VERSIONS} versions, {len(looks) - 1} looks, {len(missed)} missed, {took:.1f} s: {path}"
    )

"""Uploaded archives of an enemy do no harm: nothing outside, nothing special, nothing endless."""

from __future__ import annotations

import os
import resource
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from modelfs.errors import Error
from modelfs.refs import file_path_fault
from modelfs.registry.local import Store, unpacking
from security.hostile import BOMB, MANY, OUTSIDE, archives
from unit.registry.local.filling import BASE, Filling

# What an archive may hold here; what it may hold out there would make these tests slow.
LIMIT, MEMBERS = 8 << 20, 1000
# Kinds whose archives are no attack once they are unpacked as contents of plain files.
HARMLESS = {"setuid", "deep", "bomb in a zip", "backslashes"}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setattr(unpacking, "_ALWAYS", LIMIT)
    monkeypatch.setattr(unpacking, "MEMBERS", MEMBERS)
    assert BOMB > LIMIT
    assert MANY > MEMBERS
    store = Store(tmp_path / "top/registry")
    store.start()
    yield store
    store.stop()


def test_there_are_as_many_kinds_as_are_told() -> None:
    assert 51 == len(archives())


@pytest.mark.parametrize(
    ("kind", "ending", "make"), archives(), ids=[f"{kind}{end}" for kind, end, _ in archives()]
)
def test_a_hostile_archive_does_no_harm(
    kind: str, ending: str, make: Callable[[], bytes], store: Store, tmp_path: Path
) -> None:
    fill = Filling(store)
    data = make()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.monotonic()
    is_taken = False
    with suppress(Error):
        fill.instance({f"sub{ending}": data})
        is_taken = True
    assert 20 > time.monotonic() - begun
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 200 << 10

    everything = [
        Path(top, name) for top, *below in os.walk(tmp_path) for names in below for name in names
    ]
    assert [] == [path for path in everything if not path.is_relative_to(tmp_path / "top")]
    assert not Path("/tmp", OUTSIDE).exists()
    for path in everything:
        mode = path.lstat().st_mode
        assert stat.S_ISREG(mode) or stat.S_ISDIR(mode), path
        assert not mode & (stat.S_ISUID | stat.S_ISGID), path
        assert OUTSIDE not in path.name
    assert [] == list((tmp_path / "top/registry/tmp").iterdir())
    kept = sum(path.stat().st_size for path in everything if "blobs" in path.parts)
    assert kept <= LIMIT + len(data)

    paths = fill.paths() if is_taken else []
    assert all(not file_path_fault(path) for path in paths)
    assert len(paths) <= MEMBERS
    assert len(paths) == len(set(paths))
    if is_taken and paths != [f"sub{ending}"]:  # unpacked, and not just kept as the file it is
        assert kind in HARMLESS, paths
        for path in paths:
            record = store.file(*BASE, 1, path)
            assert record.size == store.blob_path(record.sha256).stat().st_size
